//! Invitations: a member row that waits for its user, and a mail with a single-use token. Inviting
//! again renews the token and the mail. Only the account of the invited address can accept.

use authsome_shared::code::Code;
use authsome_shared::id::MemberId;
use authsome_shared::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::member::{self, Member, Status};
use super::{Workspace, forbidden};
use crate::actor::{Access, Actor, Permission, Role};
use crate::app::App;
use crate::audit::Entry;
use crate::db::{Tx, is_unique_violation};
use crate::error::{Error, Result};
use crate::events::EventType;
use crate::identity::token::{OneTimeToken, digest};
use crate::identity::user::{is_email, normalise_email};
use crate::jobs::Job;
use crate::mail::Mail;
use crate::{execute, fetch_optional, jobs};

/// Invites an address into a role; the mail goes out once the transaction has committed.
pub async fn invite(
    tx: &mut Tx,
    app: &App,
    access: &Access,
    workspace: &Workspace,
    email: &str,
    role: Role,
) -> Result<Member> {
    let email = normalise_email(email);
    if !is_email(&email) {
        return Err(Error::invalid("email", "invalid_value", "`email` must be an e-mail address"));
    }
    if role == Role::Owner && !access.role().may(Permission::ManageOwners) {
        return Err(forbidden());
    }
    let token = OneTimeToken::new("inv_");
    let id = match existing(tx, access, &email).await? {
        None => insert(tx, access, &email, role).await?,
        Some((id, Status::Invited)) => {
            let current = member::get(tx, access, &id).await?;
            member::check_owner_rules(access, &current, role)?;
            id
        }
        Some(_) => return Err(already_member(&email)),
    };
    let now = tx.now();
    let days = app.config.identity.invitation_days;
    execute!(
        tx,
        sqlx::query(
            "update members set role = $1, invited_by = $2, invited_at = $3, updated_at = $3, \
             token_digest = $4, token_expires_at = $5 where id = $6"
        )
        .bind(role)
        .bind(&access.actor().user_id)
        .bind(now)
        .bind(&token.digest)
        .bind(now + TimeDelta::days(days.into()))
        .bind(&id)
    )?;
    let mail = invitation_mail(app, access, workspace, &email, &token.clear);
    jobs::enqueue(tx, &Job::mail(&app.sealer, &mail)?).await?;
    let after = json!({ "email": email, "role": role });
    tx.audit(access.audit("member.invited").on("member", &id).after(after));
    let member = member::get(tx, access, &id).await?;
    member.tell(tx, EventType::MemberInvited, None).await?;
    Ok(member)
}

fn already_member(email: &str) -> Error {
    Error::Conflict(Code::AlreadyExists, format!("{email} is a member already"))
}

/// The member row of an address: by its account's present address, or as it was invited.
async fn existing(tx: &mut Tx, access: &Access, email: &str) -> Result<Option<(MemberId, Status)>> {
    Ok(fetch_optional!(
        tx,
        sqlx::query_as(
            "select id, status from members where workspace_id = $1 and \
             (email = $2 or user_id in (select id from users where email = $2))"
        )
        .bind(access.workspace_id())
        .bind(email)
    )?)
}

async fn insert(tx: &mut Tx, access: &Access, email: &str, role: Role) -> Result<MemberId> {
    let id = MemberId::new();
    let now = tx.now();
    let inserted = execute!(
        tx,
        sqlx::query(
            "insert into members (id, workspace_id, email, role, status, updated_at) \
             values ($1, $2, $3, $4, $5, $6)"
        )
        .bind(&id)
        .bind(access.workspace_id())
        .bind(email)
        .bind(role)
        .bind(Status::Invited)
        .bind(now)
    );
    match inserted {
        Err(error) if is_unique_violation(&error) => Err(already_member(email)),
        other => Ok(other.map(|_| id)?),
    }
}

fn invitation_mail(
    app: &App,
    access: &Access,
    workspace: &Workspace,
    email: &str,
    token: &Secret<String>,
) -> Mail {
    let dashboard = app.config.platform.dashboard_url.trim_end_matches('/');
    let link = format!("{dashboard}/invitations/accept?token={}", token.expose());
    let name = workspace.name.replace(['\r', '\n'], " ");
    let inviter = &access.actor().email;
    let days = app.config.identity.invitation_days;
    Mail {
        to: email.to_owned(),
        subject: format!("{inviter} invites you to {name}"),
        text: format!(
            "{inviter} invites you to the workspace \"{name}\" on AuthSome Cloud.\n\n\
             Sign in or register as {email}, then open\n\n{link}\n\n\
             The link works once, for {days} days. If you did not expect it, do nothing.\n"
        ),
    }
}

/// Accepts an invitation as its signed-in invitee.
pub async fn accept(tx: &mut Tx, actor: &Actor, token: &Secret<String>) -> Result<Member> {
    #[derive(sqlx::FromRow)]
    struct Invitation {
        id: MemberId,
        email: String,
        token_expires_at: DateTime<Utc>,
    }
    const NOT_FOUND: Error = Error::NotFound("invitation");
    let now = tx.now();
    let invitation: Option<Invitation> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select members.id, members.email, members.token_expires_at from members \
             join workspaces on workspaces.id = members.workspace_id \
             where token_digest = $1 and members.status = $2 and workspaces.status <> $3"
        )
        .bind(digest(token.expose()))
        .bind(Status::Invited)
        .bind(super::Status::Deleted)
    )?;
    let invitation = invitation.filter(|i| i.token_expires_at > now).ok_or(NOT_FOUND)?;
    if invitation.email != actor.email {
        return Err(Error::Forbidden("This invitation is for another e-mail address"));
    }
    let joined = execute!(
        tx,
        sqlx::query(
            "update members set user_id = $1, status = $2, joined_at = $3, updated_at = $3, \
             token_digest = null, token_expires_at = null where id = $4 and status = $5"
        )
        .bind(&actor.user_id)
        .bind(Status::Active)
        .bind(now)
        .bind(&invitation.id)
        .bind(Status::Invited)
    )?;
    if joined == 0 {
        return Err(NOT_FOUND);
    }
    let select = format!("{} where members.id = $1", member::SELECT);
    let member: Option<Member> = fetch_optional!(
        tx,
        sqlx::query_as(sqlx::AssertSqlSafe(select.clone())).bind(&invitation.id)
    )?;
    let member = member.ok_or(NOT_FOUND)?;
    let after = json!({ "email": member.email, "role": member.role, "status": member.status });
    let entry = Entry::by(actor, "member.joined").in_workspace(&member.workspace_id);
    tx.audit(entry.on("member", &member.id).after(after));
    member.tell(tx, EventType::MemberJoined, None).await?;
    Ok(member)
}
