//! A workspace's usage of a month: as a whole (`body`), in parts (`breakdown`), as a table (`export`),
//! and held against the ledger and the invoice (`reconciliation`).

mod body;
pub mod breakdown;
pub mod export;
pub mod reconciliation;

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::actor::Permission;
use crate::app::App;
use crate::billing::estimate;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
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
