//! A workspace's credit notes, and its balance.

use authsome_shared::id::{BalanceEntryId, CreditNoteId, InvoiceId, WorkspaceId};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::documents::{self, DownloadParams};
use super::invoices::CreditNoteBody;
use crate::actor::Permission;
use crate::app::App;
use crate::billing::document::credit_note::document;
use crate::billing::document::invoice::Texts;
use crate::billing::money::Currency;
use crate::billing::{balance, credit, invoice};
use crate::error::{Error, Result};
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::page::{Page, PageParams};
use crate::workspaces;

/// List a workspace's credit notes, newest first.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/credit-notes", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), PageParams),
    responses(
        (status = 200, description = "A page", body = Page<CreditNoteBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_credit_notes(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<CreditNoteBody>>> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let page = credit::list(&mut tx, access.workspace_id(), page).await?;
    Ok(Json(page.map(|note| CreditNoteBody::new(&app, note))))
}

/// Download a credit note as PDF or HTML.
#[utoipa::path(
    get, path = "/control/v1/credit-notes/{creditNoteId}/download", tag = "billing",
    security(("bearer" = [])), params(("creditNoteId" = CreditNoteId, Path), DownloadParams),
    responses(
        (status = 200, description = "The document", content(
            (String = "application/pdf"), (String = "text/html"),
        )),
        Failures, Refusals,
    ),
)]
pub async fn download_credit_note(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<CreditNoteId>,
    Query(params): Query<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response> {
    const NOT_FOUND: Error = Error::NotFound("credit note");
    let mut tx = app.db.read().await?;
    let note = credit::by_id(&mut tx, &id).await?;
    let found = invoice::find(&mut tx, &actor, &note.invoice_id).await;
    let (_, invoice) = found.map_err(|error| match error {
        Error::NotFound(_) => NOT_FOUND,
        other => other,
    })?;
    drop(tx);
    let document = document(&note, &invoice, Texts::of(&app.config));
    documents::answer(&app, document, params.chosen(&headers)).await
}

/// What is owed to the workspace, and each movement of it. Amounts are in the currency's major unit.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceBody {
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// The next invoice uses it up.
    #[schema(example = 12.5)]
    balance: f64,
    #[serde(flatten)]
    page: Page<BalanceEntryBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BalanceEntryBody {
    id: BalanceEntryId,
    /// Positive: in the workspace's favour.
    #[schema(example = 12.5)]
    amount: f64,
    #[schema(example = "Credit note CN-000003")]
    reason: String,
    credit_note_id: Option<CreditNoteId>,
    invoice_id: Option<InvoiceId>,
    created_at: DateTime<Utc>,
}

/// Get a workspace's balance and its movements, newest first.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/balance", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), PageParams),
    responses((status = 200, description = "The balance", body = BalanceBody), Failures, Refusals),
)]
pub async fn get_balance(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(page): Query<PageParams>,
) -> Result<Json<BalanceBody>> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let (balance, page) = balance::get(&mut tx, &access, page).await?;
    let currency = app.config.billing.currency.clone();
    Ok(Json(BalanceBody {
        balance: currency.major(balance),
        page: page.map(|entry| BalanceEntryBody {
            id: entry.id,
            amount: currency.major(entry.amount),
            reason: entry.reason,
            credit_note_id: entry.credit_note_id,
            invoice_id: entry.invoice_id,
            created_at: entry.created_at,
        }),
        currency,
    }))
}
