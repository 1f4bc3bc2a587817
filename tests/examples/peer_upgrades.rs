//! How many requests nginx and `HAProxy` fail when their processes are replaced under the load under
//! which our own upgrade is tested (`tests/e2e/upgrade.rs`): the same clients, as many upgrades.
//!
//! ```sh
//! cargo run -p authsome-e2e --example peer_upgrades -- nginx|haproxy [UPGRADES]
//! ```
//!
//! Needs the peer's program; ends what it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use authsome_e2e::mix::{Mix, Target};
use authsome_e2e::split::free_port;
use authsome_e2e::upstream::Upstream;
use authsome_e2e::{api, wait};

/// Answers between two upgrades.
const STRETCH: u64 = 30_000;
const SOON: Duration = Duration::from_secs(20);

/// Plain, HTTP/2 by prior knowledge, and TLS.
type Ports = [u16; 3];

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let which = arguments.next().unwrap_or_default();
    let upgrades: u64 = arguments.next().map_or(10, |text| text.parse().expect("a number"));
    // Installs the TLS provider.
    let _ = api::http_client();
    let upstream = Upstream::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    fs::write(dir.path().join("c.pem"), pem).expect("written");
    let ports: Ports = std::array::from_fn(|_| free_port());
    let config = match which.as_str() {
        "nginx" => nginx(dir.path(), ports, &upstream.url),
        "haproxy" => haproxy(dir.path(), ports, &upstream.url),
        _ => panic!("name a peer: nginx or haproxy"),
    };
    let peer = Peer::start(&which, &config, dir.path());
    let open = async || tokio::net::TcpStream::connect(("127.0.0.1", ports[0])).await.ok();
    drop(wait::until("it listens", SOON, open).await);

    let target = Target {
        address: ([127, 0, 0, 1], ports[0]).into(),
        h2: ([127, 0, 0, 1], ports[1]).into(),
        tls: Some((([127, 0, 0, 1], ports[2]).into(), made.cert.der().clone())),
        prefix: String::new(),
        authorization: "none".into(),
        clients: 4,
    };
    let began = Instant::now();
    let mix = Mix::start(&target);
    mix.more(STRETCH).await;
    for _ in 0..upgrades {
        peer.replace().await;
        mix.more(STRETCH).await;
    }
    let total = mix.stop().await;
    println!(
        "{which}: {upgrades} upgrades in {:?}: failed {}, answered {}, {total:?}",
        began.elapsed(),
        total.failures(),
        total.answers()
    );
}

/// Ended when it is dropped.
struct Peer {
    child: Child,
    dir: PathBuf,
    /// It puts itself into the background, and its master changes.
    is_nginx: bool,
}

impl Peer {
    fn start(name: &str, config: &str, dir: &Path) -> Self {
        let file = dir.join("config");
        fs::write(&file, config).expect("written");
        // nginx starts its successor by the path by which it was started itself.
        let found = Command::new("which").arg(name).output().expect("which runs").stdout;
        let mut command = Command::new(String::from_utf8(found).expect("a path").trim());
        match name {
            "nginx" => command.arg("-c").arg(&file),
            _ => command.arg("-W").arg("-f").arg(&file).arg("-p").arg(dir.join("pid")),
        };
        let child = command.spawn().unwrap_or_else(|error| panic!("no {name}: {error}"));
        Self { child, dir: dir.to_owned(), is_nginx: name == "nginx" }
    }

    fn pid(&self) -> String {
        if self.is_nginx { pid(&self.dir) } else { self.child.id().to_string() }
    }

    async fn replace(&self) {
        if self.is_nginx {
            replace_nginx(&self.dir).await;
        } else {
            signal("USR2", &self.pid());
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        signal("TERM", &self.pid());
        let _ = self.child.wait();
    }
}

fn nginx(dir: &Path, [plain, h2, tls]: Ports, upstream: &str) -> String {
    let d = dir.display();
    format!(
        "worker_processes 2; pid {d}/pid; error_log {d}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {d}/body; proxy_temp_path {d}/proxy;
  keepalive_requests 1000000000;
  upstream u {{ server {}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{h2} http2; listen 127.0.0.1:{tls} ssl http2;
    ssl_certificate {d}/c.pem; ssl_certificate_key {d}/c.pem;
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection '';
      proxy_set_header x-authsome-request-id 1;
    }}
  }}
}}",
        host(upstream)
    )
}

fn haproxy(dir: &Path, [plain, h2, tls]: Ports, upstream: &str) -> String {
    let d = dir.display();
    format!(
        "global
  stats socket {d}/sock mode 600 level admin expose-fd listeners
  hard-stop-after 30s
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{h2} proto h2
  bind 127.0.0.1:{tls} ssl crt {d}/c.pem alpn h2,http/1.1
  http-request set-header x-authsome-request-id 1
  default_backend b
backend b
  server s {}
",
        host(upstream)
    )
}

fn host(url: &str) -> &str {
    url.strip_prefix("http://").expect("plain")
}

/// The way its manual gives: a new master, the old one's workers away, the old one away.
async fn replace_nginx(dir: &Path) {
    let old = pid(dir);
    signal("USR2", &old);
    let new = async || Some(pid(dir)).filter(|now| !now.is_empty() && *now != old);
    let new = wait::until("a new master", SOON, new).await;
    let works = async || (!children(&new).is_empty()).then_some(());
    wait::until("the new one's workers", SOON, works).await;
    signal("WINCH", &old);
    signal("QUIT", &old);
}

fn children(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

fn pid(dir: &Path) -> String {
    fs::read_to_string(dir.join("pid")).unwrap_or_default().trim().to_owned()
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), pid]).status();
    assert!(sent.expect("kill runs").success(), "no process {pid}");
}
