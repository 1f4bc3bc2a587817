//! What a million keys cost: a proxy's cold start from disk with no control plane, its memory, and
//! one changed key.
//!
//! `cargo run --release -p authsome-proxy --example million_keys [-- KEYS]`
//!
//! The proxy runs as a process of its own, with the allocator of the real one, and gets its keys
//! from a control plane in this one, first of all. Linux only: it reads `/proc`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use authsome_proxy::{Config, Proxy};
use authsome_shared::api_key::{KeyDigest, KeyMode, KeyType, generate};
use authsome_shared::clock::Clock;
use authsome_shared::secret::Secret;
use authsome_shared::snapshot::{
    Application, ApplicationStatus, Change, DefaultUpstream, Key, KeySource, RateLimit, Settings,
    Workspace, WorkspaceStatus,
};

#[path = "../tests/it/control.rs"]
#[allow(dead_code, reason = "the tests want more of it")]
mod control;

use control::{Control, TOKEN};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Over which the keys are spread.
const APPLICATIONS: usize = 100;

/// For whatever is waited for.
const DEADLINE: Duration = Duration::from_mins(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", dir, listen, admin, control] => serve(dir, listen, admin, control).await,
        [keys] => measure(keys.parse().context("not a number of keys")?).await,
        [] => measure(1_000_000).await,
        _ => bail!("usage: million_keys [KEYS]"),
    }
}

/// The proxy, until it is killed.
async fn serve(dir: &str, listen: &str, admin: &str, control: &str) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.server.data_dir = dir.into();
    config.server.listen = listen.parse()?;
    config.server.admin_listen = admin.parse()?;
    config.control.url = control.parse()?;
    config.control.token = Some(Secret::new(TOKEN.to_owned()));
    config.log.access_log = "off".into();
    let _proxy = Proxy::start(config, Clock::system()).await?;
    std::future::pending().await
}

async fn measure(count: usize) -> anyhow::Result<()> {
    ensure!(count > 2, "two keys are the measure to compare with");
    let two = run(2).await?;
    let many = run(count).await?;
    let more = many.resident.saturating_sub(two.resident);
    println!("keys: {count}, spread over {APPLICATIONS} applications");
    println!("snapshot on disk: {} bytes", many.disk);
    println!(
        "cold start from disk, no control plane: {:?} (two keys: {:?})",
        many.start, two.start
    );
    println!("processor time of that: {:?} (two keys: {:?})", many.processor, two.processor);
    println!("resident memory: {} MiB (two keys: {} MiB)", many.resident >> 20, two.resident >> 20);
    println!("most while starting: {} MiB", many.peak >> 20);
    println!("memory per key: {} bytes", more / (count as u64 - 2));
    println!("one key changed: {} bytes of the stream", many.delta_bytes);
    println!("until it was acknowledged: {:?} (two keys: {:?})", many.delta, two.delta);
    Ok(())
}

struct Figures {
    disk: u64,
    start: Duration,
    processor: Duration,
    resident: u64,
    peak: u64,
    delta_bytes: usize,
    delta: Duration,
}

async fn run(count: usize) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let (changes, first, last) = world(count);
    let control = Control::start(changes).await;

    // The keys come by the wire once, and are on disk from then on.
    let process = Process::start(dir.path(), control.address)?;
    process.ready().await?;
    let snapshots = dir.path().join("proxy/snapshots");
    let disk =
        until("a snapshot on disk", async || size(&snapshots).filter(|size| *size > 0)).await?;
    drop(process);

    control.set_up(false);
    let began = Instant::now();
    let process = Process::start(dir.path(), control.address)?;
    process.ready().await?;
    let start = began.elapsed();
    let processor = process.processor()?;
    for (key, secret) in [&first, &last] {
        ensure!(process.status(key, secret).await? == 200, "a key is not known");
    }
    let (resident, peak) = (process.memory("VmRSS:")?, process.memory("VmHWM:")?);

    let acks = control.acked();
    control.set_up(true);
    until("it is back", async || {
        (control.acked() >= acks && control.last_ack().is_some()).then_some(())
    })
    .await?;
    // Once to have the stream open, then for the time.
    let mut changed = last.0.clone();
    let mut delta = Duration::MAX;
    for scope in ["users:read", "users:write", "audit:read", "*"] {
        changed.scopes = vec![scope.into()];
        let began = Instant::now();
        let revision = control.change(vec![Change::Key(Box::new(changed.clone()))]);
        until("acknowledged", async || (control.acked() == revision).then_some(())).await?;
        delta = delta.min(began.elapsed());
    }
    let revision = control.change(vec![Change::RemoveKey(last.0.id.clone())]);
    until("acknowledged", async || (control.acked() == revision).then_some(())).await?;
    ensure!(process.status(&last.0, &last.1).await? == 401, "a revoked key is let in");
    ensure!(process.status(&first.0, &first.1).await? == 200, "another key is gone");
    let line = serde_json::json!({ "delta": { "revision": revision,
        "changes": [Change::Key(Box::new(changed))] } });
    let delta_bytes = line.to_string().len() + 1;
    Ok(Figures { disk, start, processor, resident, peak, delta_bytes, delta })
}

