//! Workspaces as the platform's admins see and change them: search, plan and limits, suspension. It
//! gives no access to what is in a workspace: for that one must be its member.
//!
//! A new version of a plan may concern every workspace of it: a job moves them in batches, each in a
//! transaction of its own (`subscription::move_all`).

use authsome_shared::code::Code;
use authsome_shared::id::WorkspaceId;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;

use super::limits::Overrides;
use super::subscription::{Moved, When};
use super::{
    NOT_FOUND, Plan, Status, SuspendedBy, VersionOf, Workspace, plan, publish, store, subscription,
};
use crate::actor::PlatformAccess;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::jobs::{self, Job};
use crate::page::{Page, PageParams};
use crate::text::pattern;
use crate::{fetch_all, fetch_one, fetch_optional, revisions};

/// Workspaces published in one revision.
pub const BATCH: i64 = 500;

/// A workspace and who owns it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Owned {
    #[sqlx(flatten)]
    pub workspace: Workspace,
    pub owner_email: String,
}

/// Narrows the search.
#[derive(Debug, Default)]
pub struct Filter {
    /// Part of name or slug, or of the owner's address or name; or the id of either, whole.
    pub search: Option<String>,
    pub plan: Option<Plan>,
    pub status: Option<Status>,
}

/// Workspaces of whatever state, oldest first.
pub async fn search(
    tx: &mut Tx,
    _: &PlatformAccess,
    filter: &Filter,
    page: PageParams,
) -> Result<Page<Owned>> {
    const FROM: &str = "from workspaces join users on users.id = workspaces.owner_id \
         where (cast($1 as text) is null or workspaces.plan = $1) \
         and (cast($2 as text) is null or workspaces.status = $2) \
         and (cast($3 as text) is null or workspaces.id = $3 or workspaces.owner_id = $3 \
         or workspaces.slug like $4 escape '\\' or lower(workspaces.name) like $4 escape '\\' \
         or users.email like $4 escape '\\' or lower(users.name) like $4 escape '\\')";
    let search = filter.search.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let like = pattern(search.unwrap_or_default());
    let count = format!("select count(*) {FROM}");
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(AssertSqlSafe(count.clone()))
            .bind(filter.plan)
            .bind(filter.status)
            .bind(search)
            .bind(&like)
    )?;
    let select = format!(
        "select workspaces.*, users.email as owner_email {FROM} \
         order by workspaces.created_at, workspaces.id limit $5 offset $6"
    );
    let rows = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(select.clone()))
            .bind(filter.plan)
            .bind(filter.status)
            .bind(search)
            .bind(&like)
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

/// One of whatever state; held against changes in a writing transaction.
pub async fn get(tx: &mut Tx, _: &PlatformAccess, id: &WorkspaceId) -> Result<Owned> {
    let workspace = store::by_id(tx, id).await?.ok_or(NOT_FOUND)?;
    let owner: Option<(String,)> = fetch_optional!(
        tx,
        sqlx::query_as("select email from users where id = $1").bind(&workspace.owner_id)
    )?;
    let (owner_email,) = owner.ok_or(NOT_FOUND)?;
    Ok(Owned { workspace, owner_email })
}

/// What a change leaves alone is `None`.
#[derive(Debug, Default)]
pub struct TermsChange {
    pub plan: Option<Plan>,
    /// Of the plan; its current one when the plan changes.
    pub version: Option<i64>,
    /// When plan and version change.
    pub when: When,
    /// Replaces all overrides, at once.
    pub limits: Option<Overrides>,
}

