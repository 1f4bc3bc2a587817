//! Certificates of the TLS listener: read from PEM files, chosen by the name that a client asks
//! for, and read again when the files change. A pair that can't be used is reported and the ones in
//! use are kept, so a mistake while renewing takes nothing down. Only at the start it is an error.
//! Accepting and handshakes are the listener's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use prometheus::IntCounter;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// What the TLS listener needs, and what keeps it up to date.
pub struct Tls {
    pub server: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    pairs: ArcSwap<Vec<config::Certificate>>,
    failures: IntCounter,
}

/// Certificates that were read and can be used.
pub struct Checked {
    pairs: Vec<config::Certificate>,
    certificates: Vec<Arc<CertifiedKey>>,
}

#[derive(Debug)]
struct Certificates(ArcSwap<Vec<Arc<CertifiedKey>>>);

/// Tells whether a file is another one than before.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Tls {
    /// Reads the certificates; an error names the file.
    pub fn new(config: &config::Tls, failures: IntCounter) -> anyhow::Result<Self> {
        let pairs = config.pairs();
        let certificates = Arc::new(Certificates(ArcSwap::from_pointee(read_all(&pairs)?)));
        let mut server = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .context("TLS 1.2 and 1.3 are not available")?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        server.ticketer = ring::Ticketer::new().context("can't make session tickets")?;
        Ok(Self {
            server: Arc::new(server),
            certificates,
            pairs: ArcSwap::from_pointee(pairs),
            failures,
        })
    }

    /// Reads the certificates that changed settings name; nothing is used of them yet.
    pub fn check(config: &config::Tls) -> anyhow::Result<Checked> {
        let pairs = config.pairs();
        let certificates = read_all(&pairs)?;
        Ok(Checked { pairs, certificates })
    }

    /// From the next handshake on these are used.
    pub fn replace(&self, checked: Checked) {
        self.pairs.store(Arc::new(checked.pairs));
        self.certificates.0.store(Arc::new(checked.certificates));
    }

    /// Reads the files again whenever they change.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = self.stamps().await;
        loop {
            tokio::time::sleep(POLL).await;
            let now = self.stamps().await;
            if now == seen {
                continue;
            }
            // What changes while it is read shows at the next look.
            seen = now;
            let pairs = self.pairs.load_full();
            let reading = pairs.clone();
            let read = tokio::task::spawn_blocking(move || read_all(&reading)).await;
            match read.context("reading panicked").flatten() {
                // A reload was faster; it has read them.
                _ if !Arc::ptr_eq(&pairs, &self.pairs.load()) => {}
                Ok(certificates) => {
                    self.certificates.0.store(Arc::new(certificates));
                    tracing::info!("took up changed certificates");
                }
                Err(error) => {
                    self.failures.inc();
                    let error = format!("{error:#}");
                    tracing::error!(error, "changed certificates can't be used; the old ones stay");
                }
            }
        }
    }

    async fn stamps(self: &Arc<Self>) -> Vec<Option<Stamp>> {
        let this = self.clone();
        let stamps = move || {
            let pairs = this.pairs.load();
            let files = pairs.iter().flat_map(|pair| [&pair.cert_file, &pair.key_file]);
            files.map(|file| stamp(file)).collect()
        };
        tokio::task::spawn_blocking(stamps).await.unwrap_or_default()
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(file).ok()?;
    Some(Stamp { modified: meta.modified().ok(), length: meta.len(), inode: meta.ino() })
}

fn read_all(pairs: &[config::Certificate]) -> anyhow::Result<Vec<Arc<CertifiedKey>>> {
    pairs.iter().map(|pair| read(pair).map(Arc::new)).collect()
}

/// Says which file is at fault, never what is in it.
fn read(pair: &config::Certificate) -> anyhow::Result<CertifiedKey> {
    let (cert, key) = (&pair.cert_file, &pair.key_file);
    let named = |what: &str, file: &PathBuf| format!("{what} {} can't be used", file.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| named("the certificate", cert))?;
    let Some(first) = chain.first() else {
        bail!("the certificate {} can't be used: no certificate is in it", cert.display());
    };
    ParsedCertificate::try_from(first).with_context(|| named("the certificate", cert))?;
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| named("the key", key))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider())
        .with_context(|| format!("the key {} does not belong to {}", key.display(), cert.display()))
}

impl ResolvesServerCert for Certificates {
    /// The first that is valid for the name asked for, else the first of all.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let named = hello
            .server_name()
            .filter(|_| certificates.len() > 1)
            .and_then(|name| ServerName::try_from(name).ok())
            .and_then(|name| certificates.iter().find(|it| is_for(it, &name)));
        named.or_else(|| certificates.first()).cloned()
    }
}

fn is_for(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certificate
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}
