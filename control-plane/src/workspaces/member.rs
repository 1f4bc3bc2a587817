//! Members of a workspace and their roles. A workspace keeps at least one owner, and only owners
//! make, change or remove owners. How somebody becomes a member: `invitation`.

use authsome_shared::code::Code;
use authsome_shared::id::{MemberId, UserId, WorkspaceId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Workspace, forbidden};
use crate::actor::{Access, Actor, Permission, Role};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::events::{self, EventType, Subject};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = MemberStatus)]
pub enum Status {
    Active,
    Invited,
    Suspended,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Member {
    pub id: MemberId,
    pub workspace_id: WorkspaceId,
    /// `None` while invited.
    pub user_id: Option<UserId>,
    /// The user's name, once there is one.
    pub name: Option<String>,
    pub email: String,
    pub role: Role,
    pub status: Status,
    pub invited_by: Option<UserId>,
    pub invited_at: Option<DateTime<Utc>>,
    pub joined_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

impl Member {
    /// Tells the workspace's webhooks; `previous` is the role before a change of it.
    pub(super) async fn tell(
        &self,
        tx: &mut Tx,
        kind: EventType,
        previous: Option<Role>,
    ) -> Result<()> {
        let mut data = json!({
            "memberId": self.id, "workspaceId": self.workspace_id, "userId": self.user_id,
            "email": self.email, "role": self.role, "status": self.status,
        });
        if let Some(previous) = previous {
            data["previousRole"] = json!(previous);
        }
        events::emit(tx, kind, Subject::Workspace(&self.workspace_id), data).await?;
        Ok(())
    }
}

pub(super) const SELECT: &str = "select members.id, members.workspace_id, members.user_id, \
     users.name, coalesce(users.email, members.email) as email, members.role, members.status, \
     members.invited_by, members.invited_at, members.joined_at, members.updated_at \
     from members left join users on users.id = members.user_id";

const NOT_FOUND: Error = Error::NotFound("member");

/// The role of an active member.
pub async fn role_of(tx: &mut Tx, workspace: &WorkspaceId, user: &UserId) -> Result<Option<Role>> {
    let row: Option<(Role,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select role from members where workspace_id = $1 and user_id = $2 and status = $3"
        )
        .bind(workspace)
        .bind(user)
        .bind(Status::Active)
    )?;
    Ok(row.map(|(role,)| role))
}

/// How many members and invitations a workspace has.
pub async fn count(tx: &mut Tx, workspace: &WorkspaceId) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from members where workspace_id = $1").bind(workspace)
    )?;
    Ok(count.unsigned_abs())
}

/// Members and invitations, oldest first.
pub async fn list(tx: &mut Tx, access: &Access, page: PageParams) -> Result<Page<Member>> {
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from members where workspace_id = $1")
            .bind(access.workspace_id())
    )?;
    let members = fetch_all!(
        tx,
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT} where members.workspace_id = $1 order by members.id limit $2 offset $3"
        )))
        .bind(access.workspace_id())
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(members, total))
}

pub async fn get(tx: &mut Tx, access: &Access, id: &MemberId) -> Result<Member> {
    let member = fetch_optional!(
        tx,
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT} where members.workspace_id = $1 and members.id = $2"
        )))
        .bind(access.workspace_id())
        .bind(id)
    )?;
    member.ok_or(NOT_FOUND)
}

/// The addresses of the active members with one of the roles.
pub async fn addresses(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    roles: &[Role],
) -> Result<Vec<String>> {
    let rows: Vec<(Role, String)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select members.role, users.email from members join users on users.id = members.user_id \
             where members.workspace_id = $1 and members.status = $2 order by members.id"
        )
        .bind(workspace)
        .bind(Status::Active)
    )?;
    Ok(rows.into_iter().filter(|(role, _)| roles.contains(role)).map(|(_, email)| email).collect())
}

/// What a change leaves alone is `None`.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemberChange {
    pub role: Option<Role>,
    /// `Active` or `Suspended`: a suspended member keeps its place and sees nothing.
    pub status: Option<Status>,
}

/// Gives a member another role, suspends it, or lets it back in.
pub async fn change(
    tx: &mut Tx,
    access: &Access,
    id: &MemberId,
    change: MemberChange,
) -> Result<Member> {
    let mut member = get(tx, access, id).await?;
    let role = change.role.unwrap_or(member.role);
    let status = change.status.unwrap_or(member.status);
    check_owner_rules(access, &member, role)?;
    if status != member.status {
        check_status_change(access, &member, status)?;
    }
    let owns = member.role == Role::Owner && member.status == Status::Active;
    if owns && (role, status) != (Role::Owner, Status::Active) {
        keep_an_owner(tx, access, &member).await?;
    }
    let was = (member.role, member.status);
    store(tx, &mut member, role, status).await?;
    if was.0 != role {
        let entry = access.audit("member.role_changed").on("member", id);
        tx.audit(entry.change(json!({ "role": was.0 }), json!({ "role": role })));
    }
    if was.1 != status {
        let reinstated = status == Status::Active;
        let action = if reinstated { "member.reinstated" } else { "member.suspended" };
        tx.audit(access.audit(action).on("member", id));
    }
    Ok(member)
}

