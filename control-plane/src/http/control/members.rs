//! A workspace's members.

use authsome_shared::id::{MemberId, UserId, WorkspaceId};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::{Permission, Role};
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::page::{Page, PageParams};
use crate::workspaces::member::{self, Member, MemberChange, Status};
use crate::workspaces::{self, invitation};

/// A member, or somebody invited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberBody {
    id: MemberId,
    workspace_id: WorkspaceId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    role: Role,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            workspace_id: member.workspace_id,
            user_id: member.user_id,
            email: member.email,
            name: member.name,
            role: member.role,
            status: member.status,
            invited_by: member.invited_by,
            invited_at: member.invited_at,
            joined_at: member.joined_at,
            updated_at: member.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteMember {
    #[schema(example = "developer@acme.com", format = Email)]
    email: String,
    role: Role,
}

/// Invite somebody by mail. Inviting again renews the invitation.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/members", tag = "members",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = InviteMember,
    responses(
        (status = 201, description = "Invited", body = MemberBody),
        (status = 409, description = "A member already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn invite_member(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<InviteMember>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ManageMembers).await?;
    let InviteMember { email, role } = input;
    let member = invitation::invite(&mut tx, &app, &access, &workspace, &email, role).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, MemberBody::from(member)).await
}

/// List members and invitations.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/members", tag = "members",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), PageParams),
    responses(
        (status = 200, description = "A page", body = Page<MemberBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_members(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<MemberBody>>> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewMembers).await?;
    let page = member::list(&mut tx, &access, page).await?;
    Ok(Json(page.map(Into::into)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "role": "admin" }))]
pub struct UpdateMember {
    role: Option<Role>,
    /// `suspended` keeps the member's place and shuts it out; `active` lets it back in.
    #[schema(value_type = Option<SettableStatus>)]
    status: Option<SettableStatus>,
}

/// What a member's status can be set to.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettableStatus {
    Active,
    Suspended,
}

impl From<SettableStatus> for Status {
    fn from(status: SettableStatus) -> Self {
        match status {
            SettableStatus::Active => Self::Active,
            SettableStatus::Suspended => Self::Suspended,
        }
    }
}

/// Give a member another role, suspend it, or let it back in.
#[utoipa::path(
    patch, path = "/control/v1/workspaces/{workspaceId}/members/{memberId}", tag = "members",
    security(("bearer" = [])),
    params(("workspaceId" = WorkspaceId, Path), ("memberId" = MemberId, Path)),
    request_body = UpdateMember,
    responses(
        (status = 200, description = "The member as it is now", body = MemberBody),
        (status = 409, description = "The last owner stays one; its state forbids it", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn update_member(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, member_id)): Path<(WorkspaceId, MemberId)>,
    Json(input): Json<UpdateMember>,
) -> Result<Json<MemberBody>> {
    let mut tx = app.db.write().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ManageMembers).await?;
    let UpdateMember { role, status } = input;
    let change = MemberChange { role, status: status.map(Into::into) };
    let member = member::change(&mut tx, &access, &member_id, change).await?;
    tx.commit().await?;
    Ok(Json(member.into()))
}

/// Remove a member, take back an invitation, or leave.
#[utoipa::path(
    delete, path = "/control/v1/workspaces/{workspaceId}/members/{memberId}", tag = "members",
    security(("bearer" = [])),
    params(("workspaceId" = WorkspaceId, Path), ("memberId" = MemberId, Path)),
    responses(
        (status = 204, description = "Removed"),
        (status = 409, description = "The last owner stays", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn remove_member(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, member_id)): Path<(WorkspaceId, MemberId)>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    // Anybody may leave, so the domain judges by who is removed.
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewMembers).await?;
    member::remove(&mut tx, &access, &member_id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
