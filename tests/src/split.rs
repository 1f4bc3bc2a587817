//! The planes as two processes, each with a data folder of its own, on ports that stay the same
//! over restarts.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::api::{Application, http_client};
use crate::call::Caller;
use crate::database::{Database, ask_sqlite};
use crate::fault::Link;
use crate::files;
use crate::platform::ready;
use crate::process::{self, Process};
use crate::turn::Turn;
use crate::urls::Urls;
use crate::wait;

const UNSHIPPED_NONE: &str = "authsome_proxy_journal_unshipped_records 0";

pub struct Split {
    pub control: Option<Process>,
    /// The one that was started; after an upgrade another process serves.
    pub proxy: Option<Process>,
    pub urls: Urls,
    /// What the proxy is started with, as its environment.
    pub settings: Vec<(&'static str, String)>,
    _successor: Successor,
    data: TempDir,
    database: Option<Database>,
    /// Between the proxy and the control plane.
    pub link: Option<Link>,
    _turn: Turn,
}

impl Split {
    pub async fn start() -> Self {
        Self::start_on(Database::create()).await
    }

    /// With settings in the proxy's environment.
    pub async fn start_with(settings: &[(&'static str, String)]) -> Self {
        Self::start_as(Database::create(), settings, false).await
    }

    /// `None`: on SQLite.
    pub async fn start_on(database: Option<Database>) -> Self {
        Self::start_as(database, &[], false).await
    }

    /// With a network between the planes that can be made to fail.
    pub async fn start_apart(database: Option<Database>) -> Self {
        Self::start_as(database, &[], true).await
    }

    async fn start_as(
        database: Option<Database>,
        settings: &[(&'static str, String)],
        apart: bool,
    ) -> Self {
        let turn = Turn::among_others().await;
        let url = || format!("http://127.0.0.1:{}", free_port());
        let urls = Urls::default();
        urls.set(&url(), &url(), &url());
        let data = TempDir::new().expect("a temporary folder");
        let link = if apart { Some(Link::to(&address(&urls.control())).await) } else { None };
        let successor = Successor { data_dir: data.path().join("edge") };
        let mut split = Self {
            control: None,
            proxy: None,
            urls,
            settings: settings.to_vec(),
            _successor: successor,
            data,
            database,
            link,
            _turn: turn,
        };
        split.start_control().await;
        split.copy_token().await;
        split.start_proxy().await;
        split
    }

    pub fn control_dir(&self) -> PathBuf {
        self.data.path().join("control")
    }

    pub fn proxy_dir(&self) -> PathBuf {
        self.data.path().join("edge")
    }

    pub async fn start_control(&mut self) {
        let mut process = self.spawn_control();
        ready(&mut [&mut process], &[self.urls.control()]).await;
        self.control = Some(process);
    }

    /// Starts the control plane only.
    pub fn spawn_control(&self) -> Process {
        let folder = self.control_dir();
        let listen = address(&self.urls.control());
        let mut args = vec!["--data-dir", text(&folder), "--listen", &listen];
        let url = self.database.as_ref().map(Database::url);
        if let Some(url) = &url {
            args.extend(["--database-url", url]);
        }
        // The tests' upstreams are on this machine.
        let env = [("AUTHSOME_CONTROL__EGRESS__ALLOW", "[\"127.0.0.0/8\"]")];
        Process::start("authsome-control-plane", &args, &env)
    }

    /// Starts the proxy and waits for it to be ready.
    pub async fn start_proxy(&mut self) {
        let mut process = self.spawn_proxy();
        ready(&mut [&mut process], &[self.urls.proxy_admin()]).await;
        self.proxy = Some(process);
    }

    /// Starts the proxy only.
    pub fn spawn_proxy(&self) -> Process {
        let control = match &self.link {
            Some(link) => format!("http://{}", link.address()),
            None => self.urls.control(),
        };
        proxy(&self.proxy_dir(), &self.urls, &control, &self.settings)
    }

    /// Has the process that serves replaced by a new one, and waits until that serves. The one
    /// before drains.
    pub async fn upgrade(&mut self) {
        let mut command = process::command("authsome-proxy");
        command.arg("upgrade").arg("--data-dir").arg(self.proxy_dir());
        let upgraded = tokio::task::spawn_blocking(move || command.output()).await;
        let output = upgraded.expect("no panic").expect("the command runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    pub fn control(&mut self) -> &mut Process {
        self.control.as_mut().expect("the control plane runs")
    }

    pub fn proxy(&mut self) -> &mut Process {
        self.proxy.as_mut().expect("the proxy runs")
    }

    pub fn caller(&self, application: &Application) -> Caller {
        Caller::new(&self.urls, &application.id, &application.secret_key)
    }

    /// Waits for every record of the proxy to be with the control plane.
    pub async fn shipped(&self, deadline: Duration) {
        let http = http_client();
        let metrics = format!("{}/metrics", self.urls.proxy_admin());
        wait::until("all usage is shipped", deadline, async || {
            let text = http.get(&metrics).send().await.ok()?.text().await.ok()?;
            text.lines().any(|line| line == UNSHIPPED_NONE).then_some(())
        })
        .await;
    }

    /// The one value that a query gives in the control plane's database.
    pub fn ask_database(&self, sql: &str) -> String {
        match &self.database {
            Some(database) => database.ask(sql),
            None => ask_sqlite(&self.control_dir().join("control-plane.db"), sql),
        }
    }

    /// The proxy's files of one kind (`snapshots`, `journal`), newest last.
    pub fn proxy_files(&self, kind: &str) -> Vec<PathBuf> {
        let mut found = files::all(&self.proxy_dir().join("proxy").join(kind));
        found.sort_by_key(|file| modified(file));
        found
    }

    /// Waits for the last change to be in a snapshot on disk, which is promised within two
    /// seconds. Snapshots are compressed: that they stand still is all that can be seen of them.
    pub async fn snapshots_written(&self) {
        let (still, deadline) = (Duration::from_millis(2500), Duration::from_secs(15));
        wait::settled("snapshots", still, deadline, async || {
            let files = self.proxy_files("snapshots");
            files.iter().map(|file| modified(file)).collect::<Vec<_>>()
        })
        .await;
    }

    /// The proxy's folder gets its own copy of the token that lets it in.
    async fn copy_token(&self) {
        let from = self.control_dir().join("node.token");
        wait::until("the node token is written", Duration::from_secs(10), async || {
            from.exists().then_some(())
        })
        .await;
        fs::create_dir(self.proxy_dir()).expect("a new folder");
        fs::copy(from, self.proxy_dir().join("node.token")).expect("a copy");
    }
}

/// The process that serves after upgrades, which is nobody's child: killed when dropped.
struct Successor {
    data_dir: PathBuf,
}

impl Drop for Successor {
    fn drop(&mut self) {
        let Ok(bytes) = fs::read(self.data_dir.join("proxy/status.json")) else { return };
        let status: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let Some(pid) = status["pid"].as_u64().filter(|_| !status["tookOverFrom"].is_null()) else {
            return;
        };
        // It is ours if it was started for this folder.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains(text(&self.data_dir)) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// Starts a proxy with its data in a folder, at its place in `urls`, with settings as its
/// environment.
pub(crate) fn proxy(
    folder: &Path,
    urls: &Urls,
    control: &str,
    settings: &[(&'static str, String)],
) -> Process {
    let (listen, admin) = (address(&urls.proxy()), address(&urls.proxy_admin()));
    let args = [
        "--data-dir",
        text(folder),
        "--listen",
        &listen,
        "--admin-listen",
        &admin,
        "--control-url",
        control,
    ];
    let settings: Vec<_> = settings.iter().map(|(name, it)| (*name, &**it)).collect();
    Process::start("authsome-proxy", &args, &settings)
}

/// A port that nobody listens on, below the range from which outgoing connections take theirs, so
/// that it is still free after a restart.
pub fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = u16::try_from(15_000 + random % 15_000).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|meta| meta.modified()).ok()
}

fn address(url: &str) -> String {
    url.strip_prefix("http://").expect("a plain URL").to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
