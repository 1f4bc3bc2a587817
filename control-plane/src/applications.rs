//! Applications: one customer API behind the proxy each, with its configuration and its life
//! (`state`). Becoming active is a job (`provision`), and so is a restart. Its owner reads of it in
//! its log (`log`, `history`). Keys are not issued here.

pub mod client_key;
pub mod config;
pub mod history;
pub mod log;
pub mod provision;
pub mod state;
mod store;

use authsome_shared::api_key::KeyMode;
use authsome_shared::code::Code;
use authsome_shared::id::{ApplicationId, WorkspaceId};
use authsome_shared::snapshot::{self, Change};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::actor::{Access, Actor, Permission};
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::events::{self, EventType, Subject};
use crate::jobs::{self, Job};
use crate::page::{Page, PageParams};
use crate::workspaces::{self, Workspace, limits};
use crate::{merge, platform, revisions};
pub use client_key::Seals;
pub use config::ApplicationConfig;
pub use state::Status;
pub use store::count;

/// How long a deleted application can be restored.
const RESTORABLE: TimeDelta = TimeDelta::days(7);

/// Where an application runs unless said otherwise.
pub const DEFAULT_REGION: &str = "us-east-1";

const NOT_FOUND: Error = Error::NotFound("application");

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Environment {
    #[default]
    Production,
    Staging,
    Development,
}

impl Environment {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
        }
    }

    /// The mode of its keys.
    pub fn key_mode(self) -> KeyMode {
        match self {
            Self::Production => KeyMode::Live,
            Self::Staging | Self::Development => KeyMode::Test,
        }
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Application {
    pub id: ApplicationId,
    pub workspace_id: WorkspaceId,
    pub name: String,
    pub slug: String,
    pub environment: Environment,
    pub region: String,
    pub status: Status,
    /// Why it failed.
    pub status_reason: Option<String>,
    /// Restarts so far.
    pub generation: i64,
    /// As the user gave it, but for what is sealed (`client_key`); `ApplicationConfig` adds the defaults.
    pub config: Json<Map<String, Value>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
    pub purge_at: Option<DateTime<Utc>>,
}

impl Application {
    /// What the audit log says of it.
    fn audited(&self) -> Value {
        json!({
            "name": self.name, "slug": self.slug, "environment": self.environment,
            "region": self.region, "status": self.status, "statusReason": self.status_reason,
            "config": client_key::shown(self.config.0.clone()),
        })
    }

    /// Tells its webhooks of a change.
    async fn tell(&self, tx: &mut Tx, kind: EventType) -> Result<()> {
        let mut data = json!({
            "applicationId": self.id, "workspaceId": self.workspace_id, "name": self.name,
            "environment": self.environment, "status": self.status,
        });
        if self.deleted_at.is_some() {
            data["deletedAt"] = json!(self.deleted_at);
            data["purgeAt"] = json!(self.purge_at);
        }
        events::emit(tx, kind, Subject::Application(&self.workspace_id, &self.id), data).await?;
        Ok(())
    }

    pub fn config(&self) -> Result<ApplicationConfig> {
        ApplicationConfig::parse(&self.config.0)
    }

    /// What proxies must know of it; `None` when they must not know it.
    pub fn to_wire(&self) -> Result<Option<snapshot::Application>> {
        let Some(status) = self.status.to_wire() else { return Ok(None) };
        let config = self.config()?;
        Ok(Some(config.to_wire(self, status)))
    }

    fn change(&self) -> Result<Change> {
        Ok(match self.to_wire()? {
            Some(wire) => Change::Application(Box::new(wire)),
            None => Change::RemoveApplication(self.id.clone()),
        })
    }
}

/// An application to be made.
#[derive(Debug, Default)]
pub struct NewApplication {
    pub name: String,
    /// Made from the name when absent.
    pub slug: Option<String>,
    pub environment: Environment,
    pub region: Option<String>,
    pub config: Map<String, Value>,
}

/// What a change leaves alone is `None`.
#[derive(Debug, Default)]
pub struct ApplicationChange {
    pub name: Option<String>,
    /// Merged at every depth; `null` removes.
    pub config: Option<Map<String, Value>>,
}

/// Narrows a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub environment: Option<Environment>,
    pub status: Option<Status>,
}

/// The application, and proof that the actor has the permission in its workspace. Absent, foreign
/// and deleted ones are alike `NotFound`.
pub async fn open(
    tx: &mut Tx,
    actor: &Actor,
    id: &ApplicationId,
    permission: Permission,
) -> Result<(Access, Application)> {
    let (access, application) = open_any(tx, actor, id, permission).await?;
    if application.status == Status::Deleted {
        return Err(NOT_FOUND);
    }
    Ok((access, application))
}

