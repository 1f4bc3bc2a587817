//! Workspaces: the tenant that owns applications, has members and a plan. Their life: active,
//! suspended or past due (by billing), deleted, restored within 30 days, purged.
//!
//! [`access`] is the only source of an [`Access`]: it turns an actor and a workspace into the proof
//! of a permission, or into the same `NotFound` for absent, deleted and foreign ones alike.

pub mod admin;
pub mod api_limit;
pub mod invitation;
pub mod limits;
pub mod member;
pub mod plan;
pub mod standing;
mod store;
pub mod subscription;

use authsome_shared::code::Code;
use authsome_shared::id::{UserId, WorkspaceId};
use authsome_shared::snapshot::{self, Change};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::actor::{Access, Actor, Permission, Role};
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::page::{Page, PageParams};
use crate::{merge, revisions};
pub use limits::Overrides;
pub use plan::{Limits, Plan, VersionOf};

/// How long a deleted workspace can be restored.
const RESTORABLE: TimeDelta = TimeDelta::days(30);

const NOT_FOUND: Error = Error::NotFound("workspace");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = WorkspaceStatus)]
pub enum Status {
    Active,
    Suspended,
    PastDue,
    Deleted,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::PastDue => "past_due",
            Self::Deleted => "deleted",
        }
    }
}

/// Who suspended a workspace, and so who ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SuspendedBy {
    /// The platform's admins.
    Operator,
    /// Until what is due is paid.
    Billing,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    pub slug: String,
    pub plan: Plan,
    pub plan_version: i64,
    pub status: Status,
    pub owner_id: UserId,
    pub metadata: Json<Map<String, Value>>,
    /// What is agreed instead of the plan's: `limits::of` has what holds.
    pub limits: Json<Overrides>,
    status_before_deletion: Option<Status>,
    status_before_suspension: Option<Status>,
    /// Why it was suspended.
    pub suspended_reason: Option<String>,
    pub suspended_by: Option<SuspendedBy>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
    pub purge_at: Option<DateTime<Utc>>,
}

impl Workspace {
    /// What the audit log says of it.
    fn audited(&self) -> Value {
        json!({
            "name": self.name, "slug": self.slug, "plan": self.plan, "status": self.status,
            "metadata": self.metadata.0,
        })
    }

    /// The version of the plan that holds.
    pub fn version(&self) -> VersionOf {
        VersionOf { plan: self.plan, version: self.plan_version }
    }

    /// The state beneath a deletion and a suspension: what it goes back to.
    fn status_beneath(&mut self) -> &mut Status {
        let mut status = &mut self.status;
        if *status == Status::Deleted {
            status = self.status_before_deletion.get_or_insert(Status::Active);
        }
        if *status == Status::Suspended {
            status = self.status_before_suspension.get_or_insert(Status::Active);
        }
        status
    }

    /// What proxies must know of it. A deleted workspace's applications are suspended, not unknown,
    /// so that they come back with it.
    pub fn to_wire(&self, limits: &Limits) -> snapshot::Workspace {
        snapshot::Workspace {
            id: self.id.clone(),
            status: match self.status {
                // It is reminded, and served until it is suspended.
                Status::Active | Status::PastDue => snapshot::WorkspaceStatus::Active,
                Status::Suspended if self.suspended_by == Some(SuspendedBy::Billing) => {
                    snapshot::WorkspaceStatus::PastDue
                }
                Status::Suspended | Status::Deleted => snapshot::WorkspaceStatus::Suspended,
            },
            rate_limit: limits.rate_limit,
            quota: limits.quota(),
        }
    }
}

/// A workspace to be made.
#[derive(Debug, Default)]
pub struct NewWorkspace {
    pub name: String,
    /// Made from the name when absent.
    pub slug: Option<String>,
    pub plan: Plan,
    pub metadata: Map<String, Value>,
    /// How long a plan that costs something is free of charge at first.
    pub trial_days: u32,
}

/// What a change leaves alone is `None`.
#[derive(Debug, Default)]
pub struct WorkspaceChange {
    pub name: Option<String>,
    /// Merged into what is there; `null` removes.
    pub metadata: Option<Map<String, Value>>,
}

/// Proves that the actor has the permission in the workspace.
///
/// No membership, no such workspace, and a deleted one are all `NotFound`; a membership without the
/// permission is `Forbidden`.
pub async fn access(
    tx: &mut Tx,
    actor: &Actor,
    id: &WorkspaceId,
    permission: Permission,
) -> Result<(Access, Workspace)> {
    let (access, workspace) = membership(tx, actor, id).await?;
    if workspace.status == Status::Deleted && permission != Permission::DeleteWorkspace {
        return Err(NOT_FOUND);
    }
    if !access.role().may(permission) {
        // A deleted workspace exists only for those who may restore it.
        let hidden = workspace.status == Status::Deleted;
        return Err(if hidden { NOT_FOUND } else { forbidden() });
    }
    Ok((access, workspace))
}

