//! Invoices of all workspaces, as the platform's admins see and settle them.

use authsome_shared::id::{InvoiceId, PendingItemId, WorkspaceId};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::billing::document::invoice::{Texts, document};
use crate::billing::invoice::settle::By;
use crate::billing::invoice::store::PendingItem;
use crate::billing::invoice::{Filter, Status, overseen, whole};
use crate::billing::money::Currency;
use crate::billing::party::Exemption;
use crate::billing::{charge, details};
use crate::error::{Error, Result};
use crate::http::control::billing_details::BillingDetailsBody;
use crate::http::control::documents::{self, DownloadParams};
use crate::http::control::invoices::{CreditNoteBody, InvoiceBody, InvoiceDetails, asked_period};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{self, Page, PageParams};
use crate::text;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct SearchInvoices {
    /// The whole number.
    #[param(max_length = 200, example = "INV-000042")]
    number: Option<String>,
    workspace_id: Option<WorkspaceId>,
    status: Option<Status>,
    /// `YYYY-MM`.
    #[param(example = "2026-01", pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    period: Option<String>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

/// Search the invoices of all workspaces, the newest month first.
#[utoipa::path(
    get, path = "/control/v1/admin/invoices", tag = "platform", security(("bearer" = [])),
    params(SearchInvoices),
    responses((status = 200, description = "A page", body = Page<InvoiceBody>), Failures, Refusals),
)]
pub async fn search_invoices(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Query(params): Query<SearchInvoices>,
) -> Result<Json<Page<InvoiceBody>>> {
    let SearchInvoices { number, workspace_id, status, period, page, page_size } = params;
    let number = number.map(|number| number.trim().to_owned()).filter(|number| !number.is_empty());
    for (name, given) in [
        ("number", number.as_deref()),
        ("workspaceId", workspace_id.as_ref().map(WorkspaceId::as_str)),
    ] {
        if !given.is_none_or(text::is_searchable) {
            let message = format!("`{name}` must have at most 200 characters, none of them NUL");
            return Err(Error::invalid(name, "invalid_value", message));
        }
    }
    let period = asked_period(period, app.clock.now())?;
    let filter = Filter { workspace_id, status, period, number };
    let mut tx = app.db.read().await?;
    let page = overseen::search(&mut tx, &access, &filter, PageParams { page, page_size }).await?;
    Ok(Json(page.map(|invoice| InvoiceBody::new(&app, invoice))))
}

/// Get any invoice with its lines and credit notes.
#[utoipa::path(
    get, path = "/control/v1/admin/invoices/{invoiceId}", tag = "platform",
    security(("bearer" = [])), params(("invoiceId" = InvoiceId, Path)),
    responses((status = 200, description = "The invoice", body = InvoiceDetails), Failures, Refusals),
)]
pub async fn inspect_invoice(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<InvoiceId>,
) -> Result<Json<InvoiceDetails>> {
    let mut tx = app.db.read().await?;
    let invoice = overseen::get(&mut tx, &access, &id).await?;
    let whole = whole::of(&mut tx, invoice).await?;
    Ok(Json(InvoiceDetails::new(&app, whole)))
}

