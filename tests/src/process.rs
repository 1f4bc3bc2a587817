//! A binary of this workspace, or a tool, as a child process; killed when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::wait;

/// Longest time that a drain may take.
const DRAIN: Duration = Duration::from_secs(40);

pub struct Process {
    name: String,
    child: Child,
    logs: TempDir,
}

impl Process {
    /// Starts a binary of this workspace. Settings in the test's own environment do not reach it.
    pub fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::spawn(name, command(name).args(args).envs(env.iter().copied()))
    }

    /// Starts any command.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let logs = TempDir::new().expect("a temporary folder");
        let log = |file: &str| File::create(logs.path().join(file)).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, logs }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.log("stdout")
    }

    pub fn stderr(&self) -> String {
        self.log("stderr")
    }

    fn log(&self, file: &str) -> String {
        let bytes = std::fs::read(self.logs.path().join(file)).expect("the log is there");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics with what it wrote if it has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child") {
            panic!("{} ended ({status}):\n{}", self.name, self.written());
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for it to end by itself.
    pub async fn exited(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait::until(&what, deadline, async || self.child.try_wait().expect("a child")).await
    }

    /// SIGTERM, and waits for the drain.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.exited(DRAIN).await
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(killed.expect("kill runs").success(), "{} is gone:\n{}", self.name, self.written());
    }

    /// SIGKILL: it gets no chance to do anything.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// The same to its children, once it is gone.
    pub fn kill_9_with_children(&mut self) {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        self.kill_9();
        // One that has ended by itself is no longer there to be killed.
        let _ = Command::new("kill")
            .arg("-9")
            .args(children.unwrap_or_default().split_whitespace())
            .stderr(Stdio::null())
            .status();
    }

    /// The most memory that it has held so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a peak");
        kilobytes.parse::<u64>().expect("a number") * 1024
    }

    fn written(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", tail(&self.stdout()), tail(&self.stderr()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} wrote:\n{}", self.name, self.written());
        }
    }
}

/// A command for a binary of this workspace, in an environment without our settings.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("AUTHSOME_") {
            command.env_remove(variable);
        }
    }
    command
}

/// …/debug/deps/e2e-0123 → …/debug/NAME
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let path = test.parent().and_then(Path::parent).expect("…/debug/deps").join(name);
    assert!(
        path.exists(),
        "{} is missing; build it first: cargo build --workspace --all-targets",
        path.display()
    );
    path
}

/// The last lines, enough to see why.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
