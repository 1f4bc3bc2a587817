//! Workspaces.

use authsome_shared::id::{MemberId, UserId, WorkspaceId};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::actor::{Permission, Role};
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::storage;
use crate::page::{Page, PageParams};
use crate::workspaces::{self, NewWorkspace, Plan, Status, Workspace, WorkspaceChange, member};

/// A workspace.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceBody {
    id: WorkspaceId,
    name: String,
    slug: String,
    plan: Plan,
    status: Status,
    /// Why the platform suspended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_reason: Option<String>,
    owner_id: UserId,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<DateTime<Utc>>,
    /// Until then it can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_at: Option<DateTime<Utc>>,
}

impl From<Workspace> for WorkspaceBody {
    fn from(workspace: Workspace) -> Self {
        Self {
            id: workspace.id,
            name: workspace.name,
            slug: workspace.slug,
            plan: workspace.plan,
            status: workspace.status,
            suspended_reason: workspace.suspended_reason,
            owner_id: workspace.owner_id,
            metadata: workspace.metadata.0,
            created_at: workspace.created_at,
            updated_at: workspace.updated_at,
            deleted_at: workspace.deleted_at,
            purge_at: workspace.purge_at,
        }
    }
}

/// A workspace in a list, with the caller's role.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedWorkspace {
    #[serde(flatten)]
    workspace: WorkspaceBody,
    role: Role,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWorkspace {
    #[schema(example = "Acme Corporation", min_length = 1, max_length = 200)]
    name: String,
    /// Made from the name when absent.
    #[schema(example = "acme-corp", max_length = 63)]
    slug: Option<String>,
    #[serde(default)]
    plan: Plan,
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// Create a workspace, with the caller as its owner.
#[utoipa::path(
    post, path = "/control/v1/workspaces", tag = "workspaces", security(("bearer" = [])),
    request_body = CreateWorkspace,
    responses(
        (status = 201, description = "Created", body = WorkspaceBody),
        (status = 409, description = "The slug is taken", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn create_workspace(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<CreateWorkspace>,
) -> Result<Response> {
    let CreateWorkspace { name, slug, plan, metadata } = input;
    let mut tx = idempotency::begin(&app).await?;
    let trial_days = app.config.billing.trial_days;
    let new = NewWorkspace { name, slug, plan, metadata, trial_days };
    let workspace = workspaces::create(&mut tx, &actor, new).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, WorkspaceBody::from(workspace)).await
}

/// List the caller's workspaces.
#[utoipa::path(
    get, path = "/control/v1/workspaces", tag = "workspaces", security(("bearer" = [])),
    params(PageParams),
    responses(
        (status = 200, description = "A page", body = Page<ListedWorkspace>),
        Failures, Refusals,
    ),
)]
pub async fn list_workspaces(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<ListedWorkspace>>> {
    let mut tx = app.db.read().await?;
    let page = workspaces::list(&mut tx, &actor, page).await?;
    Ok(Json(page.map(|(workspace, role)| ListedWorkspace { workspace: workspace.into(), role })))
}

/// Get a workspace.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}", tag = "workspaces",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "The workspace", body = WorkspaceBody),
        Failures, Refusals,
    ),
)]
pub async fn get_workspace(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<Json<WorkspaceBody>> {
    let mut tx = app.db.read().await?;
    let workspace = workspaces::get(&mut tx, &actor, &id).await?;
    Ok(Json(workspace.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateWorkspace {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Merged into what is there; `null` removes a field.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// Rename a workspace or change its metadata.
#[utoipa::path(
    patch, path = "/control/v1/workspaces/{workspaceId}", tag = "workspaces",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = UpdateWorkspace,
    responses(
        (status = 200, description = "The workspace as it is now", body = WorkspaceBody),
        Failures, Refusals,
    ),
)]
pub async fn update_workspace(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<UpdateWorkspace>,
) -> Result<Json<WorkspaceBody>> {
    let UpdateWorkspace { name, metadata } = input;
    let mut tx = app.db.write().await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::UpdateWorkspace).await?;
    let change = WorkspaceChange { name, metadata };
    let workspace = workspaces::update(&mut tx, &access, workspace, change).await?;
    tx.commit().await?;
    Ok(Json(workspace.into()))
}

/// Delete a workspace. Its applications are suspended; for 30 days it can be restored.
#[utoipa::path(
    delete, path = "/control/v1/workspaces/{workspaceId}", tag = "workspaces",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses((status = 204, description = "Deleted"), Failures, Refusals),
)]
pub async fn delete_workspace(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::DeleteWorkspace).await?;
    workspaces::delete(&mut tx, &access, workspace).await?;
    storage::stop_all(&mut tx, &id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restore a deleted workspace.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/restore", tag = "workspaces",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "The workspace", body = WorkspaceBody),
        (status = 409, description = "It is not deleted", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn restore_workspace(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::DeleteWorkspace).await?;
    let workspace = workspaces::restore(&mut tx, &access, workspace).await?;
    storage::resume_all(&mut tx, &id).await?;
    idempotency::answer(tx, &app, StatusCode::OK, WorkspaceBody::from(workspace)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransferOwnership {
    /// An active member.
    member_id: MemberId,
}

/// Hand the workspace over to a member: it becomes the owner, the caller an admin.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/transfer-ownership", tag = "workspaces",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = TransferOwnership,
    responses(
        (status = 200, description = "The workspace, with its new owner", body = WorkspaceBody),
        (status = 409, description = "The member is not active, or is the caller", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn transfer_ownership(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<TransferOwnership>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, mut workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ManageOwners).await?;
    member::transfer_ownership(&mut tx, &access, &mut workspace, &input.member_id).await?;
    idempotency::answer(tx, &app, StatusCode::OK, WorkspaceBody::from(workspace)).await
}