/// Gives the workspace another plan, or limits of its own; proxies hold them at once. A plan that is
/// to come at the end of the month is only noted.
pub async fn change(
    tx: &mut Tx,
    access: &PlatformAccess,
    id: &WorkspaceId,
    change: TermsChange,
) -> Result<Owned> {
    let mut owned = get(tx, access, id).await?;
    let before = terms(&owned.workspace);
    if let Some(limits) = &change.limits {
        limits.check()?;
    }
    let workspace = &mut owned.workspace;
    let changes_plan = change.plan.is_some() || change.version.is_some();
    let version = match (change.plan, change.version) {
        (None, None) => workspace.version(),
        (plan, Some(version)) => {
            let plan = plan.unwrap_or(workspace.plan);
            plan::version_of(tx, VersionOf { plan, version }).await?.of()
        }
        (Some(plan), None) if plan == workspace.plan => workspace.version(),
        (Some(plan), None) => plan::current(tx, plan).await?.of(),
    };
    if change.when == When::PeriodEnd {
        let mut checks = Checks::default();
        let alone = changes_plan && change.limits.is_none();
        let rule = "`when` is for `plan` and `version`: `limits` change at once, in a request of \
             their own";
        checks.check(alone, "when", rule);
        checks.finish()?;
        plan_ahead(tx, access, workspace, version).await?;
        return Ok(owned);
    }
    workspace.plan = version.plan;
    workspace.plan_version = version.version;
    if let Some(limits) = change.limits {
        workspace.limits = Json(limits);
    }
    let now = tx.now();
    workspace.updated_at = now;
    store::update(tx, workspace).await?;
    if workspace.status != Status::Deleted {
        if changes_plan {
            subscription::schedule(tx, id, None).await?;
        }
        subscription::move_to(tx, workspace, now).await?;
    }
    let entry = access.audit("workspace.terms_changed").in_workspace(id).on("workspace", id);
    tx.audit(entry.change(before, terms(workspace)));
    publish(tx, workspace).await?;
    Ok(owned)
}

/// The plan that it has already takes back what was planned.
async fn plan_ahead(
    tx: &mut Tx,
    access: &PlatformAccess,
    workspace: &Workspace,
    to: VersionOf,
) -> Result<()> {
    let id = &workspace.id;
    if workspace.status == Status::Deleted {
        let message = "The workspace is deleted: its subscription has ended";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let before = subscription::of(tx, id).await?.planned().map(|planned| planned.to);
    let planned = (to != workspace.version()).then_some(to);
    subscription::schedule(tx, id, planned).await?;
    let entry = access.audit("workspace.plan_change_planned").in_workspace(id);
    let entry = entry.on("workspace", id);
    tx.audit(entry.change(json!({ "planned": before }), json!({ "planned": planned })));
    Ok(())
}

/// What the audit log says of its terms.
fn terms(workspace: &Workspace) -> Value {
    json!({
        "plan": workspace.plan, "version": workspace.plan_version, "limits": workspace.limits.0,
    })
}

/// Suspends: proxies answer 503 `suspended` for every application of it. Members see why.
pub async fn suspend(
    tx: &mut Tx,
    access: &PlatformAccess,
    id: &WorkspaceId,
    reason: &str,
) -> Result<Owned> {
    let reason = reason.trim();
    let mut checks = Checks::default();
    let fine = (1..=500).contains(&reason.chars().count())
        && !reason.chars().any(|c| c.is_control() && c != '\n');
    checks.check(fine, "reason", "`reason` must have 1 to 500 printable characters");
    checks.finish()?;
    let mut owned = get(tx, access, id).await?;
    let workspace = &mut owned.workspace;
    if matches!(workspace.status, Status::Suspended | Status::Deleted) {
        let message = format!("The workspace is {} already", workspace.status.as_str());
        return Err(Error::Conflict(Code::InvalidState, message));
    }
    workspace.status_before_suspension = Some(workspace.status);
    workspace.status = Status::Suspended;
    workspace.suspended_reason = Some(reason.to_owned());
    workspace.suspended_by = Some(SuspendedBy::Operator);
    workspace.updated_at = tx.now();
    store::update(tx, workspace).await?;
    let entry = access.audit("workspace.suspended").in_workspace(id).on("workspace", id);
    tx.audit(entry.after(json!({ "reason": reason })));
    publish(tx, workspace).await?;
    Ok(owned)
}

/// Ends the suspension: back to the state before it.
pub async fn unsuspend(tx: &mut Tx, access: &PlatformAccess, id: &WorkspaceId) -> Result<Owned> {
    let mut owned = get(tx, access, id).await?;
    let workspace = &mut owned.workspace;
    if workspace.status != Status::Suspended {
        let message = "The workspace is not suspended";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    workspace.status = workspace.status_before_suspension.take().unwrap_or(Status::Active);
    workspace.suspended_reason = None;
    workspace.suspended_by = None;
    workspace.updated_at = tx.now();
    store::update(tx, workspace).await?;
    let entry = access.audit("workspace.unsuspended").in_workspace(id).on("workspace", id);
    tx.audit(entry.after(json!({ "status": workspace.status })));
    publish(tx, workspace).await?;
    Ok(owned)
}

/// What becomes of those who have an older version of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// They keep it.
    #[default]
    Keep,
    /// They have the new one from now on.
    MoveNow,
    /// From the end of their month.
    MoveAtPeriodEnd,
}

/// Adds a version of a plan, which new subscriptions get, unless it is `private`; those that exist
/// are moved by a job.
pub async fn publish_version(
    tx: &mut Tx,
    by: &By<'_>,
    plan: Plan,
    limits: &plan::Limits,
    (private, note): (bool, &str),
    existing: Existing,
) -> Result<plan::Version> {
    let mut checks = Checks::default();
    let fine = note.chars().count() <= 500 && !note.chars().any(|c| c.is_control() && c != '\n');
    checks.check(fine, "note", "`note` must have at most 500 printable characters");
    checks.finish()?;
    let before = plan::current(tx, plan).await?;
    let added = plan::add(tx, plan, limits, private, note).await?;
    let entry = by.audit("plan.version_added").on("plan", plan.as_str());
    let mut after = json!(limits);
    after["version"] = json!(added.version);
    tx.audit(entry.change(json!(before.limits.0), after));
    let now = tx.now();
    let at = match existing {
        Existing::Keep => return Ok(added),
        Existing::MoveNow => Some(now),
        Existing::MoveAtPeriodEnd => None,
    };
    let to = added.of();
    jobs::enqueue(tx, &Job::MoveSubscriptions { to, at, after: None }).await?;
    Ok(added)
}

/// Whom to move to a version of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Everybody who has, or is about to have, a version that was not agreed with them alone.
    All,
    These(Vec<WorkspaceId>),
}