/// Invitations are accepted or taken back, not switched; nobody shuts itself out.
fn check_status_change(access: &Access, member: &Member, status: Status) -> Result<()> {
    let message = match (member.status, status) {
        (Status::Invited, _) => "An invitation can only be accepted by whom it is for",
        (_, Status::Invited) => "A member can't become an invitation: remove and invite it again",
        _ if member.user_id.as_ref() == Some(&access.actor().user_id) => {
            "Nobody can suspend themselves: leave instead"
        }
        _ => return Ok(()),
    };
    Err(Error::Conflict(Code::InvalidState, message.into()))
}

async fn store(tx: &mut Tx, member: &mut Member, role: Role, status: Status) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query("update members set role = $1, status = $2, updated_at = $3 where id = $4")
            .bind(role)
            .bind(status)
            .bind(now)
            .bind(&member.id)
    )?;
    let previous = member.role;
    member.role = role;
    member.status = status;
    member.updated_at = now;
    if previous != role {
        member.tell(tx, EventType::MemberRoleChanged, Some(previous)).await?;
    }
    Ok(())
}

/// Hands the workspace over: the member becomes an owner and its `ownerId`, the caller an admin.
/// Other owners stay what they are. `access` is an owner's, and the workspace's row is held since it
/// was proved, so that of two at once the second finds what the first has left.
pub async fn transfer_ownership(
    tx: &mut Tx,
    access: &Access,
    workspace: &mut Workspace,
    heir: &MemberId,
) -> Result<()> {
    if heir.as_str().parse::<MemberId>().is_err() {
        // May hold what the databases refuse as text.
        return Err(Error::invalid(
            "memberId",
            "invalid_value",
            "`memberId` must be a member's id",
        ));
    }
    let mut heir = get(tx, access, heir).await?;
    let user_id = heir.user_id.clone().filter(|_| heir.status == Status::Active);
    let Some(user_id) = user_id else {
        let message = "Only an active member can become the owner";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    };
    if user_id == access.actor().user_id {
        let message = "The workspace is yours already: name another member";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let mut giver = of_user(tx, access).await?;
    store(tx, &mut heir, Role::Owner, Status::Active).await?;
    store(tx, &mut giver, Role::Admin, Status::Active).await?;
    let entry = access.audit("workspace.ownership_transferred").on("workspace", &workspace.id);
    let before = json!({ "ownerId": workspace.owner_id });
    workspace.owner_id = user_id;
    tx.audit(entry.change(before, json!({ "ownerId": workspace.owner_id })));
    workspace.updated_at = tx.now();
    super::store::update(tx, workspace).await?;
    Ok(())
}

/// The caller's own membership.
async fn of_user(tx: &mut Tx, access: &Access) -> Result<Member> {
    let member = fetch_optional!(
        tx,
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT} where members.workspace_id = $1 and members.user_id = $2"
        )))
        .bind(access.workspace_id())
        .bind(&access.actor().user_id)
    )?;
    member.ok_or(NOT_FOUND)
}

/// Removes a member, or takes an invitation back. Anybody but the last owner may leave.
pub async fn remove(tx: &mut Tx, access: &Access, id: &MemberId) -> Result<()> {
    let member = get(tx, access, id).await?;
    let leaving = member.user_id.as_ref() == Some(&access.actor().user_id);
    if !leaving {
        if !access.role().may(Permission::ManageMembers) {
            return Err(forbidden());
        }
        check_owner_rules(access, &member, member.role)?;
    }
    if member.role == Role::Owner {
        keep_an_owner(tx, access, &member).await?;
    }
    execute!(tx, sqlx::query("delete from members where id = $1").bind(id))?;
    let before = json!({ "email": member.email, "role": member.role, "status": member.status });
    tx.audit(access.audit("member.removed").on("member", id).before(before));
    member.tell(tx, EventType::MemberRemoved, None).await?;
    Ok(())
}

/// Making, changing and removing owners is for owners.
pub(super) fn check_owner_rules(access: &Access, member: &Member, role: Role) -> Result<()> {
    let touches_owner = member.role == Role::Owner || role == Role::Owner;
    if touches_owner && !access.role().may(Permission::ManageOwners) {
        return Err(forbidden());
    }
    Ok(())
}

/// Refuses when `member` is the only active owner; else makes sure that the workspace's `ownerId`
/// names one who stays. The workspace's row is held since access to it was proved, so that two of
/// them can't leave at once.
async fn keep_an_owner(tx: &mut Tx, access: &Access, member: &Member) -> Result<()> {
    let others: Option<(UserId,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select user_id from members where workspace_id = $1 and role = $2 and status = $3 \
             and id <> $4 order by id limit 1"
        )
        .bind(access.workspace_id())
        .bind(Role::Owner)
        .bind(Status::Active)
        .bind(&member.id)
    )?;
    if member.status != Status::Active {
        return Ok(());
    }
    let Some((next,)) = others else {
        let message = "A workspace keeps at least one owner: make somebody else an owner first";
        return Err(Error::Conflict(Code::LastOwner, message.into()));
    };
    execute!(
        tx,
        sqlx::query("update workspaces set owner_id = $1 where id = $2 and owner_id = $3")
            .bind(next)
            .bind(access.workspace_id())
            .bind(&member.user_id)
    )?;
    Ok(())
}

/// The first member of a new workspace.
pub(super) async fn insert_owner(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    actor: &Actor,
) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into members (id, workspace_id, user_id, email, role, status, joined_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $7)"
        )
        .bind(MemberId::new())
        .bind(workspace)
        .bind(&actor.user_id)
        .bind(&actor.email)
        .bind(Role::Owner)
        .bind(Status::Active)
        .bind(now)
    )?;
    Ok(())
}
