//! `https` upstreams with an authority and a name of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use authsome_shared::envelope::Envelope;
use authsome_shared::snapshot::encoding::decode;
use authsome_shared::snapshot::{Change, HealthCheck, UpstreamTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::control::TOKEN;
use crate::harness::{Harness, eventually, key};

const CA: &str = include_str!("../../../tests/tls/ca.pem");
const OTHER_CA: &str = include_str!("../../../tests/tls/other.pem");
const USERS: &str = "/v1/app_1/users";

/// A server for `upstream.test`. Its threads end with the test's process.
struct Secure {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Secure {
    fn start() -> Self {
        Self::with(WebPkiClientVerifier::no_client_auth())
    }

    /// One that lets nobody in without a certificate of the tests' client authority.
    fn demanding() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut trusted = RootCertStore::empty();
        let authority = include_bytes!("../../../tests/tls/client-ca.pem");
        trusted.add(CertificateDer::from_pem_slice(authority).expect("PEM")).expect("usable");
        Self::with(WebPkiClientVerifier::builder(Arc::new(trusted)).build().expect("a verifier"))
    }

    fn with(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = include_bytes!("../../../tests/tls/server.pem");
        let key = include_bytes!("../../../tests/tls/server.key");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate).expect("PEM")],
                PrivateKeyDer::from_pem_slice(key).expect("PEM"),
            )
            .expect("a certificate and its key");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let (config, counted) = (config.clone(), counted.clone());
                std::thread::spawn(move || serve(socket, config, &counted));
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Answers request after request with the name that was asked for.
fn serve(socket: TcpStream, config: Arc<ServerConfig>, requests: &AtomicUsize) {
    let connection = ServerConnection::new(config).expect("a connection");
    let mut stream = StreamOwned::new(connection, socket);
    let (mut head, mut byte) = (vec![], [0]);
    while let Ok(1) = stream.read(&mut byte) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            requests.fetch_add(1, Ordering::SeqCst);
            let name = stream.conn.server_name().unwrap_or("none").to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn tls(ca: Option<&str>, sni: Option<&str>) -> UpstreamTls {
    UpstreamTls {
        ca_pem: ca.map(str::to_owned),
        sni: sni.map(str::to_owned),
        ..UpstreamTls::default()
    }
}

#[tokio::test]
async fn an_upstream_is_verified_by_its_own_authority_and_name() {
    let secure = Secure::start();
    let url = secure.url();
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().tls = tls(Some(CA), Some("upstream.test"));
    })
    .await;
    let mut wire = harness.connect().await;
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.body), (200, &b"upstream.test"[..]));

    // Each change would find the kept connection, if trust did not keep connections apart.
    for wrong in [
        tls(Some(OTHER_CA), Some("upstream.test")),
        tls(Some(CA), Some("another.test")),
        tls(Some(CA), None),
        tls(None, Some("upstream.test")),
        tls(None, None),
    ] {
        let mut application = harness.world.application.clone();
        application.upstream.as_mut().expect("set").tls = wrong.clone();
        harness.change(vec![Change::Application(Box::new(application))]).await;
        let answer = harness.connect().await.get(USERS, &harness.world.secret).await;
        assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"), "{wrong:?}");
        assert_eq!(answer.json()["error"]["details"]["reason"], "tls", "{wrong:?}");
    }
    assert_eq!(secure.requests(), 1);
}

#[tokio::test]
async fn a_connection_is_not_shared_with_an_application_that_trusts_another_authority() {
    let secure = Secure::start();
    let url = secure.url();
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().tls = tls(Some(CA), Some("upstream.test"));
    })
    .await;
    let mut other = harness.world.application.clone();
    other.id = "app_2".parse().expect("an id");
    other.upstream.as_mut().expect("set").tls = tls(Some(OTHER_CA), Some("upstream.test"));
    let (mut others_key, secret) = key("key_2");
    others_key.application = other.id.clone();
    let changes = [Change::Application(Box::new(other)), Change::Key(Box::new(others_key))];
    harness.change(changes.to_vec()).await;

    let mut wire = harness.connect().await;
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    let answer = harness.connect().await.get("/v1/app_2/users", &secret).await;
    assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"));
    assert_eq!(secure.requests(), 1);
}

