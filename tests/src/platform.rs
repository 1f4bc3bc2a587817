//! `authsome up`: both planes in one process, on a data folder of their own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::{Api, Application, http_client};
use crate::call::Caller;
use crate::database::Database;
use crate::process::Process;
use crate::turn::Turn;
use crate::urls::Urls;
use crate::wait;

/// A debug build migrates, hashes a password and starts both planes in this time, on a busy machine.
const START: Duration = Duration::from_mins(1);

pub struct Platform {
    pub process: Process,
    pub urls: Urls,
    /// What `quickstart.json` says.
    pub quickstart: Value,
    data: TempDir,
    database: Option<Database>,
    env: Vec<(&'static str, &'static str)>,
    _turn: Turn,
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings in its environment.
    pub async fn start_with(env: &[(&'static str, &'static str)]) -> Self {
        Self::start_in(Turn::among_others().await, env).await
    }

    /// For tests that measure time.
    pub async fn start_alone() -> Self {
        Self::start_in(Turn::alone().await, &[]).await
    }

    async fn start_in(turn: Turn, env: &[(&'static str, &'static str)]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let database = Database::create();
        let urls = Urls::default();
        let (process, quickstart) = up(data.path(), database.as_ref(), &urls, env).await;
        let env = env.to_vec();
        Self { process, urls, quickstart, data, database, env, _turn: turn }
    }

    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Of the database that it was given, if any.
    pub fn database_url(&self) -> Option<String> {
        self.database.as_ref().map(Database::url)
    }

    pub fn quickstart_file(&self) -> PathBuf {
        self.data.path().join("quickstart.json")
    }

    /// A text of `quickstart.json`.
    pub fn quick(&self, field: &str) -> &str {
        self.quickstart[field].as_str().unwrap_or_else(|| panic!("no {field} in quickstart.json"))
    }

    /// SIGTERM.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process.terminate().await
    }

    /// Starts again on the same data, after `terminate` or `process.kill_9`.
    pub async fn start_again(&mut self) {
        let (process, quickstart) =
            up(self.data.path(), self.database.as_ref(), &self.urls, &self.env).await;
        self.process = process;
        self.quickstart = quickstart;
    }

    pub fn caller(&self, application: &Application) -> Caller {
        Caller::new(&self.urls, &application.id, &application.secret_key)
    }

    /// A new user with an application of its own that has no limit to speak of.
    pub async fn user(&self) -> Api {
        Api::register(&self.urls).await
    }
}

async fn up(
    data: &Path,
    database: Option<&Database>,
    urls: &Urls,
    env: &[(&str, &str)],
) -> (Process, Value) {
    let file = data.join("quickstart.json");
    let version = |file: &Path| fs::metadata(file).ok().map(|meta| (meta.ino(), meta.mtime_nsec()));
    let before = version(&file);

    let folder = data.to_str().expect("UTF-8");
    let mut args = vec!["up", "--data-dir", folder];
    args.extend(["--control-listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0"]);
    let url = database.map(Database::url);
    if let Some(url) = &url {
        args.extend(["--database-url", url]);
    }
    let mut process = Process::start("authsome", &args, env);

    let quickstart = wait::until("up writes quickstart.json", START, async || {
        process.assert_running();
        if version(&file) == before {
            return None;
        }
        serde_json::from_slice::<Value>(&fs::read(&file).ok()?).ok()
    })
    .await;
    let url = |field: &str| {
        let url = quickstart[field].as_str();
        url.unwrap_or_else(|| panic!("no {field} in {quickstart}")).to_owned()
    };
    urls.set(&url("controlUrl"), &url("proxyUrl"), &url("proxyAdminUrl"));
    ready(&mut [&mut process], &[urls.control(), urls.proxy_admin()]).await;
    (process, quickstart)
}

/// Waits for every base URL to answer `/ready` with 200.
pub async fn ready(processes: &mut [&mut Process], bases: &[String]) {
    let http = http_client();
    for base in bases {
        wait::until(&format!("{base}/ready"), START, async || {
            for process in processes.iter_mut() {
                process.assert_running();
            }
            let answer = http.get(format!("{base}/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}