/// Everything that the proxy gets, and the first and the last of the keys with their texts.
fn world(count: usize) -> (Vec<Change>, (Key, String), (Key, String)) {
    let limit = RateLimit::fast(1_000, 1_000, 1_000);
    let workspace = "ws_1".parse().expect("an id");
    let application = |n: usize| format!("app_{n:022}").parse().expect("an id");
    let mut changes = vec![
        Change::Settings(Settings {
            default_upstream: Some(DefaultUpstream::Echo),
            egress_allow: vec![],
        }),
        Change::Workspace(Workspace {
            id: workspace,
            status: WorkspaceStatus::Active,
            rate_limit: limit,
            quota: None,
        }),
    ];
    changes.extend((0..APPLICATIONS).map(|n| {
        Change::Application(Box::new(Application {
            id: application(n),
            workspace: "ws_1".parse().expect("an id"),
            environment: "production".into(),
            region: "us-east-1".into(),
            status: ApplicationStatus::Active,
            generation: 0,
            upstream: None,
            routes: vec![],
            rate_limit: None,
            quota: None,
            quota_hard: false,
            max_body_bytes: 1024 * 1024,
            accept: vec![KeySource::Bearer],
            end_user_header: "x-authsome-user-id".into(),
        }))
    }));
    let key = |n: usize| {
        let secret = generate(KeyType::Secret, KeyMode::Live).into_inner();
        let id: authsome_shared::id::KeyId = format!("key_{n:022}").parse().expect("an id");
        let key = Key {
            digest: KeyDigest::of(&secret),
            application: application(n % APPLICATIONS),
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
    };
    let (first, last) = (key(0), key(count - 1));
    let others = (1..count - 1).map(|n| key(n).0);
    let keys = [first.0.clone()].into_iter().chain(others).chain([last.0.clone()]);
    changes.extend(keys.map(|key| Change::Key(Box::new(key))));
    (changes, first, last)
}

/// The size of the newest whole snapshot, in bytes.
fn size(snapshots: &Path) -> Option<u64> {
    let files = std::fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path());
    let mut bases = files.filter(|path| path.extension().is_some_and(|it| it == "zst"));
    std::fs::metadata(bases.next()?).ok().map(|meta| meta.len())
}

async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        ensure!(began.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// The proxy, killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    http: reqwest::Client,
}

impl Process {
    fn start(dir: &Path, control: SocketAddr) -> anyhow::Result<Self> {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let (address, admin) = (free()?, free()?);
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", dir.to_str().context("a path in UTF-8")?])
            .args([address.to_string(), admin.to_string(), format!("http://{control}")])
            .spawn()?;
        // Fails only when a provider is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { child, address, admin, http })
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let url = format!("http://{}/ready", self.admin);
        until("ready", async || {
            let answer = self.http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await
    }

    async fn status(&self, key: &Key, secret: &str) -> anyhow::Result<u16> {
        let url = format!("http://{}/v1/{}/x", self.address, key.application);
        Ok(self.http.get(url).bearer_auth(secret).send().await?.status().as_u16())
    }

    /// What all of its threads have run.
    fn processor(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().context("no figures")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// A line of its status, in bytes.
    fn memory(&self, line: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status.lines().find(|it| it.starts_with(line)).context("no such line")?;
        let kilobytes: String = found.chars().filter(char::is_ascii_digit).collect();
        Ok(kilobytes.parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
