//! The versions of a plan, and moving workspaces from one to another.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plans::PlanBody;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{Page, PageParams};
use crate::workspaces::VersionOf;
use crate::workspaces::admin::{self, Whom};
use crate::workspaces::plan::{self, Plan};
use crate::workspaces::subscription::When;

/// A version of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlanVersion)]
pub struct VersionBody {
    #[serde(flatten)]
    plan: PlanBody,
    /// What new subscriptions get.
    current: bool,
    /// How many have it.
    workspaces: i64,
}

impl VersionBody {
    pub fn new(version: plan::Version, current: bool, workspaces: i64) -> Self {
        Self { plan: PlanBody::new(version), current, workspaces }
    }
}

/// List a plan's versions, the newest first, each with how many workspaces have it.
#[utoipa::path(
    get, path = "/control/v1/admin/plans/{plan}/versions", tag = "platform",
    security(("bearer" = [])), params(("plan" = Plan, Path), PageParams),
    responses((status = 200, description = "A page", body = Page<VersionBody>), Failures, Refusals),
)]
pub async fn list_plan_versions(
    State(app): State<App>,
    _: PlatformAdmin,
    Path(name): Path<Plan>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<VersionBody>>> {
    let mut tx = app.db.read().await?;
    let current = plan::current(&mut tx, name).await?.version;
    let page = plan::versions(&mut tx, name, page).await?;
    Ok(Json(page.map(|(version, workspaces)| {
        let is_current = version.version == current;
        VersionBody::new(version, is_current, workspaces)
    })))
}

/// Get a version of a plan.
#[utoipa::path(
    get, path = "/control/v1/admin/plans/{plan}/versions/{version}", tag = "platform",
    security(("bearer" = [])),
    params(("plan" = Plan, Path), ("version" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The version", body = VersionBody), Failures, Refusals),
)]
pub async fn get_plan_version(
    State(app): State<App>,
    _: PlatformAdmin,
    Path((name, version)): Path<(Plan, i64)>,
) -> Result<Json<VersionBody>> {
    let mut tx = app.db.read().await?;
    let of = VersionOf { plan: name, version };
    let current = plan::current(&mut tx, name).await?.of() == of;
    let version = plan::version_of(&mut tx, of).await?;
    let workspaces = plan::workspaces_on(&mut tx, of).await?;
    Ok(Json(VersionBody::new(version, current, workspaces)))
}

/// Either `all` or `workspaceIds`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "all": true, "when": "period_end" }))]
pub struct MoveWorkspaces {
    /// Those whose version was not agreed with them alone.
    #[serde(default)]
    all: bool,
    /// Workspaces of the plan, whatever version they have.
    #[schema(min_items = 1, max_items = 100)]
    workspace_ids: Option<Vec<WorkspaceId>>,
    #[serde(default)]
    when: When,
}

/// What a move comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovedWorkspaces {
    plan: Plan,
    version: i64,
    when: When,
    /// How many it concerns, as far as is known now.
    workspaces: i64,
}

/// Move workspaces to a version of their plan, at once or at the end of their month: those that are
/// named with this call, all of them by a job.
#[utoipa::path(
    post, path = "/control/v1/admin/plans/{plan}/versions/{version}/move", tag = "platform",
    security(("bearer" = [])),
    params(("plan" = Plan, Path), ("version" = i64, Path, minimum = 1)),
    request_body = MoveWorkspaces,
    responses(
        (status = 202, description = "Under way", body = MovedWorkspaces),
        (status = 409, description = "The version is private, and not for all", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn move_workspaces(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path((name, version)): Path<(Plan, i64)>,
    Json(input): Json<MoveWorkspaces>,
) -> Result<Response> {
    let MoveWorkspaces { all, workspace_ids, when } = input;
    let whom = match (all, workspace_ids) {
        (true, None) => Whom::All,
        (false, Some(ids)) => Whom::These(ids),
        _ => {
            let message = "Give either `all` or `workspaceIds`";
            return Err(Error::invalid("workspaceIds", "invalid_value", message));
        }
    };
    let mut tx = idempotency::begin(&app).await?;
    let to = VersionOf { plan: name, version };
    let workspaces = admin::move_to_version(&mut tx, &access, to, &whom, when).await?;
    let body = MovedWorkspaces { plan: name, version, when, workspaces };
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, body).await
}
