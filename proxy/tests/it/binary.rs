//! The real binary over a harness's folder, with its settings in a file: for what signals do to a
//! process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::control::TOKEN;
use crate::harness::{Harness, World, eventually};
use crate::wire::Wire;

pub struct Binary {
    pub harness: Harness,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What is started, and started again: a copy that a test may replace.
    pub program: PathBuf,
    pub settings: PathBuf,
    command: Command,
    child: Child,
    /// Started before the present one; they may still drain.
    earlier: Vec<Child>,
    _folder: TempDir,
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

impl Binary {
    pub async fn start(settings: &str) -> Self {
        Self::with(settings, |_| {}).await
    }

    /// The same as a service of systemd's, of which this is the socket.
    pub async fn start_notifying(settings: &str, socket: &Path) -> Self {
        let environment = [("NOTIFY_SOCKET", socket.to_str().expect("text"))];
        Self::in_environment(settings, &environment, |_| {}).await
    }

    /// `settings`: what the file says beside addresses.
    pub async fn with(settings: &str, change: impl FnOnce(&mut World)) -> Self {
        Self::in_environment(settings, &[], change).await
    }

    async fn in_environment(
        settings: &str,
        environment: &[(&str, &str)],
        change: impl FnOnce(&mut World),
    ) -> Self {
        let mut harness = Harness::with(change).await;
        harness.stop().await;
        std::fs::write(harness.dir.path().join("node.token"), TOKEN).expect("written");
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("authsome-proxy");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_authsome-proxy"), &program).expect("linked");
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, settings).expect("written");
        let (address, admin) = (free(), free());
        let log = |name: &str| std::fs::File::create(folder.path().join(name)).expect("a log");
        let mut command = Command::new(&program);
        command
            .args(["--config", file.to_str().expect("text")])
            .args(["--data-dir", harness.dir.path().to_str().expect("text")])
            .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
            .args(["--control-url", &format!("http://{}", harness.control.address)])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log("stdout"))
            .stderr(log("stderr"));
        let child = command.spawn().expect("it starts");
        let settings = file;
        let binary = Self {
            harness,
            address,
            admin,
            program,
            settings,
            command,
            child,
            earlier: vec![],
            _folder: folder,
        };
        let pid = binary.first();
        eventually("ready", || async { binary.pid() == pid && binary.is_ready().await }).await;
        binary
    }

    /// What a supervisor does: starts it again.
    pub async fn start_again(&mut self) {
        let mut child = self.command.spawn().expect("it starts");
        std::mem::swap(&mut child, &mut self.child);
        let pid = self.child.id();
        eventually("the new one serves", || async { self.pid() == pid && self.is_ready().await })
            .await;
        self.earlier.push(child);
    }

    pub async fn is_ready(&self) -> bool {
        if tokio::net::TcpStream::connect(self.admin).await.is_err() {
            return false;
        }
        let mut wire = Wire::to(self.admin).await;
        wire.ask("GET", "/ready", "", "").await.status == 200
    }

    pub async fn connect(&self) -> Wire {
        Wire::to(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn get(&self, target: &str) -> u16 {
        self.connect().await.get(target, &self.harness.world.secret).await.status
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let mut wire = Wire::to(self.admin).await;
        let answer = wire.ask("GET", "/metrics", "", "").await;
        let text = String::from_utf8(answer.body).expect("text");
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
    }

    pub fn log(&self) -> String {
        let folder = self.settings.parent().expect("a folder");
        std::fs::read_to_string(folder.join("stderr")).expect("a log")
    }

    /// The process that serves, as `status.json` has it; 0 before there is any.
    pub fn pid(&self) -> u32 {
        let file = self.harness.dir.path().join("proxy/status.json");
        let Ok(bytes) = std::fs::read(file) else { return 0 };
        let status: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        u32::try_from(status["pid"].as_u64().expect("a number")).expect("a process")
    }

    /// `authsome-proxy COMMAND` for this folder.
    pub async fn command(&self, command: &'static str) -> Output {
        let dir = self.harness.dir.path().to_owned();
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_authsome-proxy"))
                .arg(command)
                .arg("--data-dir")
                .arg(dir)
                .output()
                .expect("it runs")
        };
        tokio::task::spawn_blocking(run).await.expect("it ran")
    }

    /// Has it replaced; gives the new process.
    pub async fn upgrade(&self) -> u32 {
        let output = self.command("upgrade").await;
        assert!(output.status.success(), "{}\n{}", said(&output), self.log());
        self.pid()
    }

    /// The process that was started first has ended, by itself.
    pub async fn first_ended(&mut self) {
        let child = parking_lot::Mutex::new(&mut self.child);
        eventually("the first process ends", || {
            let ended = child.lock().try_wait().expect("a child").is_some();
            async move { ended }
        })
        .await;
    }

    pub fn first(&self) -> u32 {
        self.child.id()
    }
}

/// Sends a signal, such as `-TERM`.
pub fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// What a command wrote.
pub fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

impl Drop for Binary {
    fn drop(&mut self) {
        let pid = self.pid();
        for child in self.earlier.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The successor is nobody's child; it is ours if it was started for this folder.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = self.harness.dir.path().to_str().expect("text");
        if String::from_utf8_lossy(&line).contains(ours) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        if std::thread::panicking() {
            eprintln!("it wrote:\n{}", self.log());
        }
    }
}