/// Workspaces that can be named in one move.
pub const MOST_NAMED: usize = 100;

/// Moves workspaces of the plan to a version of it: those named at once, all by a job. Answers how
/// many that concerns.
pub async fn move_to_version(
    tx: &mut Tx,
    access: &PlatformAccess,
    to: VersionOf,
    whom: &Whom,
    when: When,
) -> Result<i64> {
    let version = plan::version_of(tx, to).await?;
    let at = (when == When::Now).then_some(tx.now());
    let entry = access.audit("plan.workspaces_moved").on("plan", to.plan.as_str());
    tx.audit(
        entry.after(json!({ "version": to.version, "when": when, "all": *whom == Whom::All })),
    );
    let ids = match whom {
        Whom::All if version.private => {
            let message = "The version is private: name the workspaces that it was agreed with";
            return Err(Error::Conflict(Code::InvalidState, message.into()));
        }
        Whom::All => {
            jobs::enqueue(tx, &Job::MoveSubscriptions { to, at, after: None }).await?;
            return plan::workspaces_off(tx, to).await;
        }
        Whom::These(ids) => ids,
    };
    let mut checks = Checks::default();
    let few = (1..=MOST_NAMED).contains(&ids.len());
    checks.check(few, "workspaceIds", format!("`workspaceIds` must be 1 to {MOST_NAMED}"));
    checks.finish()?;
    // In one order, so that two moves can't wait for each other.
    let mut ordered: Vec<_> = ids.iter().enumerate().collect();
    ordered.sort_by_key(|(_, id)| *id);
    ordered.dedup_by_key(|(_, id)| *id);
    let (mut concerned, mut changes) = (0, Vec::new());
    for (position, id) in ordered {
        let field = format!("workspaceIds[{position}]");
        let Some(mut workspace) = super::held(tx, id).await? else {
            return Err(Error::invalid(
                field,
                "invalid_value",
                format!("There is no workspace {id}"),
            ));
        };
        if workspace.plan != to.plan {
            let (has, plan) = (workspace.plan.as_str(), to.plan.as_str());
            let message = format!("{id} is on the {has} plan, not on {plan}");
            return Err(Error::invalid(field, "invalid_value", message));
        }
        let before = workspace.version();
        match subscription::move_one(tx, &mut workspace, to, &version.limits.0, at).await? {
            Moved::Not => continue,
            Moved::Planned => {}
            Moved::Now(change) => changes.push(change),
        }
        concerned += 1;
        let action = match when {
            When::Now => "workspace.plan_changed",
            When::PeriodEnd => "workspace.plan_change_planned",
        };
        let entry = access.audit(action).in_workspace(id).on("workspace", id);
        tx.audit(entry.change(json!(before), json!(to)));
    }
    // Last: whoever publishes waits for all others who do.
    if !changes.is_empty() {
        revisions::append(tx, changes).await?;
    }
    Ok(concerned)
}

/// Who changes plans and coupons.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    Admin(&'a PlatformAccess),
    CommandLine,
}

impl By<'_> {
    pub(crate) fn audit(self, action: &'static str) -> Entry {
        match self {
            Self::Admin(access) => access.audit(action),
            Self::CommandLine => Entry::by_operator("cli", action),
        }
    }
}
