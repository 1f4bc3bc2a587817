//! Whether a month adds up, from the proxies' ledgers to the invoice.

use authsome_shared::id::{EpochId, InvoiceId, NodeId, WorkspaceId};
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::UsageParams;
use crate::actor::Permission;
use crate::app::App;
use crate::billing::invoice::{Invoice, Status};
use crate::billing::money::{self, Currency};
use crate::billing::reconciliation::{self, Difference, Item, Report};
use crate::billing::stripe::compare;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::reconciliation as ledger;
use crate::metering::reconciliation::{Gap, ProxyLedger, Sums};
use crate::period::Period;
use crate::workspaces;

/// A month, added up in more than one way.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconciliationBody {
    #[schema(example = "2026-01")]
    period: String,
    workspace_id: WorkspaceId,
    /// Nothing differs.
    consistent: bool,
    api_requests: SumsBody,
    active_users: CountsBody,
    items: Vec<ItemBody>,
    /// The month's, once there is one.
    invoice: Option<ReconciledInvoice>,
    /// When the month was closed.
    closed_at: Option<DateTime<Utc>>,
    /// Everything that does not add up.
    differences: Vec<DifferenceBody>,
    /// The platform's proxies: their ledgers hold all workspaces' records.
    proxies: Vec<ProxyLedgerBody>,
    /// Records that never came, the newest first, at most 100.
    gaps: Vec<GapBody>,
}

/// Distinct end users.
#[derive(Debug, Serialize, ToSchema)]
struct CountsBody {
    /// What usage and invoices say.
    total: i64,
    /// Counted again, one by one.
    counted: i64,
}

/// What something of the month comes to. Amounts are in the currency's major unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "item": "mau", "quantity": "150000", "price": 2550.0, "charged": 2550.0, "invoiced": 2550.0,
    "adjusted": 0.0,
}))]
struct ItemBody {
    /// `fee`, `mau`, `storage`, `requests`, `bandwidth`, `meter:NAME` or `coupon:CODE`.
    item: String,
    /// As counted now, a decimal; absent for what is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<String>,
    /// What that costs.
    price: f64,
    /// What it was charged by so far; absent until the month is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged: Option<f64>,
    /// Of it, on the month's invoice.
    invoiced: f64,
    /// Of it, charged or credited later.
    adjusted: f64,
}

impl ItemBody {
    fn new(item: Item, currency: &Currency) -> Self {
        Self {
            quantity: item.quantity.map(|micros| money::quantity(micros).replace(',', "")),
            price: currency.major(item.price),
            charged: item.charged.map(|charged| currency.major(charged)),
            invoiced: currency.major(item.invoiced),
            adjusted: currency.major(item.adjusted),
            item: item.item,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReconciledInvoice {
    id: InvoiceId,
    /// Absent while it is a draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    status: Status,
    amount: f64,
    amount_due: f64,
}

impl From<Invoice> for ReconciledInvoice {
    fn from(invoice: Invoice) -> Self {
        Self {
            amount: invoice.currency.major(invoice.total),
            amount_due: invoice.currency.major(invoice.amount_due),
            id: invoice.id,
            number: invoice.number,
            status: invoice.status,
        }
    }
}

/// Two figures that should be one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "what": "mau.counted", "stated": 7, "found": 8,
    "message": "mau.counted: 7 stated, 8 found (active users)",
}))]
struct DifferenceBody {
    /// What was compared.
    what: String,
    stated: i64,
    found: i64,
    message: String,
}

impl From<Difference> for DifferenceBody {
    fn from(difference: Difference) -> Self {
        let Difference { what, stated, found, message } = difference;
        Self { what, stated, found, message }
    }
}

/// Request units of the month, added up in four ways.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SumsBody {
    /// What usage says.
    total: i64,
    by_application: i64,
    by_key: i64,
    /// Absent once the month's first usage by the hour is no longer kept.
    by_minute: Option<i64>,
}

impl From<Sums> for SumsBody {
    fn from(sums: Sums) -> Self {
        let Sums { workspace, applications, keys, minutes } = sums;
        Self { total: workspace, by_application: applications, by_key: keys, by_minute: minutes }
    }
}

/// How far a proxy's ledger is applied.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProxyLedgerBody {
    id: NodeId,
    connected: bool,
    /// Records applied.
    applied: i64,
    /// Records that never came.
    missing: i64,
    /// Records that it has told of and not shipped yet.
    unshipped: i64,
    last_seen_at: DateTime<Utc>,
}

impl ProxyLedgerBody {
    fn new(ledger: ProxyLedger, now: DateTime<Utc>) -> Self {
        let ProxyLedger { proxy, applied, missing } = ledger;
        Self {
            connected: proxy.is_connected(now),
            id: proxy.id,
            applied,
            missing,
            unshipped: proxy.unshipped,
            last_seen_at: proxy.last_seen_at,
        }
    }
}

/// Sequence numbers that never came.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GapBody {
    proxy: NodeId,
    /// The run of the proxy's journal.
    epoch: EpochId,
    first: i64,
    last: i64,
    detected_at: DateTime<Utc>,
}

impl From<Gap> for GapBody {
    fn from(gap: Gap) -> Self {
        Self {
            proxy: gap.node_id,
            epoch: gap.epoch_id,
            first: gap.first_sequence,
            last: gap.last_sequence,
            detected_at: gap.detected_at,
        }
    }
}

/// Check that a month adds up, from the proxies' ledgers to the invoice.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/usage/reconciliation", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), UsageParams),
    responses(
        (status = 200, description = "The reconciliation", body = ReconciliationBody),
        Failures, Refusals,
    ),
)]
pub async fn get_reconciliation(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<UsageParams>,
) -> Result<Json<ReconciliationBody>> {
    let mut tx = app.db.read().await?;
    let now = tx.now();
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let kept_since = reconciliation::kept_since(&app, now);
    let period = Period::asked(params.period.as_deref(), now)?;
    let (proxies, gaps) = ledger::ledgers(&mut tx, &access).await?;
    let settings = &app.config.billing;
    let Report { sums, users, items, invoice, closed_at, mut differences, .. } =
        reconciliation::of(&mut tx, settings, &id, period, kept_since).await?;
    drop(tx);
    let collected = compare::of_month(&app, Some(&id), period).await;
    differences.extend(collected.into_iter().map(|(_, difference)| difference));
    Ok(Json(ReconciliationBody {
        period: period.to_string(),
        workspace_id: id,
        consistent: differences.is_empty(),
        api_requests: sums.into(),
        active_users: CountsBody { total: users.0, counted: users.1 },
        items: items.into_iter().map(|item| ItemBody::new(item, &settings.currency)).collect(),
        invoice: invoice.map(Into::into),
        closed_at,
        differences: differences.into_iter().map(Into::into).collect(),
        proxies: proxies.into_iter().map(|ledger| ProxyLedgerBody::new(ledger, now)).collect(),
        gaps: gaps.into_iter().map(Into::into).collect(),
    }))
}
