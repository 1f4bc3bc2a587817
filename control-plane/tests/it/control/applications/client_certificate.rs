//! The certificate that proxies show an upstream, and what becomes of its key.

use authsome_control_plane::app::App;
use authsome_shared::envelope::Envelope;
use authsome_shared::secret::Secret;
use authsome_shared::snapshot::{Change, UpstreamTls};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::{Client, FakeProxy, TestApp, text};

const CERTIFICATE: &str = include_str!("../../../../../tests/tls/client.pem");
const KEY: &str = include_str!("../../../../../tests/tls/client.key");
const OTHER_KEY: &str = include_str!("../../../../../tests/tls/server.key");

fn config(tls: &Value) -> Value {
    json!({ "upstream": { "urls": ["https://api.example.com"], "tls": tls } })
}

/// An application that shows the certificate; its path and id.
async fn application(app: &TestApp, owner: &Client) -> (Value, String, String) {
    let tls = json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": KEY });
    let made = owner.application(&owner.workspace("pro").await, config(&tls)).await;
    app.leave_jobs();
    let id = text(&made["id"]);
    let path = format!("/control/v1/applications/{id}");
    (made, path, id)
}

fn der() -> Vec<u8> {
    PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap().secret_der().to_vec()
}

/// The lines of the key between its first and its last.
fn body() -> Vec<&'static str> {
    KEY.lines().filter(|line| !line.contains("-----")).collect()
}

/// What the proxies get.
async fn wire(app: &TestApp) -> UpstreamTls {
    let changes = FakeProxy::new(app).snapshot().await.changes;
    let found = changes.into_iter().find_map(|change| match change {
        Change::Application(application) => application.upstream,
        _ => None,
    });
    found.expect("an application with an upstream").tls
}

#[tokio::test]
async fn the_key_is_never_shown_again_and_lies_nowhere_in_clear() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let (made, path, id) = application(&app, &owner).await;
    let tls = &made["config"]["upstream"]["tls"];
    let fingerprint = text(&tls["clientKeyFingerprint"]);
    assert_eq!(fingerprint.len(), 64);
    let shown = json!({
        "clientCertPem": CERTIFICATE, "clientKeySet": true, "clientKeyFingerprint": fingerprint,
    });
    assert_eq!(*tls, shown);
    assert_eq!(owner.get(&path).await.json(200)["config"]["upstream"]["tls"], shown);
    let list = format!("/control/v1/workspaces/{}/applications", text(&made["workspaceId"]));
    let listed = owner.get(&list).await.json(200);
    assert_eq!(listed["data"][0]["config"]["upstream"]["tls"], shown);

    let dump = app.dump().await;
    assert!(dump.contains(&fingerprint), "the dump holds the application");
    let digits = hex::encode(der());
    assert!(!dump.contains(&digits) && !body().iter().any(|line| dump.contains(line)));
    let wire = wire(&app).await;
    assert_eq!(wire.client_cert_pem.as_deref(), Some(CERTIFICATE));
    let sealed = wire.client_key.expect("sealed");
    let envelope = Envelope::new(app.app.node_token.expose());
    assert_eq!(envelope.open(&id, &sealed), Some(der()), "proxies can open it");
    assert_eq!(envelope.open("app_1", &sealed), None, "for this application only");
}

#[tokio::test]
async fn a_change_keeps_the_key_and_null_removes_it() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let (made, path, id) = application(&app, &owner).await;
    let before = wire(&app).await;
    // What was shown may come back as it is.
    let change = json!({ "config": made["config"] });
    let changed = owner.patch(&path, change).await.json(200);
    assert_eq!(changed["config"], made["config"]);
    let change = json!({ "config": { "upstream": { "tls": { "sni": "api.internal" } } } });
    owner.patch(&path, change).await.json(200);
    let now = wire(&app).await;
    assert_eq!((now.client_key, now.sni.as_deref()), (before.client_key, Some("api.internal")));

    // The same key given again is another ciphertext.
    let tls = json!({ "clientKeyPem": KEY });
    let change = json!({ "config": { "upstream": { "tls": tls } } });
    owner.patch(&path, change).await.json(200);
    let sealed = wire(&app).await.client_key.expect("sealed");
    assert_eq!(Envelope::new(app.app.node_token.expose()).open(&id, &sealed), Some(der()));

    let alone = json!({ "config": { "upstream": { "tls": { "clientKeyPem": null } } } });
    owner.patch(&path, alone).await.assert_invalid("config.upstream.tls.clientKeyPem");
    let both = json!({ "clientKeyPem": null, "clientCertPem": null });
    let change = json!({ "config": { "upstream": { "tls": both } } });
    let changed = owner.patch(&path, change).await.json(200);
    assert_eq!(changed["config"]["upstream"]["tls"], json!({ "sni": "api.internal" }));
    assert_eq!(wire(&app).await.client_key, None);
}

#[tokio::test]
async fn what_is_no_pair_is_refused_by_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/applications", owner.workspace("pro").await);
    let locked = KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let both = format!("{CERTIFICATE}{KEY}");
    for (tls, field) in [
        (json!({ "clientCertPem": CERTIFICATE }), "clientKeyPem"),
        (json!({ "clientKeyPem": KEY }), "clientCertPem"),
        (json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": OTHER_KEY }), "clientKeyPem"),
        (json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": locked }), "clientKeyPem"),
        (json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": CERTIFICATE }), "clientKeyPem"),
        (json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": "" }), "clientKeyPem"),
        (json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": 7 }), "clientKeyPem"),
        (json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": KEY.repeat(400) }), "clientKeyPem"),
        (json!({ "clientCertPem": "hello", "clientKeyPem": KEY }), "clientCertPem"),
        (json!({ "clientCertPem": both, "clientKeyPem": KEY }), "clientCertPem"),
        (json!({ "clientKey": { "own": "", "proxies": "", "fingerprint": "" } }), "clientKey"),
    ] {
        let body = json!({ "name": "A", "config": config(&tls) });
        let answer = owner.post(&path, body).await;
        answer.assert_invalid(&format!("config.upstream.tls.{field}"));
    }
    assert_eq!(app.number("select count(*) from applications").await, 0);
}

#[tokio::test]
async fn another_node_token_has_every_key_sealed_anew() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let (made, path, id) = application(&app, &owner).await;
    let revision = app.revision().await;
    app.reopen().await;
    assert_eq!(app.revision().await, revision, "with the same token nothing changes");

    let token = "another-token-of-the-same-platform-0123456789";
    let mut config = app.app.config.clone();
    config.nodes.token = Secret::new(token.to_owned());
    App::open(config, app.clock.clone()).await.unwrap();
    assert_eq!(app.revision().await, revision + 1, "connected proxies are told");
    let sealed = wire(&app).await.client_key.expect("sealed");
    assert_eq!(Envelope::new(token).open(&id, &sealed), Some(der()));
    assert_eq!(Envelope::new(app.app.node_token.expose()).open(&id, &sealed), None);
    assert_eq!(owner.get(&path).await.json(200)["config"], made["config"]);
}