/// As [`open`], but a deleted application is shown to whoever may restore it.
pub async fn open_any(
    tx: &mut Tx,
    actor: &Actor,
    id: &ApplicationId,
    permission: Permission,
) -> Result<(Access, Application)> {
    let application = store::by_id(tx, id).await?.ok_or(NOT_FOUND)?;
    let deleted = application.status == Status::Deleted;
    let (access, _) = workspaces::access(tx, actor, &application.workspace_id, permission)
        .await
        .map_err(|error| match error {
            Error::Forbidden(_) if deleted => NOT_FOUND,
            Error::NotFound(_) => NOT_FOUND,
            error => error,
        })?;
    let hidden = deleted && !access.role().may(Permission::ManageApplications);
    if hidden { Err(NOT_FOUND) } else { Ok((access, application)) }
}

/// The state of an application, for the operator; `None` when there is no such application.
pub async fn status_of(tx: &mut Tx, id: &ApplicationId) -> Result<Option<Status>> {
    Ok(store::by_id(tx, id).await?.map(|application| application.status))
}

pub async fn list(
    tx: &mut Tx,
    access: &Access,
    filter: Filter,
    page: PageParams,
) -> Result<Page<Application>> {
    store::list(tx, access.workspace_id(), filter, page).await
}

/// Makes an application and the job that provisions it.
pub async fn create(
    tx: &mut Tx,
    access: &Access,
    workspace: &Workspace,
    mut new: NewApplication,
    seals: Seals<'_>,
) -> Result<Application> {
    let region = new.region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let mut checks = Checks::default();
    checks.name("name", &new.name);
    if let Some(slug) = &new.slug {
        checks.check(workspaces::is_slug(slug), "slug", workspaces::SLUG_RULE);
    }
    checks.check(config::is_region(&region), "region", config::REGION_RULE);
    checks.finish()?;
    let id = ApplicationId::new();
    client_key::take_in(&mut new.config, &id, seals)?;
    let egress = platform::settings(tx).await?.egress_allow;
    ApplicationConfig::parse(&new.config)?.validate(&egress)?;

    check_plan(tx, workspace).await?;
    let slug = match new.slug {
        Some(slug) => slug,
        None => {
            let wanted = workspaces::slug_of(&new.name, "application");
            store::free_slug(tx, access.workspace_id(), &wanted).await?
        }
    };
    let now = tx.now();
    let application = Application {
        id,
        workspace_id: access.workspace_id().clone(),
        name: new.name.trim().to_owned(),
        slug,
        environment: new.environment,
        region,
        status: Status::Provisioning,
        status_reason: None,
        generation: 0,
        config: Json(new.config),
        created_at: now,
        updated_at: now,
        deleted_at: None,
        purge_at: None,
    };
    store::insert(tx, &application).await?;
    jobs::enqueue(tx, &Job::Provision { application_id: application.id.clone() }).await?;
    let entry = access.audit("application.created").on("application", &application.id);
    tx.audit(entry.after(application.audited()));
    revisions::append(tx, vec![application.change()?]).await?;
    Ok(application)
}

/// Renames, or changes the configuration; one that failed is provisioned anew.
pub async fn update(
    tx: &mut Tx,
    access: &Access,
    mut application: Application,
    change: ApplicationChange,
    seals: Seals<'_>,
) -> Result<Application> {
    let before = application.audited();
    let entry = access.audit("application.updated").on("application", &application.id);
    let mut checks = Checks::default();
    if let Some(name) = &change.name {
        checks.name("name", name);
        application.name = name.trim().to_owned();
    }
    checks.finish()?;
    application.updated_at = tx.now();
    let changed = history::changed_fields(change.name.as_deref(), change.config.as_ref());
    history::changed(tx, &application.id, changed).await?;
    let Some(mut config) = change.config else {
        store::update(tx, &application).await?;
        tx.audit(entry.change(before, application.audited()));
        application.tell(tx, EventType::ApplicationUpdated).await?;
        return Ok(application);
    };
    client_key::take_in(&mut config, &application.id, seals)?;
    merge::merge_deep(&mut application.config.0, config);
    let egress = platform::settings(tx).await?.egress_allow;
    application.config()?.validate(&egress)?;
    if application.status == Status::Failed {
        start_provisioning(tx, &mut application).await?;
    }
    store::update(tx, &application).await?;
    tx.audit(entry.change(before, application.audited()));
    application.tell(tx, EventType::ApplicationUpdated).await?;
    revisions::append(tx, vec![application.change()?]).await?;
    Ok(application)
}