/// One that is not deleted, to be changed by the platform itself.
pub async fn held(tx: &mut Tx, id: &WorkspaceId) -> Result<Option<Workspace>> {
    let workspace = store::by_id(tx, id).await?;
    Ok(workspace.filter(|workspace| workspace.status != Status::Deleted))
}

/// The one answer to a role that does not suffice.
pub fn forbidden() -> Error {
    Error::Forbidden("Insufficient permissions for this operation")
}

async fn membership(tx: &mut Tx, actor: &Actor, id: &WorkspaceId) -> Result<(Access, Workspace)> {
    let workspace = store::by_id(tx, id).await?.ok_or(NOT_FOUND)?;
    let role = member::role_of(tx, id, &actor.user_id).await?.ok_or(NOT_FOUND)?;
    Ok((Access::proved(actor, workspace.id.clone(), role), workspace))
}

/// The workspace as its member sees it; a deleted one only for those who may restore it.
pub async fn get(tx: &mut Tx, actor: &Actor, id: &WorkspaceId) -> Result<Workspace> {
    let (access, workspace) = membership(tx, actor, id).await?;
    if workspace.status == Status::Deleted && !access.role().may(Permission::DeleteWorkspace) {
        return Err(NOT_FOUND);
    }
    Ok(workspace)
}

/// The actor's workspaces that are not deleted, newest last, with the actor's role in each.
pub async fn list(tx: &mut Tx, actor: &Actor, page: PageParams) -> Result<Page<(Workspace, Role)>> {
    store::of_user(tx, &actor.user_id, page).await
}

/// Makes a workspace with the actor as its owner.
pub async fn create(tx: &mut Tx, actor: &Actor, new: NewWorkspace) -> Result<Workspace> {
    let mut checks = Checks::default();
    checks.name("name", &new.name);
    if let Some(slug) = &new.slug {
        checks.check(is_slug(slug), "slug", SLUG_RULE);
    }
    merge::check_metadata(&mut checks, &new.metadata);
    checks.finish()?;
    if new.plan == Plan::Enterprise && !actor.platform_admin {
        return Err(Error::Forbidden("The enterprise plan is set by the platform's operator"));
    }
    let now = tx.now();
    let version = plan::current(tx, new.plan).await?;
    let wanted = slug_of(&new.name, "workspace");
    let mut workspace = Workspace {
        id: WorkspaceId::new(),
        name: new.name.trim().to_owned(),
        slug: new.slug.clone().unwrap_or_default(),
        plan: new.plan,
        plan_version: version.version,
        status: Status::Active,
        owner_id: actor.user_id.clone(),
        metadata: Json(new.metadata),
        limits: Json::default(),
        status_before_deletion: None,
        status_before_suspension: None,
        suspended_reason: None,
        suspended_by: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        purge_at: None,
    };
    if new.slug.is_some() {
        if !store::insert(tx, &workspace).await? {
            let message = format!("The slug `{}` is taken", workspace.slug);
            return Err(Error::Conflict(Code::AlreadyExists, message));
        }
    } else {
        // A parallel creation may take the slug that was free a moment ago: then the next one.
        loop {
            workspace.slug = store::free_slug(tx, &wanted).await?;
            if store::insert(tx, &workspace).await? {
                break;
            }
        }
    }
    member::insert_owner(tx, &workspace.id, actor).await?;
    let trial = version.trial(new.trial_days, now);
    subscription::begin(tx, &workspace, trial).await?;
    let entry = Entry::by(actor, "workspace.created").in_workspace(&workspace.id);
    tx.audit(entry.on("workspace", &workspace.id).after(workspace.audited()));
    publish(tx, &workspace).await?;
    Ok(workspace)
}

/// Renames, or merges metadata.
pub async fn update(
    tx: &mut Tx,
    access: &Access,
    mut workspace: Workspace,
    change: WorkspaceChange,
) -> Result<Workspace> {
    let before = workspace.audited();
    let mut checks = Checks::default();
    if let Some(name) = &change.name {
        checks.name("name", name);
        workspace.name = name.trim().to_owned();
    }
    if let Some(metadata) = change.metadata {
        merge::merge_flat(&mut workspace.metadata.0, metadata);
        merge::check_metadata(&mut checks, &workspace.metadata.0);
    }
    checks.finish()?;
    workspace.updated_at = tx.now();
    store::update(tx, &workspace).await?;
    let entry = access.audit("workspace.updated").on("workspace", &workspace.id);
    tx.audit(entry.change(before, workspace.audited()));
    Ok(workspace)
}

