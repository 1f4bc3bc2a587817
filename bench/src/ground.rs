//! What all subjects stand on: a folder, the keys, a certificate, the upstream, and for our proxy a
//! control plane of this process. Everything goes with it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::load::closed::HOST;
use crate::process::{LOAD_CORE, Process};
use crate::world::{APPLICATION, World};

/// Bytes of every small answer's body.
const ANSWER: usize = 1_100;

/// Bytes of a large body.
pub const BIG: usize = 10 * 1024 * 1024;

pub struct Ground {
    dir: TempDir,
    pub world: World,
    /// Texts of the keys that are known and not limited.
    pub keys: Arc<[String]>,
    pub upstream: SocketAddr,
    /// Trusts the subjects' certificate.
    pub tls: Arc<ClientConfig>,
    upstream_process: Process,
}

impl Ground {
    pub fn new(keys: usize) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("no folder to work in")?;
        let tls = certificate(dir.path())?;
        fs::write(dir.path().join("big"), vec![b'x'; BIG])?;
        fs::write(dir.path().join("upload.lua"), include_str!("../peers/upload.lua"))?;
        let upstream = free()?;
        let config = dir.path().join("upstream.conf");
        let text = include_str!("../peers/upstream.conf")
            .replace("{dir}", &dir.path().display().to_string())
            .replace("{upstream}", &upstream.to_string())
            .replace("{path}", &format!("/v1/{APPLICATION}"))
            .replace("{answer}", &answer());
        fs::write(&config, text)?;
        // nginx may work as another user.
        allow(dir.path())?;
        let config = config.display().to_string();
        let log = dir.path().join("upstream.out");
        let command = ["nginx", "-c", &config, "-e", "stderr"];
        let mut process = Process::start("upstream", LOAD_CORE, &command, &log)?;
        process.wait_until(|| is_open(upstream))?;
        let world = World::new(keys, upstream);
        Ok(Self {
            keys: world.keys.clone().into(),
            world,
            upstream,
            tls,
            upstream_process: process,
            dir,
        })
    }

    /// What the upstream has run so far.
    pub fn upstream_processor(&self) -> Duration {
        self.upstream_process.processor()
    }

    /// Lets the upstream run before whatever else there is on the machine.
    pub fn upstream_urgent(&self) -> anyhow::Result<()> {
        self.upstream_process.urgent()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of one line per key: what `line` makes of a key's text, its id, and whether it
    /// is the limited one.
    pub fn list(
        &self,
        name: &str,
        line: impl Fn(&str, &str, bool) -> String,
    ) -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(self.path(name))?);
        for (n, key) in self.keys.iter().enumerate() {
            writeln!(file, "{}", line(key, &key_id(n), false))?;
        }
        writeln!(file, "{}", line(&self.world.limited, "key_limited", true))?;
        Ok(file.flush()?)
    }

    /// Writes a peer's settings with what is named in braces filled in.
    pub fn settings(
        &self,
        name: &str,
        template: &str,
        plain: SocketAddr,
        tls: SocketAddr,
    ) -> anyhow::Result<String> {
        let text = template
            .replace("{dir}", &self.dir.path().display().to_string())
            .replace("{upstream}", &self.upstream.to_string())
            .replace("{application}", APPLICATION)
            .replace("{key}", self.keys.first().map_or("", |key| key))
            .replace("{plain}", &plain.to_string())
            .replace("{tls}", &tls.to_string());
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

fn key_id(n: usize) -> String {
    format!("key_{n:022}")
}

/// An address that nobody listens on.
pub fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub fn is_open(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

/// JSON of [`ANSWER`] bytes.
fn answer() -> String {
    let frame = r#"{"id":"usr_1","name":""}"#.len();
    format!(r#"{{"id":"usr_1","name":"{}"}}"#, "a".repeat(ANSWER - frame))
}

/// Writes `cert.pem`, `key.pem` and `both.pem`; gives a client's settings that trust them.
fn certificate(dir: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(dir.join("cert.pem"), &certificate)?;
    fs::write(dir.join("key.pem"), &key)?;
    fs::write(dir.join("both.pem"), format!("{certificate}{key}"))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec()))?;
    // Fails only when a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Lets every user read and write below `dir`.
fn allow(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    Ok(())
}
