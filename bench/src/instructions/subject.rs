//! A program under callgrind, which is asked for its counts while it runs. Dropping it kills the
//! program and removes what was written, unless that is to be kept.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::DEADLINE;

pub struct Subject {
    child: Child,
    dir: TempDir,
    keep: Option<PathBuf>,
    name: String,
    /// Counts so far.
    dumps: usize,
}

impl Subject {
    pub fn start(
        program: &Path,
        keep: Option<&Path>,
        arguments: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut command = valgrind(program, dir.path());
        arguments(&mut command);
        let child = command.spawn().context("valgrind is needed (Debian: valgrind)")?;
        let name = program.file_name().unwrap_or_default().display().to_string();
        Ok(Self { child, dir, keep: keep.map(Path::to_owned), name, dumps: 0 })
    }

    /// Instructions of a program from its start to its end.
    pub fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<f64> {
        let dir = tempfile::tempdir()?;
        let status = valgrind(program, dir.path()).args(arguments).status();
        ensure!(status.context("valgrind is needed")?.success(), "{} failed", program.display());
        summary(&dir.path().join("out"))
    }

    /// Counts from here on.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.tell("zero")
    }

    /// Instructions of all threads since the last reset.
    pub fn count(&mut self) -> anyhow::Result<f64> {
        self.tell("dump")?;
        self.dumps += 1;
        let file = self.dir.path().join(format!("out.{}", self.dumps));
        if let Some(keep) = &self.keep {
            std::fs::create_dir_all(keep)?;
            std::fs::copy(&file, keep.join(format!("{}.{}", self.name, self.dumps)))?;
        }
        summary(&file)
    }

    fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        let told = Command::new("vgdb")
            .arg(prefix(self.dir.path()))
            .args([&format!("--pid={}", self.child.id()), command])
            .output()
            .context("vgdb, a part of valgrind, is needed")?;
        let said = String::from_utf8_lossy(&told.stderr);
        ensure!(told.status.success(), "callgrind can't be asked: {said}");
        Ok(())
    }

    pub async fn until<T>(
        &mut self,
        what: &str,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = probe().await {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended, before {what}: {status}", self.name);
            }
            ensure!(began.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn valgrind(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--vgdb=yes"])
        .arg(prefix(dir))
        .arg(format!("--callgrind-out-file={}", dir.join("out").display()))
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // The engine has one thread, and so have we.
        .env("TOKIO_WORKER_THREADS", "1");
    command
}

/// Where valgrind and vgdb meet.
fn prefix(dir: &Path) -> String {
    format!("--vgdb-prefix={}", dir.join("vgdb").display())
}

/// The total of a file of callgrind's.
fn summary(file: &Path) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    Ok(total.context("callgrind wrote no summary")?.trim().parse()?)
}
