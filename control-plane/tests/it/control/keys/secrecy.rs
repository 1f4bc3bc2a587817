use std::cell::RefCell;
use std::io::Write;

use authsome_shared::api_key::KeyDigest;
use serde_json::json;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{FakeProxy, PASSWORD, TestApp, text};

/// The canary rule: no secret in clear anywhere but in the answer that shows it.
#[tokio::test]
async fn secrets_are_stored_published_and_logged_nowhere() {
    capture_log();
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = owner.application(&workspace, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let made = owner.key(&id).await;
    let path = format!("/control/v1/applications/{id}/keys/{}/rotate", text(&made["id"]));
    let rotated = owner.post(&path, json!({ "overlap": "1h" })).await.json(201);
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let invitation = json!({ "email": "invitee@example.com", "role": "viewer" });
    owner.post(&members, invitation).await.is(201);
    let before = app.dump().await;
    app.run_due().await;

    let secrets = [
        text(&application["secretKey"]),
        text(&made["key"]),
        text(&rotated["key"]),
        PASSWORD.to_owned(),
        owner.token.clone().unwrap(),
        owner.refresh_token.clone(),
        app.invitation(),
        app.app.node_token.expose().clone(),
    ];
    let database = before + &app.dump().await;
    let snapshot = format!("{:?}", FakeProxy::new(&app).snapshot().await);
    let wrong = json!({ "email": owner.email(), "password": "canary of a wrong password" });
    app.anonymous().post("/control/v1/auth/login", wrong).await.is(401);
    let log = LOG.with_borrow(|log| String::from_utf8(log.clone().unwrap()).unwrap());
    assert!(!log.contains("canary"), "a wrong password is in the log");
    for secret in &secrets {
        assert!(secret.len() > 10);
        assert!(!log.contains(secret), "a secret is in the log");
        assert!(!database.contains(secret), "a secret is in the database");
        assert!(!snapshot.contains(secret), "a secret is in the snapshot");
        // Nor enough of it to guess the rest.
        let most = &secret[..secret.len() * 2 / 3];
        assert!(!database.contains(most), "most of a secret is in the database");
    }
    // The net has no holes: what should be there is found.
    assert!(database.contains(&KeyDigest::of(&secrets[0]).to_hex()));
    assert!(database.contains(&text(&application["publicKey"])));
    assert!(database.contains("invitee@example.com"));
    assert!(log.contains("answered") && log.contains("/control/v1/auth/login"), "{log}");
}

thread_local! {
    /// What this thread logs, once it asked for it.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Everything that this thread logs from now on, whatever its level.
fn capture_log() {
    let asked = dynamic_filter_fn(|_, _| LOG.with_borrow(Option::is_some));
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| ToLog);
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(asked));
    tracing::subscriber::set_global_default(subscriber).expect("this is the only test that logs");
    LOG.set(Some(vec![]));
}

struct ToLog;

impl Write for ToLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.as_mut().map_or(Ok(bytes.len()), |log| log.write(bytes)))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