/// Soft-deletes: every application answers 503 from now on; restorable for 30 days.
pub async fn delete(tx: &mut Tx, access: &Access, mut workspace: Workspace) -> Result<()> {
    if workspace.status == Status::Deleted {
        return Err(NOT_FOUND);
    }
    let before = workspace.audited();
    let now = tx.now();
    workspace.status_before_deletion = Some(workspace.status);
    workspace.status = Status::Deleted;
    workspace.deleted_at = Some(now);
    workspace.purge_at = Some(now + RESTORABLE);
    workspace.updated_at = now;
    store::update(tx, &workspace).await?;
    subscription::end(tx, &workspace.id).await?;
    let entry = access.audit("workspace.deleted").on("workspace", &workspace.id);
    tx.audit(entry.change(before, workspace.audited()));
    publish(tx, &workspace).await
}

/// Undoes a deletion: back to the state before it, so that nobody ends a suspension by deleting.
pub async fn restore(tx: &mut Tx, access: &Access, mut workspace: Workspace) -> Result<Workspace> {
    let before = workspace.audited();
    if workspace.status != Status::Deleted {
        return Err(Error::Conflict(Code::InvalidState, "The workspace is not deleted".into()));
    }
    workspace.status = workspace.status_before_deletion.take().unwrap_or(Status::Active);
    workspace.deleted_at = None;
    workspace.purge_at = None;
    workspace.updated_at = tx.now();
    store::update(tx, &workspace).await?;
    subscription::resume(tx, &workspace).await?;
    let entry = access.audit("workspace.restored").on("workspace", &workspace.id);
    tx.audit(entry.change(before, workspace.audited()));
    publish(tx, &workspace).await?;
    Ok(workspace)
}

/// Removes for good what can no longer be restored, once its last month is closed. Usage stays: invoices rest on it. Answers what
/// proxies must forget, for the caller to append.
pub async fn purge(tx: &mut Tx) -> Result<Vec<Change>> {
    let due = store::due_for_purge(tx).await?;
    for id in &due {
        store::delete(tx, id).await?;
        let entry = Entry::by_system("housekeeping", "workspace.purged").in_workspace(id);
        tx.audit(entry.on("workspace", id));
    }
    Ok(due.into_iter().map(Change::RemoveWorkspace).collect())
}

/// Every workspace that proxies must know.
pub async fn for_snapshot(tx: &mut Tx) -> Result<Vec<snapshot::Workspace>> {
    let limits = plan::all_limits(tx).await?;
    let workspaces = store::all(tx).await?;
    workspaces
        .iter()
        .map(|workspace| {
            let limits = limits.get(&workspace.version()).cloned().ok_or_else(|| {
                let version = workspace.version();
                Error::internal(anyhow::anyhow!("{version:?} of {} has no row", workspace.id))
            })?;
            Ok(workspace.to_wire(&limits.with(&workspace.limits.0)))
        })
        .collect()
}

async fn publish(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    let limits = limits::of(tx, workspace).await?;
    revisions::append(tx, vec![Change::Workspace(workspace.to_wire(&limits))]).await?;
    Ok(())
}

pub const SLUG_RULE: &str =
    "`slug` must have 1 to 63 lower-case letters, digits and single hyphens between them";

/// A name for use in URLs.
pub fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// The slug that a name suggests.
pub fn slug_of(name: &str, fallback: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 50 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { fallback.to_owned() } else { slug.to_owned() }
}

/// `wanted`, or `wanted` with the first number behind it that makes it free.
pub fn first_free(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut slug = wanted.to_owned();
    let mut number = 1_u64;
    while is_taken(&slug) {
        number += 1;
        slug = format!("{wanted}-{number}");
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for good in ["a", "acme-corp", "7", &"a".repeat(63)] {
            assert!(is_slug(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "A", "a_b", "a b", "é", &"a".repeat(64)] {
            assert!(!is_slug(bad), "{bad}");
        }
    }

    #[test]
    fn names_suggest_slugs() {
        for (name, slug) in [
            ("Acme Corporation", "acme-corporation"),
            ("  Ünïcode & Sons!  ", "n-code-sons"),
            ("!!!", "workspace"),
        ] {
            assert_eq!(slug_of(name, "workspace"), slug);
            assert!(is_slug(&slug_of(name, "workspace")));
        }
        assert!(is_slug(&slug_of(&"ab ".repeat(100), "x")));
    }
}
