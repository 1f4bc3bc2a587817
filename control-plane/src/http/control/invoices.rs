//! A workspace's invoices: listed, read line by line, and downloaded.

use authsome_shared::id::{CreditNoteId, InvoiceId, WorkspaceId};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::documents::{self, DownloadParams};
use crate::actor::Permission;
use crate::app::App;
use crate::billing::credit::CreditNote;
use crate::billing::document::invoice::{Texts, document};
use crate::billing::invoice::whole::{self, Whole};
use crate::billing::invoice::{self, Collector, Filter, Invoice, Status};
use crate::billing::money::{Currency, MICROS};
use crate::billing::party::{Address, Exemption, Party};
use crate::billing::price::{Kind, Line};
use crate::billing::stripe::collection;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::page::{self, Page, PageParams};
use crate::period::Period;
use crate::workspaces;

/// An invoice. Amounts are in the currency's major unit, such as dollars.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceBody {
    id: InvoiceId,
    workspace_id: WorkspaceId,
    /// Without gaps over all invoices; `null` while it is a draft.
    #[schema(example = "INV-000042")]
    number: Option<String>,
    /// The month that it is for.
    #[schema(example = "2026-01")]
    period: String,
    status: Status,
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// The total.
    #[schema(example = 47.5)]
    amount: f64,
    /// Before discounts and taxes.
    #[schema(example = 47.5)]
    subtotal: f64,
    /// What discounts take off.
    #[schema(example = 0.0)]
    discount: f64,
    #[schema(example = 0.0)]
    tax: f64,
    /// Paid from the workspace's balance.
    #[schema(example = 0.0)]
    balance_applied: f64,
    /// Taken off by credit notes while it was unpaid.
    #[schema(example = 0.0)]
    credited: f64,
    /// What is left to be paid, or was when it was paid.
    #[schema(example = 47.5)]
    amount_due: f64,
    collector: Collector,
    /// Why the last payment was refused, or why it was voided.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Unpaid after its due date.
    past_due: bool,
    issued_at: Option<DateTime<Utc>>,
    due_at: Option<DateTime<Utc>>,
    paid_at: Option<DateTime<Utc>>,
    voided_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// The PDF; `?format=html` for a page.
    #[schema(
        example = "https://api.example.com/control/v1/invoices/inv_0352BzK1sipBK5mYlLMDcU/download"
    )]
    download_url: String,
}

impl InvoiceBody {
    pub fn new(app: &App, invoice: Invoice) -> Self {
        let major = |minor| invoice.currency.major(minor);
        Self {
            download_url: format!(
                "{}/control/v1/invoices/{}/download",
                app.config.public_url(),
                invoice.id
            ),
            past_due: invoice.is_past_due(app.clock.now()),
            amount: major(invoice.total),
            subtotal: major(invoice.subtotal),
            discount: major(invoice.discount),
            tax: major(invoice.tax),
            balance_applied: major(invoice.balance_applied),
            credited: major(invoice.credited),
            amount_due: major(invoice.amount_due),
            id: invoice.id,
            workspace_id: invoice.workspace_id,
            number: invoice.number,
            period: invoice.period,
            status: invoice.status,
            currency: invoice.currency,
            collector: invoice.collector,
            failure: invoice.failure,
            issued_at: invoice.finalized_at,
            due_at: invoice.due_at,
            paid_at: invoice.paid_at,
            voided_at: invoice.voided_at,
            created_at: invoice.created_at,
        }
    }
}

/// A line. The quantity by the unit price by the share is the amount, but for its rounding: the lines
/// of one item add to its exact price rounded once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceLine {
    kind: Kind,
    /// Such as `fee`, `mau`, `storage`, `meter:NAME`, `coupon:CODE`, `tax:NAME`.
    #[schema(example = "mau")]
    item: String,
    #[schema(example = "Monthly active users")]
    description: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    #[schema(example = 1125.0)]
    quantity: Option<f64>,
    #[schema(example = 0.02)]
    unit_price: Option<f64>,
    /// What part of the month its terms held for, if not for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<LineShare>,
    /// Of a discount or a tax, in per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    #[schema(example = 22.5)]
    amount: f64,
}

