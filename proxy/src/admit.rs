//! The whole decision about a request, as a pure function of the configuration, the request's head
//! and the time (design section 4). It reads from top to bottom as the specification: the first
//! step that fails answers. What has state (rate limit, quota, ledger) follows in the gateway.

pub mod ip;
pub mod key;
pub mod request;
pub mod route;
pub mod scope;

use std::net::IpAddr;
use std::sync::Arc;

use authsome_shared::snapshot::{ApplicationStatus, WorkspaceStatus};
use http::HeaderMap;

use crate::denied::{Cause, Denied};
use crate::limit::Level;
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{Application, Key, Workspace};
use authsome_shared::snapshot::RateLimit;

/// A request's head, independent of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The target's bytes as they came.
    pub target: &'a [u8],
    /// HTTP/2 pseudo-header.
    pub authority: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// Both `Content-Length` and `Transfer-Encoding` came; the engine hides it in the map.
    pub two_framings: bool,
    /// Size of the whole head, in bytes.
    pub bytes: usize,
    pub peer: IpAddr,
}

/// A request that may go on, and by what.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub application: Arc<Application>,
    pub workspace: Arc<Workspace>,
    pub key: Arc<Key>,
    /// Where the key was, so that it is taken away.
    pub carrier: key::Carrier,
    /// The route's pattern, or `*` for none.
    pub route: Arc<str>,
    /// Request units.
    pub cost: u32,
    /// The announced length of its body.
    pub length: Option<u64>,
}

impl Admitted {
    /// The rate limit that holds: the key's, else the application's, else the plan's.
    pub fn rate_limit(&self) -> (Level, RateLimit) {
        rate_limit(&self.key, &self.application, &self.workspace)
    }
}

pub fn rate_limit(
    key: &Key,
    application: &Application,
    workspace: &Workspace,
) -> (Level, RateLimit) {
    if let Some(limit) = key.rate_limit() {
        (Level::Key, limit)
    } else if let Some(limit) = application.rate_limit {
        (Level::Application, limit)
    } else {
        (Level::Workspace, workspace.rate_limit)
    }
}

/// Decides about a request that came at `now` (microseconds since the epoch).
pub fn admit(snapshot: &Snapshot, head: &Head, now: i64) -> Result<Admitted, Denied> {
    let target = request::check(head)?;

    let application = target
        .application
        .and_then(|id| snapshot.application(id))
        .ok_or(Cause::UnknownApplication)?;
    let denied = |cause: Cause| Denied::of(application, cause);

    let credential = key::find(head.headers, target.query, application.accept).map_err(denied)?;
    let key = key::known(snapshot, application, credential.text, now)
        .map_err(|(fault, presented)| Denied { presented, ..denied(Cause::Credentials(fault)) })?;
    let denied = |cause: Cause| Denied { key: Some(key.clone()), ..Denied::of(application, cause) };

    let workspace = snapshot
        .workspace(&application.workspace)
        .ok_or(Cause::Unavailable("provisioning"))
        .map_err(denied)?;
    active(application, workspace).map_err(denied)?;

    ip::check(key.allowed_ips(), head.peer).map_err(denied)?;

    let routes = match &*application.routes {
        [] => &snapshot.default_routes,
        own => own,
    };
    let route = route::find(routes, head.method, target.path);
    scope::check(route, key.kind, &key.scopes.list).map_err(denied)?;

    Ok(Admitted {
        route: route.map_or_else(|| Arc::from("*"), |route| route.text.clone()),
        cost: route.map_or(1, |route| route.cost),
        application: application.clone(),
        workspace: workspace.clone(),
        carrier: credential.carrier,
        key: key.clone(),
        length: target.length,
    })
}

/// Only an active application of an active workspace is served.
fn active(application: &Application, workspace: &Workspace) -> Result<(), Cause> {
    match workspace.status {
        WorkspaceStatus::Active => {}
        WorkspaceStatus::Suspended => return Err(Cause::Unavailable("suspended")),
        WorkspaceStatus::PastDue => return Err(Cause::Unavailable("past_due")),
    }
    match application.status {
        ApplicationStatus::Active => Ok(()),
        ApplicationStatus::Provisioning => Err(Cause::Unavailable("provisioning")),
        ApplicationStatus::Failed => Err(Cause::Unavailable("failed")),
        ApplicationStatus::Suspended => Err(Cause::Unavailable("suspended")),
        ApplicationStatus::Maintenance => Err(Cause::Unavailable("maintenance")),
    }
}

#[cfg(test)]
#[path = "admit/tests.rs"]
mod tests;
