//! The TLS listener: both protocols, certificates that change under it, and clients that waste it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use authsome_proxy::config::Certificate;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Harness, eventually};
use crate::wire::Wire;

/// A certificate that is its own authority, in files.
struct Pair {
    der: CertificateDer<'static>,
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl Pair {
    /// For `name`, in the folder; written over what was there.
    fn write(dir: &Path, file: &str, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        let cert_file = dir.join(format!("{file}.crt"));
        let key_file = dir.join(format!("{file}.key"));
        std::fs::write(&key_file, made.signing_key.serialize_pem()).expect("written");
        std::fs::write(&cert_file, made.cert.pem()).expect("written");
        Self { der: made.cert.der().clone(), cert_file, key_file }
    }

    fn certificate(&self) -> Certificate {
        Certificate { cert_file: self.cert_file.clone(), key_file: self.key_file.clone() }
    }
}

/// A client that trusts only this certificate.
pub async fn connect(
    address: SocketAddr,
    name: &'static str,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_by(rustls::ALL_VERSIONS, address, name, trusted, protocols).await
}

async fn connect_by(
    versions: &[&'static rustls::SupportedProtocolVersion],
    address: SocketAddr,
    name: &'static str,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

struct World {
    harness: Harness,
    files: tempfile::TempDir,
    pair: Pair,
}

impl World {
    async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl FnOnce(&Path, &mut authsome_proxy::Config)) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let pair = Pair::write(files.path(), "first", "api.test");
        let harness = Harness::with(|world| {
            let tls = &mut world.config.tls;
            tls.listen = Some(([127, 0, 0, 1], 0).into());
            tls.cert_file = Some(pair.cert_file.clone());
            tls.key_file = Some(pair.key_file.clone());
            change(files.path(), &mut world.config);
        })
        .await;
        Self { harness, files, pair }
    }

    fn address(&self) -> SocketAddr {
        self.harness.proxy.as_ref().expect("running").tls_address().expect("listening")
    }

    async fn get(&self, stream: &mut TlsStream<TcpStream>) -> String {
        let request = format!(
            "GET /v1/app_1/users HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {}\r\n\r\n",
            self.harness.world.secret
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        String::from_utf8(answer).expect("text")
    }

    /// Whether new connections show this certificate.
    async fn shows(&self, pair: &Pair) -> bool {
        connect(self.address(), "api.test", &pair.der, &[]).await.is_ok()
    }
}

#[tokio::test]
async fn http1_passes_and_the_upstream_is_told_https() {
    let world = World::start().await;
    for protocols in [&[][..], &["http/1.1"]] {
        let mut stream = connect(world.address(), "api.test", &world.pair.der, protocols)
            .await
            .expect("trusted");
        for _ in 0..2 {
            assert!(world.get(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(world.harness.upstream.last().header("x-forwarded-proto"), Some("https"));
    }
    let mut plain = world.harness.connect().await;
    assert_eq!(plain.get("/v1/app_1/users", &world.harness.world.secret).await.status, 200);
    assert_eq!(world.harness.upstream.last().header("x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn http2_is_agreed_on() {
    let world = World::start().await;
    let stream = connect(world.address(), "api.test", &world.pair.der, &["h2", "http/1.1"])
        .await
        .expect("trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let request = http::Request::builder()
        .uri("https://api.test/v1/app_1/users")
        .header("authorization", format!("Bearer {}", world.harness.world.secret))
        .body(())
        .expect("a request");
    let mut client = client.ready().await.expect("ready");
    let (answer, _) = client.send_request(request, true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    assert_eq!(world.harness.upstream.last().header("x-forwarded-proto"), Some("https"));
    driver.abort();
}

#[tokio::test]
async fn both_versions_are_spoken() {
    let world = World::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect_by(&[version], world.address(), "api.test", &world.pair.der, &[])
            .await
            .expect("trusted");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert!(world.get(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn framing_is_as_strict() {
    let world = World::start().await;
    let mut stream =
        connect(world.address(), "api.test", &world.pair.der, &[]).await.expect("trusted");
    stream.write_all(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an orderly end");
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("invalid_request"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_under_use() {
    let world = World::start().await;
    let mut kept =
        connect(world.address(), "api.test", &world.pair.der, &[]).await.expect("trusted");
    assert!(world.get(&mut kept).await.starts_with("HTTP/1.1 200"));
    let new = Pair::write(world.files.path(), "first", "api.test");
    eventually("taken up", || world.shows(&new)).await;
    assert!(!world.shows(&world.pair).await, "the old one is no longer shown");
    assert!(world.get(&mut kept).await.starts_with("HTTP/1.1 200"), "open connections go on");
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_the_old_one_stays() {
    let world = World::start().await;
    let failures = || world.harness.metric("authsome_proxy_tls_reload_failures_total");
    std::fs::write(&world.pair.cert_file, "rubbish").expect("written");
    eventually("it was tried", || async { failures().await >= 1 }).await;
    assert!(world.shows(&world.pair).await);
    // A whole pair, but of two halves.
    let other = Pair::write(world.files.path(), "other", "api.test");
    let before = failures().await;
    std::fs::copy(&other.cert_file, &world.pair.cert_file).expect("copied");
    eventually("it was tried", || async { failures().await > before }).await;
    assert!(world.shows(&world.pair).await);
    std::fs::copy(&other.key_file, &world.pair.key_file).expect("copied");
    eventually("taken up once it is right", || world.shows(&other)).await;
}

#[tokio::test]
async fn further_certificates_are_chosen_by_name() {
    let mut second = None;
    let world = World::with(|dir, config| {
        let pair = Pair::write(dir, "second", "other.test");
        config.tls.certificates.push(pair.certificate());
        second = Some(pair);
    })
    .await;
    let second = second.expect("made");
    let address = world.address();
    assert!(connect(address, "other.test", &second.der, &[]).await.is_ok());
    assert!(connect(address, "api.test", &world.pair.der, &[]).await.is_ok());
    assert!(connect(address, "api.test", &second.der, &[]).await.is_err());
}

#[tokio::test]
async fn what_is_not_tls_is_closed() {
    let world = World::start().await;
    let mut wire = Wire::to(world.address()).await;
    wire.send("GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut stream = wire.into_inner();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "no answer in the clear");
    let failures = world.harness.metric("authsome_proxy_tls_handshake_failures_total").await;
    assert_eq!(failures, 1);
}

#[tokio::test]
async fn a_slow_handshake_is_closed() {
    let world = World::with(|_, config| config.tls.handshake_timeout_ms = 100).await;
    let mut silent = Wire::to(world.address()).await;
    assert!(silent.is_closed().await);
    let mut half = Wire::to(world.address()).await;
    half.send(b"\x16\x03\x01\x02\x00\x01\x00").await;
    assert!(half.is_closed().await);
}

#[tokio::test]
async fn a_drain_closes_idle_connections_in_order() {
    let mut world = World::start().await;
    let mut idle =
        connect(world.address(), "api.test", &world.pair.der, &[]).await.expect("trusted");
    assert!(world.get(&mut idle).await.starts_with("HTTP/1.1 200"));
    world.harness.stop().await;
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_client_that_agrees_on_http2_and_does_not_speak_it_is_closed() {
    let world = World::with(|_, config| config.connections.header_timeout_ms = 100).await;
    for begins in ["PRI * HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut stream =
            connect(world.address(), "api.test", &world.pair.der, &["h2"]).await.expect("trusted");
        stream.write_all(begins.as_bytes()).await.expect("sent");
        let mut rest = Vec::new();
        let _ =
            tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_to_end(&mut rest))
                .await
                .expect("closed in time");
        assert!(rest.is_empty(), "{begins:?}");
    }
}