/// Seconds of seconds.
#[derive(Debug, Serialize, ToSchema)]
struct LineShare {
    #[schema(example = 864_000)]
    seconds: i64,
    #[schema(example = 2_592_000)]
    of: i64,
}

impl InvoiceLine {
    fn new(currency: &Currency, line: Line) -> Self {
        Self {
            kind: line.kind,
            item: line.item,
            description: line.description,
            starts_at: line.starts_at,
            ends_at: line.ends_at,
            quantity: line.quantity.map(units),
            unit_price: line.unit_micros.map(units),
            share: line.share.map(|(seconds, of)| LineShare { seconds, of }),
            percent: line.rate_micros.map(|rate| units(rate * 100)),
            amount: currency.major(line.amount),
        }
    }
}

/// Of millionths; for the wire only.
fn units(micros: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact to nine billion units")]
    let (micros, scale) = (micros as f64, MICROS as f64);
    micros / scale
}

/// What was taken off an invoice after it was issued.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreditNoteBody {
    id: CreditNoteId,
    #[schema(example = "CN-000003")]
    number: String,
    workspace_id: WorkspaceId,
    invoice_id: InvoiceId,
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    #[schema(example = 12.5)]
    amount: f64,
    /// Of it, what went to the workspace's balance; the rest was taken off what was due.
    #[schema(example = 12.5)]
    to_balance: f64,
    #[schema(example = "An outage on the 12th")]
    reason: String,
    created_at: DateTime<Utc>,
    #[schema(
        example = "https://api.example.com/control/v1/credit-notes/crn_0352BzK1sipBK5mYlLMDcU/download"
    )]
    download_url: String,
}

impl CreditNoteBody {
    pub fn new(app: &App, note: CreditNote) -> Self {
        Self {
            download_url: format!(
                "{}/control/v1/credit-notes/{}/download",
                app.config.public_url(),
                note.id
            ),
            amount: note.currency.major(note.amount),
            to_balance: note.currency.major(note.to_balance),
            id: note.id,
            number: note.number,
            workspace_id: note.workspace_id,
            invoice_id: note.invoice_id,
            currency: note.currency,
            reason: note.reason,
            created_at: note.created_at,
        }
    }
}

/// A party, as it was when the invoice was issued.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvoiceParty {
    name: String,
    email: Option<String>,
    address: AddressBody,
    #[schema(example = "DE123456789")]
    tax_id: Option<String>,
}

impl From<Party> for InvoiceParty {
    fn from(Party { name, email, address, tax_id }: Party) -> Self {
        Self { name, email, address: address.into(), tax_id }
    }
}

#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(example = json!({
    "line1": "Hauptstraße 1", "postalCode": "10827", "city": "Berlin", "country": "DE",
}))]
pub struct AddressBody {
    #[schema(max_length = 200)]
    line1: Option<String>,
    #[schema(max_length = 200)]
    line2: Option<String>,
    #[schema(max_length = 20)]
    postal_code: Option<String>,
    #[schema(max_length = 100)]
    city: Option<String>,
    #[schema(max_length = 100)]
    state: Option<String>,
    /// Two letters (ISO 3166-1).
    #[schema(pattern = "^[A-Za-z]{2}$")]
    country: Option<String>,
}

impl From<Address> for AddressBody {
    fn from(address: Address) -> Self {
        let Address { line1, line2, postal_code, city, state, country } = address;
        Self { line1, line2, postal_code, city, state, country }
    }
}

impl From<AddressBody> for Address {
    fn from(body: AddressBody) -> Self {
        let AddressBody { line1, line2, postal_code, city, state, country } = body;
        Self { line1, line2, postal_code, city, state, country }
    }
}

