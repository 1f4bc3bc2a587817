//! What a configuration should be, kept in a list and searched from end to end. Held against a
//! snapshot after the same changes.

use authsome_shared::snapshot::{self as wire, Change};

use crate::admit::{ip, rate_limit, route, scope};
use crate::limit::quota::Quotas;
use crate::limit::rate::Bucket;
use crate::snapshot::Snapshot;
use crate::snapshot::entity;

/// 2026-11-22, in nanoseconds.
const NOW: u64 = 1_795_348_800_000_000_000;

#[derive(Default)]
pub struct Model {
    keys: Vec<wire::Key>,
    applications: Vec<wire::Application>,
    workspaces: Vec<wire::Workspace>,
    pub quarantined: u64,
}

impl Model {
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Settings(settings) => {
                let upstream = settings.default_upstream.as_ref();
                let refused = upstream.is_some_and(|it| entity::DefaultUpstream::new(it).is_err());
                self.quarantined += u64::from(refused);
            }
            Change::Workspace(workspace) => {
                self.workspaces.retain(|other| other.id != workspace.id);
                self.workspaces.push(workspace.clone());
            }
            Change::Application(application) => {
                let quotas = Quotas::default();
                if entity::Application::new((**application).clone(), &quotas, None).is_err() {
                    self.quarantined += 1;
                    return;
                }
                // Nothing here opens what is sealed.
                let sealed =
                    application.upstream.as_ref().and_then(|it| it.tls.client_key.as_ref());
                self.quarantined += u64::from(sealed.is_some());
                self.applications.retain(|other| other.id != application.id);
                self.applications.push((**application).clone());
            }
            Change::Key(key) => {
                let same = |other: &&wire::Key| other.digest.0[..8] == key.digest.0[..8];
                if self.keys.iter().find(same).is_some_and(|other| other.id != key.id) {
                    self.quarantined += 1;
                    return;
                }
                self.keys.retain(|other| other.id != key.id);
                self.keys.push((**key).clone());
            }
            Change::RemoveWorkspace(id) => self.workspaces.retain(|other| other.id != *id),
            Change::RemoveApplication(id) => self.applications.retain(|other| other.id != *id),
            Change::RemoveKey(id) => self.keys.retain(|other| other.id != *id),
            Change::Used(_) => {}
        }
    }

    /// The snapshot holds what this does, and can be asked for all of it.
    pub fn check(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.keys(), self.keys.len());
        assert_eq!(snapshot.applications(), self.applications.len());
        for wanted in &self.workspaces {
            let workspace = snapshot.workspace(wanted.id.as_str()).expect("it is there");
            assert_eq!(workspace.status, wanted.status);
        }
        for wanted in &self.applications {
            let application = snapshot.application(wanted.id.as_str()).expect("it is there");
            assert_eq!(application.status, wanted.status);
            assert_eq!(application.routes.len(), wanted.routes.len());
            let _ = route::find(&application.routes, "HEAD", "/users/1");
        }
        for wanted in &self.keys {
            let key = snapshot.key(&wanted.digest).expect("it is there");
            assert_eq!((&key.id, key.digest), (&wanted.id, wanted.digest));
            let kept = key.scopes.list.iter().map(|it| &**it);
            assert!(kept.eq(wanted.scopes.iter().map(String::as_str)));
            assert_eq!(key.allowed_ips(), wanted.allowed_ips);
            assert!(key.expires_at() < i64::MAX || wanted.expires_at.is_none());
            let _ = ip::check(key.allowed_ips(), [192, 0, 2, 1].into());
            let routes = &snapshot.default_routes;
            let found = route::find(routes, "GET", "/users/1");
            let _ = scope::check(found, key.kind, &key.scopes.list);
            let application = snapshot.application(&key.application);
            if let Some(application) = application
                && let Some(workspace) = snapshot.workspace(&application.workspace)
            {
                let (_, limit) = rate_limit(key, application, workspace);
                let bucket = Bucket::default();
                for now in [NOW, NOW, NOW + 1_000_000] {
                    let state = bucket.check(limit, 1, now).unwrap_or_else(|state| state);
                    assert!(state.remaining <= u64::from(limit.requests));
                    let _ = (state.retry_after(), state.reset(), state.reset_in(now));
                }
            }
        }
    }
}
