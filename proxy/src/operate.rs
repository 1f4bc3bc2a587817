//! The commands `upgrade` and `reload`: they find the running process, send it the signal, and
//! wait for what it writes to `status.json`. What the signals do is in `upgrade` and `reload`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::status::{self, Status};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Beyond the time that the process gives itself.
const MARGIN: Duration = Duration::from_secs(15);

/// A running proxy.
pub struct Running {
    data_dir: PathBuf,
    before: Status,
    pid: Pid,
}

impl Running {
    /// The one that serves the data directory.
    pub fn of_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        let before = status::read(data_dir).with_context(|| {
            format!("no proxy has run on the data directory {}", data_dir.display())
        })?;
        let pid = i32::try_from(before.pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let pid = pid.context("status.json names no process")?;
        if !holds_lock(pid, data_dir) {
            bail!("no proxy runs on the data directory {}", data_dir.display());
        }
        Ok(Self { data_dir: data_dir.to_owned(), before, pid })
    }

    /// The process with this id; the lock that it holds tells its data directory.
    pub fn of_pid(pid: u32) -> anyhow::Result<Self> {
        let lock = locks(pid).into_iter().find(|path| path.ends_with("proxy/lock"));
        let lock = lock.with_context(|| format!("process {pid} is not a running proxy of ours"))?;
        let data_dir = lock.parent().and_then(Path::parent).context("the lock lies nowhere")?;
        let running = Self::of_data_dir(data_dir)?;
        if running.before.pid != pid {
            bail!("process {pid} has handed over to process {}", running.before.pid);
        }
        Ok(running)
    }

    /// Has it replaced by a new process. Gives a line about that.
    pub fn upgrade(&self, limit: Duration) -> anyhow::Result<String> {
        self.signal(Signal::USR2)?;
        let before = &self.before;
        self.wait(limit + MARGIN, |now| {
            if now.took_over_from == Some(before.pid) {
                return Some(Ok(format!(
                    "process {} ({}) serves; process {} ({}) drains",
                    now.pid, now.version, before.pid, before.version
                )));
            }
            let failed = now.failed_upgrade.as_ref()?;
            let same = before.failed_upgrade.as_ref().is_some_and(|it| it.number == failed.number);
            let error = failed.error.clone().unwrap_or_default();
            let said = format!("the upgrade failed, process {} goes on: {error}", before.pid);
            (!same).then(|| Err(anyhow::anyhow!(said)))
        })
    }

    /// Has it read its settings again. Gives a line about that.
    pub fn reload(&self) -> anyhow::Result<String> {
        self.signal(Signal::HUP)?;
        let before = self.before.reload.as_ref().map_or(0, |reload| reload.number);
        self.wait(MARGIN, |now| {
            let reload = now.reload.as_ref().filter(|it| it.number > before)?;
            Some(match &reload.error {
                Some(error) => Err(anyhow::anyhow!("the settings were refused: {error}")),
                None if reload.left.is_empty() => Ok("the settings are in use".to_owned()),
                None => Ok(format!(
                    "the settings are in use, but for what needs an upgrade: {}",
                    reload.left.join(", ")
                )),
            })
        })
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid.as_raw_nonzero();
        kill_process(self.pid, signal).with_context(|| format!("can't signal process {pid}"))
    }

    fn wait(
        &self,
        limit: Duration,
        look: impl Fn(&Status) -> Option<anyhow::Result<String>>,
    ) -> anyhow::Result<String> {
        let began = Instant::now();
        let pid = self.before.pid;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            loop {
                let ended = test_kill_process(self.pid).is_err();
                if let Some(outcome) = status::read(&self.data_dir).ok().and_then(|it| look(&it)) {
                    return outcome;
                }
                if ended {
                    bail!("process {pid} has ended, and no other has taken over from it");
                }
                if began.elapsed() >= limit {
                    bail!("process {pid} has not said within {limit:?} what became of it");
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

/// The files that a process holds open, as far as we may see them.
fn locks(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// Is it the proxy of this directory, and not another process that has its number by now?
fn holds_lock(pid: Pid, data_dir: &Path) -> bool {
    if !Path::new("/proc/self/fd").exists() {
        return test_kill_process(pid).is_ok();
    }
    let Ok(lock) = data_dir.join("proxy/lock").canonicalize() else { return false };
    let pid = pid.as_raw_nonzero().get().cast_unsigned();
    locks(pid).contains(&lock)
}