#[tokio::test]
async fn health_checks_verify_like_requests() {
    let secure = Secure::start();
    let url = secure.url();
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().tls = tls(Some(CA), Some("upstream.test"));
        world.upstream().health_check =
            Some(HealthCheck { interval_ms: 100, ..HealthCheck::default() });
    })
    .await;
    let well = "authsome_proxy_upstream_health_checks_total{outcome=\"healthy\"}";
    eventually("checked", || async { harness.metric(well).await > 0 }).await;
    let mut application = harness.world.application.clone();
    application.upstream.as_mut().expect("set").tls = tls(Some(OTHER_CA), Some("upstream.test"));
    harness.change(vec![Change::Application(Box::new(application))]).await;
    let state = "authsome_proxy_upstream_urls{state=\"unhealthy\"}";
    eventually("it is found unhealthy", || async { harness.metric(state).await == 1 }).await;
}

fn client_key() -> Vec<u8> {
    let pem = include_bytes!("../../../tests/tls/client.key");
    PrivateKeyDer::from_pem_slice(pem).expect("PEM").secret_der().to_vec()
}

/// With a client certificate whose key is sealed by this token.
fn with_client(token: &str, application: &str) -> UpstreamTls {
    UpstreamTls {
        client_cert_pem: Some(include_str!("../../../tests/tls/client.pem").into()),
        client_key: Some(Envelope::new(token).seal(application, &client_key())),
        ..tls(Some(CA), Some("upstream.test"))
    }
}

#[tokio::test]
async fn an_upstream_that_demands_a_certificate_gets_the_applications() {
    let secure = Secure::demanding();
    let url = secure.url();
    let mut harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().tls = with_client(TOKEN, "app_1");
        world.upstream().health_check =
            Some(HealthCheck { interval_ms: 100, ..HealthCheck::default() });
    })
    .await;
    let well = "authsome_proxy_upstream_health_checks_total{outcome=\"healthy\"}";
    eventually("checked", || async { harness.metric(well).await > 0 }).await;
    assert_eq!(harness.connect().await.get(USERS, &harness.world.secret).await.status, 200);
    // From disk, with nobody to ask.
    harness.control.set_up(false);
    harness.stop().await;
    harness.restart().await;
    assert_eq!(harness.connect().await.get(USERS, &harness.world.secret).await.status, 200);
    for entry in std::fs::read_dir(harness.snapshots()).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("read");
        let text = match decode(&bytes) {
            Ok(decoded) => serde_json::to_string(&decoded.changes).expect("JSON"),
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let pem = include_str!("../../../tests/tls/client.key");
        let mut lines = pem.lines().filter(|line| !line.contains("-----"));
        assert!(!lines.any(|line| text.contains(line)), "the key lies on the disk in clear");
        let der = client_key();
        assert!(!bytes.windows(der.len()).any(|it| it == der));
    }

    harness.control.set_up(true);
    harness.ready().await;
    let mut application = harness.world.application.clone();
    let none = tls(Some(CA), Some("upstream.test"));
    application.upstream.as_mut().expect("set").tls = none;
    harness.change(vec![Change::Application(Box::new(application))]).await;
    let answer = harness.connect().await.get(USERS, &harness.world.secret).await;
    assert_eq!(answer.status, 502, "no connection that another had shown a certificate on");
}

#[tokio::test]
async fn a_client_key_that_does_not_open_fails_its_application_alone_and_is_reported() {
    let secure = Secure::demanding();
    let url = secure.url();
    let harness = Harness::with(|_| {}).await;
    let mut other = harness.world.application.clone();
    other.id = "app_2".parse().expect("an id");
    let (mut others_key, secret) = key("key_2");
    others_key.application = other.id.clone();
    let upstream = other.upstream.as_mut().expect("set");
    upstream.urls = vec![url];
    upstream.tls = with_client("the token before this one", "app_2");
    let changes = [Change::Application(Box::new(other.clone())), Change::Key(Box::new(others_key))];
    harness.change(changes.to_vec()).await;
    assert_eq!(harness.control.last_ack().expect("acknowledged").quarantined, 1);
    let answer = harness.connect().await.get("/v1/app_2/users", &secret).await;
    assert_eq!((answer.status, &*answer.code()), (502, "bad_gateway"));
    assert_eq!(answer.json()["error"]["details"]["reason"], "client_key");
    assert_eq!(harness.connect().await.get(USERS, &harness.world.secret).await.status, 200);

    other.upstream.as_mut().expect("set").tls = with_client(TOKEN, "app_2");
    harness.change(vec![Change::Application(Box::new(other))]).await;
    assert_eq!(harness.connect().await.get("/v1/app_2/users", &secret).await.status, 200);
}
