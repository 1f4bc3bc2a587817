//! The audit log: who changed what, from where, with the state before and after. Entries are
//! handed to the transaction that makes the change (`Tx::audit`) and written at its commit, so that
//! neither exists without the other, each chained to the one before by its hash (`chain`). Below
//! all domains, like the revision log.
//!
//! No entry is ever changed or removed by the platform. `chain::verify` finds those that somebody
//! else changed.

pub mod chain;
pub mod log;

use anyhow::ensure;
use authsome_shared::clock::Clock;
use authsome_shared::id::{UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::actor::{Actor, Origin};
use crate::config::{Config, given};
use crate::db::{Db, Location};
use crate::sealed::Sealer;

/// What kind of somebody acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ActorKind {
    /// A person; the actor's id is the user's.
    User,
    /// A part of the platform, such as `provisioner`; the actor's id names it.
    System,
    /// The operator at the command line or by configuration.
    Operator,
}

/// One change, not written yet.
#[derive(Debug, Clone)]
pub struct Entry {
    workspace_id: Option<WorkspaceId>,
    actor_kind: ActorKind,
    actor_id: String,
    actor_email: Option<String>,
    origin: Origin,
    action: &'static str,
    resource_type: &'static str,
    resource_id: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Entry {
    /// By a signed-in person. `action` is `noun.verb_in_past`, such as `key.created`.
    pub fn by(actor: &Actor, action: &'static str) -> Self {
        Self::by_user(&actor.user_id, &actor.email, &actor.origin, action)
    }

    /// By a person who is just signing in.
    pub fn by_user(id: &UserId, email: &str, origin: &Origin, action: &'static str) -> Self {
        let mut entry = Self::new(ActorKind::User, id.as_str(), action);
        entry.actor_email = Some(email.to_owned());
        entry.origin = origin.clone();
        entry
    }

    /// By a part of the platform, such as `provisioner`.
    pub fn by_system(part: &str, action: &'static str) -> Self {
        Self::new(ActorKind::System, part, action)
    }

    /// By the operator, at the command line (`cli`) or by configuration (`config`).
    pub fn by_operator(means: &str, action: &'static str) -> Self {
        Self::new(ActorKind::Operator, means, action)
    }

    fn new(actor_kind: ActorKind, actor_id: &str, action: &'static str) -> Self {
        Self {
            workspace_id: None,
            actor_kind,
            actor_id: actor_id.to_owned(),
            actor_email: None,
            origin: Origin::default(),
            action,
            resource_type: "platform",
            resource_id: String::new(),
            before: None,
            after: None,
        }
    }

    /// Files the entry in the workspace's log instead of the platform's.
    pub fn in_workspace(mut self, id: &WorkspaceId) -> Self {
        self.workspace_id = Some(id.clone());
        self
    }

    /// What was changed.
    pub fn on(mut self, resource_type: &'static str, id: impl AsRef<str>) -> Self {
        self.resource_type = resource_type;
        id.as_ref().clone_into(&mut self.resource_id);
        self
    }

    /// The state that ended. Never holds a secret.
    pub fn before(mut self, state: Value) -> Self {
        self.before = Some(state);
        self
    }

    /// The state that began. Never holds a secret.
    pub fn after(mut self, state: Value) -> Self {
        self.after = Some(state);
        self
    }

    /// Both states of a change; fields that are the same in both are left out.
    pub fn change(mut self, mut before: Value, mut after: Value) -> Self {
        if let (Some(old), Some(new)) = (before.as_object_mut(), after.as_object_mut()) {
            let same: Vec<String> = old
                .iter()
                .filter(|(name, value)| new.get(*name) == Some(value))
                .map(|(name, _)| name.clone())
                .collect();
            for name in same {
                old.remove(&name);
                new.remove(&name);
            }
        }
        self.before = Some(before);
        self.after = Some(after);
        self
    }

    /// The log that it belongs to: the workspace's id, or `platform`.
    fn chain(&self) -> &str {
        self.workspace_id.as_ref().map_or(PLATFORM, |id| id.as_str())
    }
}

/// Checks the platform's whole log, at the command line.
pub async fn verify(config: &Config, clock: Clock) -> anyhow::Result<chain::Report> {
    let location = config.database();
    if let Location::Sqlite(path) = &location {
        ensure!(path.is_file(), "there is no database {}", path.display());
    }
    let sealer = Sealer::load(given(&config.platform.master_key), &config.server.data_dir)?;
    let db = Db::open(&location, 2, clock).await?;
    let mut tx = db.read().await?;
    let report = chain::verify(&mut tx, &sealer).await?;
    drop(tx);
    db.close().await;
    Ok(report)
}

/// The log of what belongs to no workspace.
pub const PLATFORM: &str = "platform";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_says_only_what_changed() {
        let entry = Entry::by_system("test", "thing.changed")
            .change(json!({"a": 1, "b": 2, "c": null}), json!({"a": 1, "b": 3, "d": 4}));
        assert_eq!(entry.before, Some(json!({"b": 2, "c": null})));
        assert_eq!(entry.after, Some(json!({"b": 3, "d": 4})));
    }
}