/// An invoice with all that stands on it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceDetails {
    #[serde(flatten)]
    invoice: InvoiceBody,
    issuer: InvoiceParty,
    customer: InvoiceParty,
    tax_exempt: Exemption,
    /// Stripe's page where it can be paid, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://invoice.stripe.com/i/acct_1PgafTB7WZ01zgkW/live_YWNjdF8x")]
    payment_url: Option<String>,
    /// They sum to the amount.
    lines: Vec<InvoiceLine>,
    /// Oldest first.
    credit_notes: Vec<CreditNoteBody>,
}

impl InvoiceDetails {
    pub fn new(app: &App, whole: Whole) -> Self {
        let Whole { invoice, lines, credit_notes } = whole;
        let parties = invoice.parties.0.clone();
        let lines = lines.into_iter().map(|line| InvoiceLine::new(&invoice.currency, line));
        Self {
            payment_url: None,
            lines: lines.collect(),
            credit_notes: credit_notes
                .into_iter()
                .map(|note| CreditNoteBody::new(app, note))
                .collect(),
            issuer: parties.issuer.into(),
            customer: parties.customer.into(),
            tax_exempt: parties.tax_exempt,
            invoice: InvoiceBody::new(app, invoice),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListInvoices {
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

/// As `YYYY-MM`, or refused.
pub fn asked_period(text: Option<String>, now: DateTime<Utc>) -> Result<Option<String>> {
    text.map(|text| Period::asked(Some(&text), now).map(|period| period.to_string())).transpose()
}

/// List a workspace's invoices, the newest month first.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/invoices", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), ListInvoices),
    responses((status = 200, description = "A page", body = Page<InvoiceBody>), Failures, Refusals),
)]
pub async fn list_invoices(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<ListInvoices>,
) -> Result<Json<Page<InvoiceBody>>> {
    let ListInvoices { status, period, page, page_size } = params;
    let period = asked_period(period, app.clock.now())?;
    let filter = Filter { status, period, ..Filter::default() };
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let page = invoice::list(&mut tx, &access, filter, PageParams { page, page_size }).await?;
    Ok(Json(page.map(|invoice| InvoiceBody::new(&app, invoice))))
}

/// Get an invoice with its lines and credit notes.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/invoices/{invoiceId}", tag = "billing",
    security(("bearer" = [])),
    params(("workspaceId" = WorkspaceId, Path), ("invoiceId" = InvoiceId, Path)),
    responses((status = 200, description = "The invoice", body = InvoiceDetails), Failures, Refusals),
)]
pub async fn get_invoice(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, invoice_id)): Path<(WorkspaceId, InvoiceId)>,
) -> Result<Json<InvoiceDetails>> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let invoice = invoice::get(&mut tx, &access, &invoice_id).await?;
    let payment_url = collection::payment_url(&mut tx, &invoice).await?;
    let whole = whole::of(&mut tx, invoice).await?;
    Ok(Json(InvoiceDetails { payment_url, ..InvoiceDetails::new(&app, whole) }))
}

/// Download an invoice as PDF or HTML.
#[utoipa::path(
    get, path = "/control/v1/invoices/{invoiceId}/download", tag = "billing",
    security(("bearer" = [])), params(("invoiceId" = InvoiceId, Path), DownloadParams),
    responses(
        (status = 200, description = "The document", content(
            (String = "application/pdf"), (String = "text/html"),
        )),
        Failures, Refusals,
    ),
)]
pub async fn download_invoice(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<InvoiceId>,
    Query(params): Query<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response> {
    let mut tx = app.db.read().await?;
    let (_, invoice) = invoice::find(&mut tx, &actor, &id).await?;
    let whole = whole::of(&mut tx, invoice).await?;
    drop(tx);
    let document = document(&whole, Texts::of(&app.config), app.clock.now());
    documents::answer(&app, document, params.chosen(&headers)).await
}
