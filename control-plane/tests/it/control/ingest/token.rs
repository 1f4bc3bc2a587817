//! Who may report.

use std::os::unix::fs::PermissionsExt;

use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::support::{Client, Response, TestApp, text};

const STORAGE: &str = "/control/v1/ingest/storage";

async fn application(app: &TestApp) -> String {
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = text(&owner.application(&workspace, json!({})).await["id"]);
    app.run_due().await;
    application
}

fn report(application: &str) -> Value {
    json!({ "reports": [{ "applicationId": application, "bytes": 7 }] })
}

#[tokio::test]
async fn the_token_is_the_data_directorys_and_private() {
    let app = TestApp::new().await;
    let path = app.app.config.server.data_dir.join("ingest.token");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), *app.app.ingest_token.expose());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(app.app.ingest_token.expose(), app.app.node_token.expose());
    let again = app.ingest().at(&app.reopen().await);
    let application = application(&app).await;
    again.post(STORAGE, report(&application)).await.is(200);
}

#[tokio::test]
async fn a_configured_token_is_the_one_that_lets_in() {
    let token = "a-token-of-the-operators-own";
    let app = TestApp::with(|config| {
        config.metering.ingest_token = authsome_shared::secret::Secret::new(token.into());
    })
    .await;
    assert!(!app.app.config.server.data_dir.join("ingest.token").exists());
    let application = application(&app).await;
    let mut client = app.anonymous();
    client.token = Some(token.into());
    client.post(STORAGE, report(&application)).await.is(200);
}

#[tokio::test]
async fn nobody_else_reports_and_the_token_opens_nothing_else() {
    let app = TestApp::new().await;
    let application = application(&app).await;
    let admin = app.sign_up_admin("admin").await;
    let stranger = app.sign_up("stranger").await;
    let mut wrong = app.anonymous();
    wrong.token = Some("wrong".into());
    for (client, status, code) in [
        (app.anonymous(), 401, "unauthorized"),
        (wrong, 401, "unauthorized"),
        (app.node(), 401, "unauthorized"),
        (stranger, 403, "forbidden"),
    ] {
        client.post(STORAGE, report(&application)).await.error(status, code);
        let path = "/control/v1/ingest/meters/none/events";
        client.post(path, json!({ "events": [] })).await.error(status, code);
    }
    admin.post(STORAGE, report(&application)).await.is(200);
    for path in ["/control/v1/auth/me", "/control/v1/workspaces", "/node/v1/snapshot"] {
        app.ingest().get(path).await.error(401, "unauthorized");
    }
}

#[tokio::test]
async fn the_operators_programs_are_not_limited_as_strangers_are() {
    let app = TestApp::with(|config| config.identity.anonymous_requests_per_minute = 3).await;
    let application = application(&app).await;
    let ingest = app.ingest();
    for _ in 0..10 {
        ingest.post(STORAGE, report(&application)).await.is(200);
    }
    let mut wrong = app.anonymous();
    wrong.token = Some("wrong".into());
    for _ in 0..3 {
        wrong.post(STORAGE, report(&application)).await.is(401);
    }
    wrong.post(STORAGE, report(&application)).await.error(429, "rate_limit_exceeded");
}

async fn keyed(client: &Client, body: &Value) -> Response {
    let request = client
        .request(Method::POST, STORAGE)
        .header("idempotency-key", "batch-1")
        .header(header::CONTENT_TYPE, "application/json");
    client.send(request.body(body.to_string().into()).unwrap()).await
}

#[tokio::test]
async fn a_batch_with_a_key_is_answered_again_only_to_who_shows_the_token() {
    let app = TestApp::new().await;
    let body = report(&application(&app).await);
    let ingest = app.ingest();
    let first = keyed(&ingest, &body).await.json(200);
    let again = keyed(&ingest, &body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.json(200), first);
    // Also from elsewhere: the sender may have moved.
    assert_eq!(keyed(&app.ingest(), &body).await.json(200), first);
    let mut other = ingest.clone();
    other.token = None;
    keyed(&other, &body).await.error(401, "unauthorized");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let app = TestApp::new().await;
    let body = format!("{{\"reports\": [{}]}}", " ".repeat(1024 * 1024));
    let answer = app.ingest().send_text(Method::POST, STORAGE, "application/json", body).await;
    answer.error(413, "payload_too_large");
}
