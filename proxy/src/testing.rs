//! Values for this crate's unit tests. Nothing here is compiled into the proxy.

use authsome_shared::api_key::{KeyDigest, KeyType};
use authsome_shared::snapshot::{
    Application, ApplicationStatus, Key, KeySource, RateLimit, Upstream, Workspace, WorkspaceStatus,
};

pub fn workspace(id: &str) -> Workspace {
    Workspace {
        id: id.parse().expect("an id"),
        status: WorkspaceStatus::Active,
        rate_limit: RateLimit::fast(1_000, 1_000, 1_000),
        quota: None,
    }
}

pub fn application(id: &str, workspace: &str) -> Application {
    Application {
        id: id.parse().expect("an id"),
        workspace: workspace.parse().expect("an id"),
        environment: "production".into(),
        region: "us-east-1".into(),
        status: ApplicationStatus::Active,
        generation: 0,
        upstream: Some(Upstream { urls: vec!["http://127.0.0.1:9".into()], ..Upstream::default() }),
        routes: vec![],
        rate_limit: None,
        quota: None,
        quota_hard: false,
        max_body_bytes: 1024 * 1024,
        accept: vec![KeySource::Bearer],
        end_user_header: "x-authsome-user-id".into(),
    }
}

/// A secret key with every scope whose text is nobody's: tests that present it set the digest.
pub fn key(id: &str, application: &str) -> Key {
    Key {
        id: id.parse().expect("an id"),
        application: application.parse().expect("an id"),
        digest: KeyDigest::of(id),
        key_type: KeyType::Secret,
        scopes: vec!["*".into()],
        expires_at: None,
        allowed_ips: vec![],
        rate_limit: None,
        quota: None,
        bucket: id.parse().expect("an id"),
    }
}
