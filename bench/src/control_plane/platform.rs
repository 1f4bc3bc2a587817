//! A control plane to be measured: its database, its process, a signed-in owner, and how much
//! processor time its processes have taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use authsome_e2e::api::{Api, http_client};
use authsome_e2e::postgres::Postgres;
use authsome_e2e::process::Process;
use authsome_e2e::split::free_port;
use authsome_e2e::urls::Urls;
use authsome_e2e::wait;
use tempfile::TempDir;

use super::Kind;
use super::database::Database;

const READY: Duration = Duration::from_mins(1);

pub struct Platform {
    // Dropped in this order: the database last.
    control_plane: Process,
    pub database: Database,
    pub urls: Urls,
    pub owner: Api,
    data: TempDir,
    postgres: Option<Postgres>,
}

impl Platform {
    pub async fn start(kind: Kind, binary: Option<&Path>) -> anyhow::Result<Self> {
        let data = TempDir::new()?;
        let postgres = match kind {
            Kind::Postgres => Some(Postgres::start().await.context("PostgreSQL is missing")?),
            Kind::Sqlite => None,
        };
        let binary = binary.map_or_else(beside, |path| Ok(path.to_owned()))?;
        let url = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new(&binary);
        command.args(["--listen", &url["http://".len()..], "--data-dir"]).arg(data.path());
        // Applications become active without upstreams of their own.
        command.env("AUTHSOME_CONTROL__APPLICATIONS__DEFAULT_UPSTREAM", "echo");
        let database = postgres.as_ref().map(Postgres::url);
        if let Some(database) = &database {
            command.args(["--database-url", database]);
        }
        let mut control_plane = Process::spawn("authsome-control-plane", &mut command);
        let http = http_client();
        wait::until("the control plane is ready", READY, async || {
            control_plane.assert_running();
            let answer = http.get(format!("{url}/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        let urls = Urls::default();
        urls.set(&url, &url, &url);
        let owner = Api::register(&urls).await;
        let database = Database::connect(database.as_deref(), data.path()).await?;
        Ok(Self { control_plane, database, urls, owner, data, postgres })
    }

    /// What lets a proxy in.
    pub fn node_token(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.data.path().join("node.token"))?.trim().to_owned())
    }

    /// Processor time so far.
    pub fn taken(&self) -> anyhow::Result<Taken> {
        Ok(Taken {
            control_plane: own(self.control_plane.id())?,
            database: match &self.postgres {
                Some(postgres) => family(postgres.id())?,
                None => Duration::ZERO,
            },
        })
    }
}

/// Processor time of the control plane (with SQLite inside of it) and of PostgreSQL's processes.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub control_plane: Duration,
    pub database: Duration,
}

impl Taken {
    pub fn since(self, before: Self) -> Self {
        Self {
            control_plane: self.control_plane.saturating_sub(before.control_plane),
            database: self.database.saturating_sub(before.database),
        }
    }
}

/// The control plane's binary of the same build.
fn beside() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("authsome-control-plane");
    anyhow::ensure!(path.exists(), "{} is missing: build it first", path.display());
    Ok(path)
}

/// A tick of the kernel's accounts.
const TICK: Duration = Duration::from_millis(10);

/// The fields of `/proc/PID/stat` after the name, the state being the first.
fn stat(id: u32) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("a name in brackets")?;
    Ok(fields.split_whitespace().map(ToOwned::to_owned).collect())
}

fn ticks(fields: &[String], places: &[usize]) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for place in places {
        sum += fields.get(*place).context("a field")?.parse::<u32>()?;
    }
    Ok(TICK * sum)
}

/// Of a process with its threads.
fn own(id: u32) -> anyhow::Result<Duration> {
    ticks(&stat(id)?, &[11, 12])
}

/// Of a process and its children, those that have ended included.
fn family(id: u32) -> anyhow::Result<Duration> {
    let mut sum = ticks(&stat(id)?, &[11, 12, 13, 14])?;
    for child in fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?.split_whitespace() {
        // One that has just ended is counted with its parent the next time.
        sum += own(child.parse()?).unwrap_or_default();
    }
    Ok(sum)
}
