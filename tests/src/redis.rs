//! A Redis server of a test's own, which it may freeze, empty and kill. It keeps nothing on disk.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::env;
use crate::process::Process;
use crate::split::free_port;
use crate::wait;

pub struct Redis {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// `None`, with a loud word, when it is not installed.
    pub async fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            assert!(env::get(env::REQUIRE_CLIENTS).is_none(), "redis-server is not installed");
            eprintln!("SKIPPED: redis-server is not installed; scripts/test installs it");
            return None;
        }
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let mut redis = Self { process: spawn(port, &folder), port, folder };
        redis.ready().await;
        Some(redis)
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops answering, with every connection open.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    pub fn kill_9(&mut self) {
        self.process.kill_9();
    }

    /// Starts again, after `kill_9`, with nothing in it.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder);
        self.ready().await;
    }

    /// Forgets everything.
    pub fn flush(&self) {
        assert_eq!(self.ask(&["flushall"]).trim(), "OK");
    }

    /// What `redis-cli` answers.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &self.port.to_string()]).args(command).output();
        String::from_utf8(output.expect("redis-cli runs").stdout).expect("text")
    }

    async fn ready(&mut self) {
        wait::until("Redis is ready", Duration::from_secs(20), async || {
            self.process.assert_running();
            (self.ask(&["ping"]).trim() == "PONG").then_some(())
        })
        .await;
    }
}

fn spawn(port: u16, folder: &TempDir) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "no"]).current_dir(folder.path());
    Process::spawn("redis-server", &mut command)
}
