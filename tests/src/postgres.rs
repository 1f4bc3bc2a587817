//! A PostgreSQL server of a test's own, which it may kill. Unlike the script's it brings every
//! commit to the disk.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::split::free_port;
use crate::wait;

/// Recovery included, on a busy machine.
const START: Duration = Duration::from_mins(1);

pub struct Postgres {
    process: Process,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// `None`, with a loud word, when its programs are not installed.
    pub async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: PostgreSQL is not installed; scripts/test installs it");
            return None;
        };
        let folder = TempDir::new().expect("a temporary folder");
        let owner = owner();
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).expect("root may do this");
        }
        let made = command(&programs, "initdb", owner, folder.path())
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-D", "data"])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let process = spawn(&programs, owner, port, folder.path());
        let mut postgres = Self { process, programs, owner, port, folder };
        postgres.ready().await;
        Some(postgres)
    }

    /// Where its first database is.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The id of the process that starts all others.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL to the server and to everything that it has started.
    pub fn kill_9(&mut self) {
        self.process.kill_9_with_children();
    }

    /// Starts again, after `kill_9`, and does not wait.
    pub fn spawn(&mut self) {
        self.process = spawn(&self.programs, self.owner, self.port, self.folder.path());
    }

    /// Waits for it to take connections.
    pub async fn ready(&mut self) {
        let port = self.port.to_string();
        wait::until("PostgreSQL is ready", START, async || {
            // While a killed one's children still hold its memory, a start ends at once.
            if self.process.has_ended() {
                self.spawn();
            }
            let mut probe = command(&self.programs, "pg_isready", None, self.folder.path());
            let answer = probe.args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            answer.expect("pg_isready runs").success().then_some(())
        })
        .await;
    }
}

fn spawn(programs: &Path, owner: Option<(u32, u32)>, port: u16, folder: &Path) -> Process {
    let mut command = command(programs, "postgres", owner, folder);
    command.args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    Process::spawn("postgres", command.args(["-k", "", "-c", "max_connections=100"]))
}

fn command(programs: &Path, name: &str, owner: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command.current_dir(folder);
    command
}

/// Where the newest version's programs are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|version| {
        version.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
    });
    if let Some(newest) = newest.map(|version| version.path().join("bin"))
        && newest.join("initdb").exists()
    {
        return Some(newest);
    }
    let output = Command::new("which").arg("initdb").output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    Some(path.parent()?.to_owned()).filter(|programs| programs.join("postgres").exists())
}

/// Whom it runs as when we are root, which it refuses.
fn owner() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    (id(&["-u"])? == 0).then_some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?))
}
