//! What the proxy that is measured knows: one application with its own upstream, a workspace with a
//! quota, and keys with a rate limit that nobody reaches, but for one key that is always over its.

use std::net::SocketAddr;

use authsome_shared::api_key::{KeyDigest, KeyMode, KeyType, generate};
use authsome_shared::id::KeyId;
use authsome_shared::snapshot::{
    Application, ApplicationStatus, Change, Key, KeySource, RateLimit, Settings, Upstream,
    Workspace, WorkspaceStatus,
};

const WORKSPACE: &str = "ws_0352BzK1sipBK5mYlLMDcU";
pub const APPLICATION: &str = "app_0352BzK1sipBK5mYlLMDcU";

pub struct World {
    /// Everything that the proxy gets.
    pub changes: Vec<Change>,
    /// The texts of the keys.
    pub keys: Vec<String>,
    /// Of the key that may make one request an hour.
    pub limited: String,
    /// Of a key that does not exist.
    pub unknown: String,
}

impl World {
    /// So many keys, and requests that go to `upstream`.
    pub fn new(keys: usize, upstream: SocketAddr) -> Self {
        let wide = RateLimit::fast(1_000_000, 1_000, 1_000_000);
        let mut changes = vec![
            Change::Settings(Settings {
                default_upstream: None,
                egress_allow: vec!["127.0.0.0/8".parse().expect("a network")],
            }),
            Change::Workspace(Workspace {
                id: WORKSPACE.parse().expect("an id"),
                status: WorkspaceStatus::Active,
                rate_limit: wide,
                quota: Some(1_000_000_000_000),
            }),
            Change::Application(Box::new(application(upstream))),
        ];
        let texts: Vec<String> = (0..keys).map(|_| text()).collect();
        changes.extend(texts.iter().map(|text| Change::Key(Box::new(key(text, None)))));
        let limited = text();
        let one = RateLimit::fast(1, 3_600_000, 1);
        changes.push(Change::Key(Box::new(key(&limited, Some(one)))));
        Self { changes, keys: texts, limited, unknown: text() }
    }

    /// A request with this key.
    pub fn request(key: &str) -> Vec<u8> {
        format!(
            "GET /v1/{APPLICATION}/users/7?expand=teams HTTP/1.1\r\nHost: api.example.com\r\n\
             User-Agent: bench/1.0\r\nAccept: application/json\r\n\
             Authorization: Bearer {key}\r\n\r\n"
        )
        .into_bytes()
    }
}

/// A new key's text.
pub fn text() -> String {
    generate(KeyType::Secret, KeyMode::Live).into_inner()
}

fn application(upstream: SocketAddr) -> Application {
    Application {
        id: APPLICATION.parse().expect("an id"),
        workspace: WORKSPACE.parse().expect("an id"),
        environment: "production".into(),
        region: "us-east-1".into(),
        status: ApplicationStatus::Active,
        generation: 0,
        upstream: Some(Upstream {
            urls: vec![format!("http://{upstream}")],
            ..Upstream::default()
        }),
        routes: vec![],
        rate_limit: None,
        quota: None,
        quota_hard: false,
        max_body_bytes: 64 * 1024 * 1024,
        accept: vec![KeySource::Bearer],
        end_user_header: "x-authsome-user-id".into(),
    }
}

/// The key of this text.
pub fn key(text: &str, rate_limit: Option<RateLimit>) -> Key {
    let id = KeyId::new();
    Key {
        digest: KeyDigest::of(text),
        application: APPLICATION.parse().expect("an id"),
        key_type: KeyType::Secret,
        scopes: vec!["users:read".into(), "users:write".into()],
        expires_at: None,
        allowed_ips: vec![],
        rate_limit,
        quota: None,
        bucket: id.clone(),
        id,
    }
}
