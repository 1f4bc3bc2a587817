//! The configuration that requests are decided by: an immutable value, swapped whole, loaded once
//! per request. It is built from wire changes; what can't be served (an unparsable URL, a digest
//! that two keys claim) is set aside and counted, and the entity's last good form stays.
//!
//! Collections are copy-on-write in shards, so that one changed key out of a million copies a
//! thousandth of the table. Buckets and quota counters are shared with earlier snapshots: a new
//! configuration forgets nothing that was used. Where changes come from is for `sync`, what is
//! kept on disk for `snapshot::store`.

pub mod entity;
mod found;
pub mod shards;
pub mod store;

use std::sync::Arc;

use authsome_shared::api_key::KeyDigest;
use authsome_shared::envelope::Envelope;
use authsome_shared::id::{ApplicationId, KeyId, PlatformId, WorkspaceId};
use authsome_shared::snapshot::encoding::{Corrupt, Reader};
use authsome_shared::snapshot::{self as wire, Change, Settings};

use crate::admit::route;
use crate::limit::quota::Quotas;
use crate::limit::rate::Bucket;
use entity::{Application, DefaultUpstream, Key, Scopes, Upstream, Workspace};
use found::{Digested, Named};
use shards::{ById, Hashed, Shards};

/// So many that a million keys fill their tables well: 800 in each, where 896 fit.
const KEY_SHARDS: usize = 1_250;

/// One configuration version.
#[derive(Clone)]
pub struct Snapshot {
    /// `None` until a snapshot has come.
    pub platform: Option<PlatformId>,
    pub revision: u64,
    /// Changes that could not be read or served since the last whole snapshot.
    pub quarantined: u64,
    pub settings: Arc<Settings>,
    pub default_upstream: Option<Arc<DefaultUpstream>>,
    /// Opens what is sealed for proxies; without it nothing of that opens.
    pub envelope: Option<Arc<Envelope>>,
    /// For applications that declare no routes.
    pub default_routes: Arc<[route::Route]>,
    workspaces: Shards<Arc<str>, Arc<Workspace>, ById>,
    applications: Shards<Arc<str>, Arc<Application>, ById>,
    keys: Shards<Digested, (), Hashed>,
    /// For changes and removal.
    by_id: Shards<Named, ()>,
    /// Scopes that keys share, by their text.
    scopes: Shards<Box<str>, Arc<Scopes>>,
    /// Buckets of lines of rotation, by the id of their first key.
    rotated: Shards<KeyId, Arc<Bucket>>,
}

impl Snapshot {
    /// Knows nothing and so refuses everything.
    pub fn empty() -> Self {
        Self {
            platform: None,
            revision: 0,
            quarantined: 0,
            settings: Arc::default(),
            default_upstream: None,
            envelope: None,
            default_routes: route::defaults(),
            workspaces: Shards::new(64),
            applications: Shards::new(256),
            keys: Shards::new(KEY_SHARDS),
            by_id: Shards::new(KEY_SHARDS),
            scopes: Shards::new(64),
            rotated: Shards::new(256),
        }
    }

    /// The same, with what opens sealed values.
    pub fn empty_with(envelope: Option<Arc<Envelope>>) -> Self {
        Self { envelope, ..Self::empty() }
    }

    pub fn application(&self, id: &str) -> Option<&Arc<Application>> {
        self.applications.get(id)
    }

    pub fn all_applications(&self) -> impl Iterator<Item = &Arc<Application>> {
        self.applications.values()
    }

    pub fn workspace(&self, id: &str) -> Option<&Arc<Workspace>> {
        self.workspaces.get(id)
    }

    pub fn key(&self, digest: &KeyDigest) -> Option<&Arc<Key>> {
        self.keys.get_name(digest).map(|Digested(key)| key)
    }

    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    pub fn applications(&self) -> usize {
        self.applications.len()
    }

    /// The keys whose buckets are not full at `now` (nanoseconds since the epoch). Looks at every
    /// key.
    pub fn keys_in_use(&self, now: u64) -> Vec<Arc<Key>> {
        let keys = self.keys.names().map(|Digested(key)| key);
        keys.filter(|key| key.bucket.tat() > now).cloned().collect()
    }

    /// Takes up where the buckets of another process stood.
    pub fn take_over_buckets(&self, buckets: &[(KeyId, u64)]) {
        for (key, tat) in buckets {
            if let Some(key) = self.key_by_id(key.as_str()) {
                key.bucket.take_over(*tat);
            }
        }
    }

    /// A whole new configuration, encoded. Keys that this one knows keep their buckets. Fails when
    /// the bytes are not whole.
    pub fn replaced_by(&self, bytes: &[u8], quotas: &Quotas) -> Result<Self, Corrupt> {
        let mut reader = Reader::open(bytes)?;
        let mut next = Self { envelope: self.envelope.clone(), ..Self::empty() };
        next.platform = Some(reader.header.platform.clone());
        next.revision = reader.header.revision;
        // A change takes some bytes: what the header announces alone is no reason to make room.
        let keys = reader.header.changes.min(bytes.len() / 8);
        next.keys.reserve(keys);
        next.by_id.reserve(keys);
        while let Some(change) = reader.change()? {
            match change {
                Ok(change) => next.apply(change, self, quotas),
                Err(reason) => {
                    next.quarantined += 1;
                    tracing::warn!(
                        reason,
                        "a change in the snapshot can't be read and is set aside"
                    );
                }
            }
        }
        Ok(next)
    }

