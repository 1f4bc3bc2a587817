//! A workspace's usage of a month: as a whole (`body`), in parts (`breakdown`), as a table (`export`),
//! and held against itself.

mod body;
pub mod breakdown;
pub mod export;

use authsome_shared::id::{EpochId, NodeId, WorkspaceId};
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::billing::estimate;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::reconciliation::{self, Gap, ProxyLedger, Reconciliation, Sums};
use crate::metering::usage;
use crate::workspaces;
use body::UsageBody;

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