/// Begins a restart: a job asks the upstream for its health again, and the proxies forget what they
/// know of it. The application is served throughout.
pub async fn restart(
    tx: &mut Tx,
    access: &Access,
    mut application: Application,
) -> Result<Application> {
    let before = application.audited();
    application.status = application.status.to(Status::Restarting)?;
    application.status_reason = None;
    application.generation += 1;
    application.updated_at = tx.now();
    jobs::enqueue(tx, &Job::Restart { application_id: application.id.clone() }).await?;
    store::update(tx, &application).await?;
    let entry = access.audit("application.restart_requested").on("application", &application.id);
    tx.audit(entry.change(before, application.audited()));
    revisions::append(tx, vec![application.change()?]).await?;
    Ok(application)
}

/// Soft-deletes: unknown to the proxies from now on; restorable for seven days.
pub async fn delete(tx: &mut Tx, access: &Access, mut application: Application) -> Result<()> {
    let before = application.audited();
    let now = tx.now();
    application.status = application.status.to(Status::Deleted)?;
    application.deleted_at = Some(now);
    application.purge_at = Some(now + RESTORABLE);
    application.updated_at = now;
    store::update(tx, &application).await?;
    let entry = access.audit("application.deleted").on("application", &application.id);
    tx.audit(entry.change(before, application.audited()));
    application.tell(tx, EventType::ApplicationDeleted).await?;
    revisions::append(tx, vec![application.change()?]).await?;
    Ok(())
}

/// Undoes a deletion: the application is provisioned anew. Its keys must be published again, since
/// a proxy may have forgotten them: `keys::publish_all`.
pub async fn restore(
    tx: &mut Tx,
    access: &Access,
    workspace: &Workspace,
    mut application: Application,
) -> Result<Application> {
    if application.status != Status::Deleted {
        let message = "The application is not deleted";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    check_plan(tx, workspace).await?;
    let before = application.audited();
    application.deleted_at = None;
    application.purge_at = None;
    application.updated_at = tx.now();
    start_provisioning(tx, &mut application).await?;
    store::update(tx, &application).await?;
    let entry = access.audit("application.restored").on("application", &application.id);
    tx.audit(entry.change(before, application.audited()));
    application.tell(tx, EventType::ApplicationRestored).await?;
    revisions::append(tx, vec![application.change()?]).await?;
    Ok(application)
}

/// Is there room for one more application in the workspace's plan?
async fn check_plan(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    let limits = limits::of(tx, workspace).await?;
    let Some(limit) = limits.applications else { return Ok(()) };
    // The workspace's row is held since access to it was proved, so two creations can't both take
    // the last place.
    if store::count(tx, &workspace.id).await? < limit {
        return Ok(());
    }
    let plan = workspace.plan.as_str().to_owned();
    Err(Error::PlanLimit { what: "applications", limit, plan })
}

async fn start_provisioning(tx: &mut Tx, application: &mut Application) -> Result<()> {
    application.status = application.status.to(Status::Provisioning)?;
    application.status_reason = None;
    jobs::enqueue(tx, &Job::Provision { application_id: application.id.clone() }).await?;
    Ok(())
}

/// Tells of every application of a workspace that its workspace was suspended.
pub async fn tell_suspended(tx: &mut Tx, workspace: &WorkspaceId, reason: &str) -> Result<()> {
    for application in store::of_workspace(tx, workspace).await? {
        let data = json!({
            "applicationId": application.id, "workspaceId": workspace, "name": application.name,
            "environment": application.environment, "reason": reason,
        });
        let subject = Subject::Application(workspace, &application.id);
        events::emit(tx, EventType::ApplicationSuspended, subject, data).await?;
    }
    Ok(())
}

/// Removes for good what can no longer be restored, alone or with its workspace, keys included; to
/// be called before the workspaces' own purge. Usage stays. Answers what proxies must forget, for
/// the caller to append once everything is removed.
pub async fn purge(tx: &mut Tx) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for (id, workspace_id) in store::due_for_purge(tx).await? {
        let entry = Entry::by_system("housekeeping", "application.purged");
        tx.audit(entry.in_workspace(&workspace_id).on("application", &id));
        changes.extend(store::key_ids(tx, &id).await?.into_iter().map(Change::RemoveKey));
        store::delete(tx, &id).await?;
        log::forget(tx, &id).await?;
        changes.push(Change::RemoveApplication(id));
    }
    Ok(changes)
}

/// Every application that proxies must know. One whose stored configuration no longer reads is left
/// out and reported, so that it takes no other down.
pub async fn for_snapshot(tx: &mut Tx) -> Result<Vec<snapshot::Application>> {
    let mut wires = Vec::new();
    for application in store::all_known(tx).await? {
        match application.to_wire() {
            Ok(wire) => wires.extend(wire),
            Err(error) => {
                tracing::error!(application = %application.id, %error, "unreadable configuration");
            }
        }
    }
    Ok(wires)
}