/// Download any invoice as PDF or HTML.
#[utoipa::path(
    get, path = "/control/v1/admin/invoices/{invoiceId}/download", tag = "platform",
    security(("bearer" = [])), params(("invoiceId" = InvoiceId, Path), DownloadParams),
    responses(
        (status = 200, description = "The document", content(
            (String = "application/pdf"), (String = "text/html"),
        )),
        Failures, Refusals,
    ),
)]
pub async fn download_any_invoice(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<InvoiceId>,
    Query(params): Query<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response> {
    let mut tx = app.db.read().await?;
    let invoice = overseen::get(&mut tx, &access, &id).await?;
    let whole = whole::of(&mut tx, invoice).await?;
    drop(tx);
    let document = document(&whole, Texts::of(&app.config), app.clock.now());
    documents::answer(&app, document, params.chosen(&headers)).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PayInvoice {
    /// How it was paid, for the audit log.
    #[schema(example = "Bank statement 12/2026, line 7", max_length = 200)]
    reference: Option<String>,
}

/// Mark an invoice as paid. One that is paid already stays as it is.
#[utoipa::path(
    post, path = "/control/v1/admin/invoices/{invoiceId}/pay", tag = "platform",
    security(("bearer" = [])), params(("invoiceId" = InvoiceId, Path)),
    request_body = Option<PayInvoice>,
    responses(
        (status = 200, description = "The invoice, paid", body = InvoiceBody),
        (status = 409, description = "It is a draft or void", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn pay_invoice(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<InvoiceId>,
    input: Option<Json<PayInvoice>>,
) -> Result<Response> {
    let PayInvoice { reference } = input.map(|Json(input)| input).unwrap_or_default();
    let mut tx = idempotency::begin(&app).await?;
    let invoice = overseen::pay(&mut tx, By::Operator(&access), &id, reference.as_deref()).await?;
    idempotency::answer(tx, &app, StatusCode::OK, InvoiceBody::new(&app, invoice)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidInvoice {
    /// Stands on the invoice.
    #[schema(example = "Issued to the wrong company", min_length = 1, max_length = 500)]
    reason: String,
}

/// Void an unpaid invoice: nothing of it is owed.
#[utoipa::path(
    post, path = "/control/v1/admin/invoices/{invoiceId}/void", tag = "platform",
    security(("bearer" = [])), params(("invoiceId" = InvoiceId, Path)),
    request_body = VoidInvoice,
    responses(
        (status = 200, description = "The invoice, void", body = InvoiceBody),
        (status = 409, description = "It is a draft or paid", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn void_invoice(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<InvoiceId>,
    Json(input): Json<VoidInvoice>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let invoice = overseen::void(&mut tx, By::Operator(&access), &id, &input.reason).await?;
    idempotency::answer(tx, &app, StatusCode::OK, InvoiceBody::new(&app, invoice)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueCreditNote {
    /// In the currency's major unit; all that is left of the invoice when absent.
    #[schema(value_type = Option<f64>, example = 12.5)]
    amount: Option<serde_json::Number>,
    /// Stands on the credit note.
    #[schema(example = "An outage on the 12th", min_length = 1, max_length = 500)]
    reason: String,
}

/// An amount of the currency in minor units, exactly.
fn minor(currency: &Currency, amount: &serde_json::Number) -> Result<i64> {
    let text = amount.to_string();
    let text = match text.split_once('.') {
        Some((whole, part)) if part.bytes().all(|b| b == b'0') => whole,
        _ => text.as_str(),
    };
    currency.parse_minor(text).ok_or_else(|| {
        let decimals = currency.decimals();
        let message =
            format!("`amount` must be an amount of {currency}, with at most {decimals} decimals");
        Error::invalid("amount", "invalid_value", message)
    })
}

/// Credit an issued invoice: off what is due of it, the rest to the workspace's balance.
#[utoipa::path(
    post, path = "/control/v1/admin/invoices/{invoiceId}/credit-notes", tag = "platform",
    security(("bearer" = [])), params(("invoiceId" = InvoiceId, Path)),
    request_body = IssueCreditNote,
    responses(
        (status = 201, description = "The credit note", body = CreditNoteBody),
        (status = 409, description = "It is a draft or void", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn issue_credit_note(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<InvoiceId>,
    Json(input): Json<IssueCreditNote>,
) -> Result<Response> {
    let IssueCreditNote { amount, reason } = input;
    let mut tx = idempotency::begin(&app).await?;
    let invoice = overseen::get(&mut tx, &access, &id).await?;
    let amount = amount.map(|amount| minor(&invoice.currency, &amount)).transpose()?;
    let settings = &app.config.billing;
    let note = overseen::credit(&mut tx, settings, &access, &id, amount, &reason).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, CreditNoteBody::new(&app, note)).await
}

/// What waits for a workspace's next invoice.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChargeBody {
    id: PendingItemId,
    workspace_id: WorkspaceId,
    /// `charge`, or the item of late usage.
    #[schema(example = "charge")]
    item: String,
    #[schema(example = "Help with the move, 2 hours")]
    description: String,
    /// In the currency's major unit.
    #[schema(example = 300.0)]
    amount: f64,
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    created_at: DateTime<Utc>,
}

impl ChargeBody {
    fn new(app: &App, item: PendingItem) -> Self {
        let currency = app.config.billing.currency.clone();
        Self {
            id: item.id,
            workspace_id: item.workspace_id,
            item: item.item,
            description: item.description,
            amount: currency.major(item.amount),
            currency,
            created_at: item.created_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCharge {
    /// In the currency's major unit.
    #[schema(value_type = f64, example = 300.0)]
    amount: serde_json::Number,
    /// Stands on the invoice.
    #[schema(example = "Help with the move, 2 hours", min_length = 1, max_length = 200)]
    description: String,
}

/// Put a charge on a workspace's next invoice.
#[utoipa::path(
    post, path = "/control/v1/admin/workspaces/{workspaceId}/charges", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = CreateCharge,
    responses((status = 201, description = "The charge", body = ChargeBody), Failures, Refusals),
)]
pub async fn create_charge(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<CreateCharge>,
) -> Result<Response> {
    let amount = minor(&app.config.billing.currency, &input.amount)?;
    let mut tx = idempotency::begin(&app).await?;
    let item = charge::create(&mut tx, &access, &id, amount, &input.description).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, ChargeBody::new(&app, item)).await
}

/// All that waits, in one page.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChargesBody {
    data: Vec<ChargeBody>,
    total: usize,
}

/// List what waits for a workspace's next invoice, late usage among it.
#[utoipa::path(
    get, path = "/control/v1/admin/workspaces/{workspaceId}/charges", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses((status = 200, description = "All of it", body = ChargesBody), Failures, Refusals),
)]
pub async fn list_charges(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
) -> Result<Json<ChargesBody>> {
    let mut tx = app.db.read().await?;
    let items = charge::pending(&mut tx, &access, &id).await?;
    let data: Vec<ChargeBody> = items.into_iter().map(|item| ChargeBody::new(&app, item)).collect();
    Ok(Json(ChargesBody { total: data.len(), data }))
}

/// Take a charge back that is on no invoice yet.
#[utoipa::path(
    delete, path = "/control/v1/admin/workspaces/{workspaceId}/charges/{chargeId}",
    tag = "platform", security(("bearer" = [])),
    params(("workspaceId" = WorkspaceId, Path), ("chargeId" = PendingItemId, Path)),
    responses((status = 204, description = "Taken back"), Failures, Refusals),
)]
pub async fn delete_charge(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path((id, charge_id)): Path<(WorkspaceId, PendingItemId)>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    charge::delete(&mut tx, &access, &id, &charge_id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetTaxExemption {
    tax_exempt: Exemption,
}

/// Say whether a workspace pays taxes, from its next invoice on.
#[utoipa::path(
    put, path = "/control/v1/admin/workspaces/{workspaceId}/tax-exemption", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = SetTaxExemption,
    responses(
        (status = 200, description = "The workspace's billing details", body = BillingDetailsBody),
        Failures, Refusals,
    ),
)]
pub async fn set_tax_exemption(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<SetTaxExemption>,
) -> Result<Json<BillingDetailsBody>> {
    let mut tx = app.db.write().await?;
    let profile = details::exempt(&mut tx, &access, &id, input.tax_exempt).await?;
    tx.commit().await?;
    Ok(Json(profile.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_taken_exactly() {
        let minor = |currency: &str, amount: &str| {
            minor(&currency.parse().unwrap(), &amount.parse().unwrap()).ok()
        };
        for (currency, amount, expected) in [
            ("USD", "12.5", Some(1250)),
            ("USD", "12", Some(1200)),
            ("USD", "12.00", Some(1200)),
            ("USD", "0.1", Some(10)),
            ("USD", "1e2", Some(10_000)),
            ("USD", "0.001", None),
            ("USD", "1e30", None),
            ("JPY", "100", Some(100)),
            ("JPY", "100.0", Some(100)),
            ("JPY", "0.5", None),
            ("KWD", "1.234", Some(1234)),
        ] {
            assert_eq!(minor(currency, amount), expected, "{currency} {amount}");
        }
    }
}
