//! A workspace's usage.

use authsome_shared::id::{EpochId, NodeId, WorkspaceId};
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::billing::estimate::{self, Estimate};
use crate::billing::money::Currency;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::reconciliation::{self, Gap, ProxyLedger, Reconciliation, Sums};
use crate::metering::usage::{self, Usage};
use crate::workspaces::{self, Plan, Workspace};

/// A month's usage. Costs are in the currency's major unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageBody {
    #[schema(example = "2026-01")]
    period: String,
    workspace_id: WorkspaceId,
    plan: Plan,
    usage: Lines,
    estimated_cost: f64,
    /// When the month ends and its invoice is made.
    billing_date: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Lines {
    mau: ActiveUsers,
    applications: Applications,
    storage: Storage,
    api_requests: Requests,
    bandwidth: Bandwidth,
}

/// Distinct end users over all applications.
#[derive(Debug, Serialize, ToSchema)]
struct ActiveUsers {
    current: u64,
    included: u64,
    overage: u64,
    cost: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Applications {
    count: u64,
    limit: Option<u64>,
}

/// Nothing reports storage yet, so it is always zero.
#[derive(Debug, Serialize, ToSchema)]
struct Storage {
    bytes: u64,
    gb: f64,
    included: u64,
    overage: u64,
    cost: f64,
}

/// Admitted requests, in request units.
#[derive(Debug, Serialize, ToSchema)]
struct Requests {
    count: u64,
    included: Option<u64>,
    /// Of these, answers of 500 and above.
    errors: u64,
}

/// Body bytes through the proxies.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Bandwidth {
    bytes_in: u64,
    bytes_out: u64,
}

impl UsageBody {
    fn new(workspace: Workspace, usage: &Usage, estimate: &Estimate, currency: &Currency) -> Self {
        let limits = &usage.limits;
        let cost = |item: &str| currency.major(estimate.cost(item));
        Self {
            period: usage.period.to_string(),
            workspace_id: workspace.id,
            plan: workspace.plan,
            usage: Lines {
                mau: ActiveUsers {
                    current: usage.active_users,
                    included: limits.active_users.included,
                    overage: usage.active_users.saturating_sub(limits.active_users.included),
                    cost: cost("mau"),
                },
                applications: Applications {
                    count: usage.applications,
                    limit: limits.applications,
                },
                storage: Storage {
                    bytes: 0,
                    gb: 0.0,
                    included: limits.storage_gb.included,
                    overage: 0,
                    cost: 0.0,
                },
                api_requests: Requests {
                    count: usage.request_units,
                    included: limits.requests_per_month,
                    errors: usage.errors,
                },
                bandwidth: Bandwidth { bytes_in: usage.bytes_in, bytes_out: usage.bytes_out },
            },
            estimated_cost: currency.major(estimate.bill.total),
            billing_date: usage.period.end(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageParams {
    /// `YYYY-MM`; the current month when absent.
    #[param(example = "2026-01", pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    period: Option<String>,
}

/// Get a workspace's usage of a month.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/usage", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), UsageParams),
    responses((status = 200, description = "The usage", body = UsageBody), Failures, Refusals),
)]
pub async fn get_usage(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<UsageParams>,
) -> Result<Json<UsageBody>> {
    let mut tx = app.db.read().await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let usage = usage::of(&mut tx, &access, &workspace, params.period.as_deref()).await?;
    let settings = &app.config.billing;
    let estimate = estimate::of(&mut tx, settings, &access, usage.period).await?;
    Ok(Json(UsageBody::new(workspace, &usage, &estimate, &settings.currency)))
}

/// Whether the ledger adds up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconciliationBody {
    period: String,
    workspace_id: WorkspaceId,
    /// All four ways of adding up agree.
    consistent: bool,
    api_requests: SumsBody,
    /// The platform's proxies: their ledgers hold all workspaces' records.
    proxies: Vec<ProxyLedgerBody>,
    /// Records that never came, the newest first, at most 100.
    gaps: Vec<GapBody>,
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

/// Check that a month's usage adds up, and what the proxies' ledgers lack.
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
    let kept_since = now - TimeDelta::days(app.config.metering.keep_hours_days.into());
    let Reconciliation { period, sums, proxies, gaps } =
        reconciliation::of(&mut tx, &access, params.period.as_deref(), kept_since).await?;
    Ok(Json(ReconciliationBody {
        period: period.to_string(),
        workspace_id: id,
        consistent: sums.agree(),
        api_requests: sums.into(),
        proxies: proxies.into_iter().map(|ledger| ProxyLedgerBody::new(ledger, now)).collect(),
        gaps: gaps.into_iter().map(Into::into).collect(),
    }))
}