    /// This configuration with one revision's changes on top.
    pub fn advanced_by(
        &self,
        revision: u64,
        changes: Vec<serde_json::Value>,
        quotas: &Quotas,
    ) -> Self {
        let mut next = self.clone();
        next.revision = revision;
        for change in changes {
            match serde_json::from_value(change) {
                Ok(change) => next.apply(change, self, quotas),
                Err(error) => {
                    next.quarantined += 1;
                    tracing::warn!(revision, %error, "a change can't be read and is set aside");
                }
            }
        }
        next
    }

    fn apply(&mut self, change: Change, before: &Self, quotas: &Quotas) {
        match change {
            Change::Settings(settings) => self.set_settings(settings),
            Change::Workspace(workspace) => {
                let workspace = Workspace::new(&workspace, quotas);
                self.workspaces.insert(workspace.id.clone(), Arc::new(workspace));
            }
            Change::Application(application) => self.set_application(*application, quotas),
            Change::Key(key) => self.set_key(*key, before, quotas),
            Change::RemoveWorkspace(id) => self.remove_workspace(&id),
            Change::RemoveApplication(id) => self.remove_application(&id),
            Change::RemoveKey(id) => self.remove_key(&id),
            Change::Used(total) => quotas.begin(total),
        }
    }

    fn set_settings(&mut self, settings: Settings) {
        match settings.default_upstream.as_ref().map(DefaultUpstream::new).transpose() {
            Ok(upstream) => self.default_upstream = upstream.map(Arc::new),
            Err(reason) => self.quarantine("settings", &reason),
        }
        self.settings = Arc::new(settings);
    }

    fn set_application(&mut self, application: wire::Application, quotas: &Quotas) {
        let id = application.id.clone();
        match Application::new(application, quotas, self.envelope.as_deref()) {
            Ok(application) => {
                if let Some(reason) = application.upstream.as_ref().and_then(Upstream::unusable) {
                    self.quarantine(id.as_str(), reason);
                }
                self.applications.insert(application.id.clone(), Arc::new(application));
            }
            Err(reason) => self.quarantine(id.as_str(), &reason),
        }
    }

    fn set_key(&mut self, key: wire::Key, before: &Self, quotas: &Quotas) {
        if self.key(&key.digest).is_some_and(|other| other.id != key.id) {
            return self.quarantine(key.id.as_str(), "its digest belongs to another key");
        }
        let bucket = self.bucket(&key.id, &key.bucket, before);
        // A key whose digest changed must not be found under the old one.
        self.remove_key(&key.id);
        let application = match self.application(key.application.as_str()) {
            Some(application) => application.id.clone(),
            None => key.application.as_str().into(),
        };
        let scopes = self.shared_scopes(&key.scopes);
        let key = Arc::new(Key::new(key, application, scopes, bucket, quotas));
        self.keys.insert(Digested(key.clone()), ());
        self.by_id.insert(Named(key), ());
    }

    fn key_by_id(&self, id: &str) -> Option<&Arc<Key>> {
        self.by_id.get_name(id).map(|Named(key)| key)
    }

    fn shared_scopes(&mut self, scopes: &[String]) -> Arc<Scopes> {
        let text = scopes.join(" ");
        if let Some(shared) = self.scopes.get(&*text) {
            return shared.clone();
        }
        let scopes = Arc::new(Scopes::new(scopes, &text));
        self.scopes.insert(text.into(), scopes.clone());
        scopes
    }

    /// The bucket of a line of rotations: the one it had, wherever it is still known.
    fn bucket(&mut self, key: &KeyId, first: &KeyId, before: &Self) -> Arc<Bucket> {
        // A first key that joined another line since has another bucket.
        let known = |snapshot: &Self| {
            let key = snapshot.key_by_id(first.as_str())?;
            key.first().is_none().then(|| key.bucket.clone())
        };
        let bucket = self
            .rotated
            .get(first)
            .cloned()
            .or_else(|| known(self))
            .or_else(|| before.rotated.get(first).cloned())
            .or_else(|| known(before))
            .unwrap_or_default();
        if key != first && self.rotated.get(first).is_none() {
            self.rotated.insert(first.clone(), bucket.clone());
        }
        bucket
    }

    fn remove_workspace(&mut self, id: &WorkspaceId) {
        self.workspaces.remove(id.as_str());
    }

    fn remove_application(&mut self, id: &ApplicationId) {
        self.applications.remove(id.as_str());
    }

    fn remove_key(&mut self, id: &KeyId) {
        let Some(key) = self.key_by_id(id.as_str()).cloned() else { return };
        self.keys.remove(&key.digest);
        self.by_id.remove(id.as_str());
    }

    fn quarantine(&mut self, entity: &str, reason: &str) {
        self.quarantined += 1;
        tracing::warn!(entity, reason, "can't be served and is set aside");
    }
}

#[cfg(test)]
mod tests;
