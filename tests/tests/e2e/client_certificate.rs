//! An upstream that lets nobody in without a client certificate, from the API to its answer, and
//! over a change of the node token that seals the certificate's key.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use authsome_e2e::api::{Api, unlimited_config};
use authsome_e2e::split::Split;
use authsome_e2e::wait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

const CA: &str = include_str!("../../tls/ca.pem");
const CERTIFICATE: &str = include_str!("../../tls/client.pem");
const KEY: &str = include_str!("../../tls/client.key");

/// A server for `upstream.test` that demands a certificate; its URL. Its threads end with the test.
fn demanding() -> String {
    let certificate = |pem: &[u8]| CertificateDer::from_pem_slice(pem).expect("PEM");
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate(include_bytes!("../../tls/client-ca.pem"))).expect("usable");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../tls/server.key")).expect("PEM");
    let config = ServerConfig::builder()
        .with_client_cert_verifier(
            WebPkiClientVerifier::builder(Arc::new(trusted)).build().expect("a verifier"),
        )
        .with_single_cert(vec![certificate(include_bytes!("../../tls/server.pem"))], key)
        .expect("a certificate and its key");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let config = config.clone();
            std::thread::spawn(move || serve(socket, config));
        }
    });
    url
}

fn serve(socket: TcpStream, config: Arc<ServerConfig>) {
    let connection = ServerConnection::new(config).expect("a connection");
    let mut stream = StreamOwned::new(connection, socket);
    let (mut head, mut byte) = (vec![], [0]);
    while let Ok(1) = stream.read(&mut byte) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_demands_a_certificate_is_served_and_survives_another_node_token() {
    let mut split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let mut config = unlimited_config(&demanding());
    config["upstream"]["tls"] = json!({
        "caPem": CA, "sni": "upstream.test", "clientCertPem": CERTIFICATE, "clientKeyPem": KEY,
    });
    // Active: the control plane was let in, too.
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, config).await;
    let caller = split.caller(&application);
    caller.get("/things").await.expect(200);
    split.snapshots_written().await;

    let token = "another-node-token-0123456789abcdefghijklmnop";
    fs::write(split.proxy_dir().join("node.token"), token).expect("written");
    split.proxy().kill_9();
    split.start_proxy().await;
    let refused = caller.get("/things").await.expect(502);
    assert_eq!(refused.text("/error/details/reason"), "client_key");
    let said = split.proxy().stderr();
    assert!(said.contains("client key does not open"), "{said}");

    fs::write(split.control_dir().join("node.token"), token).expect("written");
    split.control().kill_9();
    split.start_control().await;
    wait::until("it is served again", Duration::from_secs(15), async || {
        (caller.get("/things").await.status == 200).then_some(())
    })
    .await;
}
