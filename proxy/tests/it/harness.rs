//! One proxy with its upstream, its control plane and its folder.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use authsome_proxy::{Config, Proxy};
use authsome_shared::api_key::{KeyDigest, KeyMode, KeyType, generate};
use authsome_shared::clock::Clock;
use authsome_shared::id::KeyId;
use authsome_shared::snapshot::{
    Application, ApplicationStatus, Change, DefaultUpstream, Key, KeySource, RateLimit, Settings,
    Upstream as WireUpstream, Workspace, WorkspaceStatus,
};
use tempfile::TempDir;

use crate::control::{Control, TOKEN};
use crate::upstream::Upstream;
use crate::wire::Wire;

pub const APP: &str = "app_1";

/// Waits until a condition holds; fails with its description after ten seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the test's world looks like; changed before it starts.
pub struct World {
    pub settings: Settings,
    pub workspace: Workspace,
    pub application: Application,
    pub key: Key,
    /// The text of `key`.
    pub secret: String,
    /// Further entities, and the secret of a further key.
    pub more: Vec<Change>,
    pub more_secret: String,
    pub config: Config,
    pub clock: Clock,
}

impl World {
    pub fn new(upstream: &Upstream) -> Self {
        let (key, secret) = key("key_1");
        let mut config = Config::default();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.admin_listen = ([127, 0, 0, 1], 0).into();
        config.control.token = Some(authsome_shared::secret::Secret::new(TOKEN.to_owned()));
        config.drain.idle_ms = 20;
        config.drain.timeout_ms = 5_000;
        config.log.access_log = "off".into();
        Self {
            settings: Settings {
                default_upstream: Some(DefaultUpstream::Echo),
                egress_allow: vec!["127.0.0.0/8".parse().expect("a net")],
            },
            workspace: Workspace {
                id: "ws_1".parse().expect("an id"),
                status: WorkspaceStatus::Active,
                rate_limit: RateLimit::fast(1_000, 1_000, 1_000),
                quota: None,
            },
            application: Application {
                id: APP.parse().expect("an id"),
                workspace: "ws_1".parse().expect("an id"),
                environment: "production".into(),
                region: "eu-1".into(),
                status: ApplicationStatus::Active,
                generation: 0,
                upstream: Some(WireUpstream {
                    urls: vec![upstream.url()],
                    ..WireUpstream::default()
                }),
                routes: vec![],
                rate_limit: None,
                quota: None,
                quota_hard: false,
                max_body_bytes: 100 * 1024 * 1024,
                accept: vec![KeySource::Bearer],
                end_user_header: "x-authsome-user-id".into(),
            },
            key,
            secret,
            more: vec![],
            more_secret: String::new(),
            config,
            clock: Clock::system(),
        }
    }

    pub fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            Change::Settings(self.settings.clone()),
            Change::Workspace(self.workspace.clone()),
            Change::Application(Box::new(self.application.clone())),
            Change::Key(Box::new(self.key.clone())),
        ];
        changes.extend(self.more.iter().cloned());
        changes
    }

    pub fn upstream(&mut self) -> &mut WireUpstream {
        self.application.upstream.as_mut().expect("has one")
    }
}

/// A secret key with every scope, and its text.
pub fn key(id: &str) -> (Key, String) {
    let secret = generate(KeyType::Secret, KeyMode::Live).into_inner();
    let id: KeyId = id.parse().expect("an id");
    let key = Key {
        digest: KeyDigest::of(&secret),
        application: APP.parse().expect("an id"),
        key_type: KeyType::Secret,
        scopes: vec!["*".into()],
        expires_at: None,
        allowed_ips: vec![],
        rate_limit: None,
        quota: None,
        bucket: id.clone(),
        id,
    };
    (key, secret)
}

pub struct Harness {
    pub dir: TempDir,
    pub upstream: Upstream,
    pub control: Control,
    pub world: World,
    /// `None` while it is stopped.
    pub proxy: Option<Proxy>,
}

impl Harness {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut World)) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), change).await
    }

    pub async fn start_in(dir: TempDir, change: impl FnOnce(&mut World)) -> Self {
        let upstream = Upstream::start().await;
        let mut world = World::new(&upstream);
        change(&mut world);
        let control = Control::start(world.changes()).await;
        let mut harness = Self { dir, upstream, control, world, proxy: None };
        harness.restart().await;
        harness.ready().await;
        let snapshots = harness.snapshots();
        eventually("kept on disk", || async { !files(&snapshots, ".zst").is_empty() }).await;
        harness
    }

    /// Starts the proxy over the folder as it is; does not wait for it.
    pub async fn restart(&mut self) {
        let mut config = self.world.config.clone();
        config.server.data_dir = self.dir.path().to_owned();
        config.control.url = format!("http://{}", self.control.address).parse().expect("a URL");
        // A process that another test is starting may still hold a copy of the lock's descriptor.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            match Proxy::start(config.clone(), self.world.clock.clone()).await {
                Ok(proxy) => break self.proxy = Some(proxy),
                Err(error) => {
                    let held = error.to_string().contains("in use");
                    assert!(held && tokio::time::Instant::now() < deadline, "{error:#}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// As if it had been killed: nothing is finished.
    pub fn kill(&mut self) {
        drop(self.proxy.take());
    }

    pub async fn stop(&mut self) {
        self.proxy.take().expect("running").shutdown().await;
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.as_ref().expect("running").address()
    }

    pub fn admin(&self) -> SocketAddr {
        self.proxy.as_ref().expect("running").admin_address()
    }

    pub async fn connect(&self) -> Wire {
        Wire::to(self.address()).await
    }

    pub async fn is_ready(&self) -> bool {
        let mut wire = Wire::to(self.admin()).await;
        wire.ask("GET", "/ready", "", "").await.status == 200
    }

    pub async fn ready(&self) {
        eventually("ready", || self.is_ready()).await;
    }

    /// The value of one metric that counts.
    pub async fn metric(&self, name: &str) -> u64 {
        let mut wire = Wire::to(self.admin()).await;
        let answer = wire.ask("GET", "/metrics", "", "").await;
        let text = String::from_utf8(answer.body).expect("text");
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
    }

    /// Commits a change and waits until it is acknowledged.
    pub async fn change(&self, changes: Vec<Change>) {
        let revision = self.control.change(changes);
        eventually("acknowledged", || async { self.control.acked() >= revision }).await;
    }

    pub async fn shipped(&self, records: usize) {
        eventually("shipped", || async { self.control.records().len() >= records }).await;
    }

    pub fn snapshots(&self) -> std::path::PathBuf {
        self.dir.path().join("proxy/snapshots")
    }
}

/// Files of a folder whose names end so.
pub fn files(dir: &Path, suffix: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}
