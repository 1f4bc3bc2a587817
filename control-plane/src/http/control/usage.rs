//! A workspace's usage.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::usage::{self, Usage, cents};
use crate::workspaces::{self, Plan, Workspace};

/// A month's usage. Costs are in dollars.
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
    fn new(workspace: Workspace, usage: &Usage) -> Self {
        let limits = &usage.limits;
        Self {
            period: usage.period.to_string(),
            workspace_id: workspace.id,
            plan: workspace.plan,
            usage: Lines {
                mau: ActiveUsers {
                    current: usage.active_users,
                    included: limits.active_users.included,
                    overage: limits.active_users.overage(usage.active_users),
                    cost: dollars(cents(usage.active_users_cost_micros)),
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
            estimated_cost: dollars(usage.estimated_cost_cents),
            billing_date: usage.period.end(),
        }
    }
}

/// For the wire only: every sum is made in integers before.
fn dollars(cents: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact to ninety trillion dollars")]
    let cents = cents as f64;
    cents / 100.0
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageParams {
    /// `YYYY-MM`; the current month when absent.
    #[param(example = "2026-01")]
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
    Ok(Json(UsageBody::new(workspace, &usage)))
}
