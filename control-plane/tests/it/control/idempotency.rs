//! `Idempotency-Key`: a `POST` that is sent again has one effect and one answer.

use axum::http::{Method, header};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::access::{Scene, body};
use super::openapi::operations;
use crate::support::{Client, PASSWORD, Response, TestApp, text, within};

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Response {
    let request = client
        .request(Method::POST, path)
        .header("idempotency-key", key)
        .header(header::CONTENT_TYPE, "application/json");
    client.send(request.body(body.to_string().into()).unwrap()).await
}

fn is_replayed(response: &Response) -> bool {
    response.header("idempotency-replayed") == Some("true")
}

const CHANGES: &str = "select count(*) from audit_entries";

#[tokio::test]
async fn every_post_sent_again_has_one_effect_and_one_answer() {
    let app = TestApp::with(|config| {
        config.identity.logins_per_minute = 1_000;
        config.identity.mail_tokens_per_minute = 1_000;
    })
    .await;
    app.leave_jobs();
    let mut owner = app.sign_up_admin("owner").await;
    let bystander = app.sign_up("bystander").await;
    let mut succeeded = 0;
    for (n, (template, method, operation)) in operations().into_iter().enumerate() {
        if method != "POST" {
            continue;
        }
        let id = text(&operation["operationId"]);
        // Anew each time: some operations end sessions.
        let login = json!({ "email": owner.email(), "password": PASSWORD });
        owner.be(&app.anonymous().post("/control/v1/auth/login", login.clone()).await.json(200));
        let scene = Scene::of(&app, &owner, &bystander, &template, &id).await;
        let path = scene.path(&template);
        let mut caller = owner.clone();
        caller.be(&app.anonymous().post("/control/v1/auth/login", login).await.json(200));
        let body = scene.filled(&body(&id, 1_000 + n, &caller.refresh_token));
        let key = format!("key-{n}");

        let first = post(&caller, &path, &key, &body).await;
        assert!(!is_replayed(&first), "{id}: {first}");
        let changes = app.number(CHANGES).await;
        let again = post(&caller, &path, &key, &body).await;
        assert_eq!(again.status, first.status, "{id}: {again}");
        if first.status < 300 {
            succeeded += 1;
            assert_eq!(again.body, first.body, "{id}");
            assert!(is_replayed(&again), "{id} was done twice: {again}");
            assert_eq!(app.number(CHANGES).await, changes, "{id} had a second effect");
        }
    }
    assert!(succeeded >= 10, "only {succeeded} operations succeeded");
}

#[tokio::test]
async fn a_key_of_another_request_is_a_conflict() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = "/control/v1/workspaces";
    post(&owner, path, "one", &json!({ "name": "A" })).await.json(201);
    post(&owner, path, "one", &json!({ "name": "B" })).await.error(409, "idempotency_conflict");
    post(&owner, path, "two", &json!({ "name": "B" })).await.json(201);
    assert_eq!(owner.get(path).await.json(200)["total"], 2);
}

#[tokio::test]
async fn keys_of_different_callers_are_different() {
    let app = TestApp::new().await;
    let path = "/control/v1/workspaces";
    for name in ["ada", "bob"] {
        let caller = app.sign_up(name).await;
        let answer = post(&caller, path, "one", &json!({ "name": name })).await;
        assert!(!is_replayed(&answer));
        assert_eq!(answer.json(201)["ownerId"], caller.id());
    }
}

#[tokio::test]
async fn of_parallel_requests_with_one_key_one_has_the_effect() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    let body = json!({ "name": "Production", "slug": "production" });
    let requests = (0..20).map(|_| post(&owner, &path, "once", &body));
    let answers = within(futures_util::future::join_all(requests)).await;
    let first = answers[0].json(202);
    assert!(answers.iter().all(|answer| answer.json(202) == first));
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert_eq!(owner.get(&path).await.json(200)["total"], 1);
}

#[tokio::test]
async fn a_refresh_sent_again_keeps_the_session() {
    let app = TestApp::new().await;
    let mut user = app.sign_up("ada").await;
    let path = "/control/v1/auth/refresh";
    let body = json!({ "refreshToken": user.refresh_token });
    let anonymous = app.anonymous();
    let requests = (0..10).map(|_| post(&anonymous, path, "refresh-1", &body));
    let answers = within(futures_util::future::join_all(requests)).await;
    let pair = answers[0].json(200);
    assert!(answers.iter().all(|answer| answer.json(200) == pair));
    user.be(&pair);
    user.get("/control/v1/auth/me").await.json(200);
}

#[tokio::test]
async fn a_request_that_failed_is_tried_again() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = "/control/v1/workspaces";
    let taken = owner.post(path, json!({ "name": "A", "slug": "taken" })).await.json(201);
    let body = json!({ "name": "B", "slug": "taken" });
    post(&owner, path, "one", &body).await.error(409, "already_exists");
    owner.delete(&format!("{path}/{}", text(&taken["id"]))).await.is(204);
    app.advance(TimeDelta::days(31));
    app.bill().await;
    app.housekeeping().await;
    let login = json!({ "email": owner.email(), "password": PASSWORD });
    let mut owner = owner;
    owner.be(&app.anonymous().post("/control/v1/auth/login", login).await.json(200));
    let answer = post(&owner, path, "one", &body).await;
    assert!(!is_replayed(&answer));
    answer.json(201);
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day() {
    let app = TestApp::with(|config| config.identity.access_token_seconds = 1_000_000).await;
    let owner = app.sign_up("owner").await;
    let path = "/control/v1/workspaces";
    let first = post(&owner, path, "one", &json!({ "name": "A" })).await.json(201);
    app.advance(TimeDelta::hours(23));
    assert_eq!(post(&owner, path, "one", &json!({ "name": "A" })).await.json(201), first);
    app.advance(TimeDelta::hours(2));
    assert_ne!(post(&owner, path, "one", &json!({ "name": "A" })).await.json(201), first);
    app.advance(TimeDelta::hours(25));
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from idempotency_keys").await, 0);
}

#[tokio::test]
async fn a_stored_answer_is_sealed_and_only_for_a_session_that_stands() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = text(&owner.application(&workspace, json!({})).await["id"]);
    let path = format!("/control/v1/applications/{application}/keys");
    let body = json!({ "name": "Backend", "type": "secret" });
    let key = text(&post(&owner, &path, "one", &body).await.json(201)["key"]);
    assert!(!app.dump().await.contains(&key), "the key is in the database in clear");

    owner.post("/control/v1/auth/logout", json!({})).await.is(204);
    post(&owner, &path, "one", &body).await.error(401, "unauthorized");
}

#[tokio::test]
async fn a_malformed_key_is_refused_by_name() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for key in ["", " ", "a b", "schl\u{fc}ssel", &"k".repeat(256)] {
        let answer = post(&owner, "/control/v1/workspaces", key, &json!({ "name": "A" })).await;
        answer.assert_invalid("Idempotency-Key");
    }
    assert_eq!(owner.get("/control/v1/workspaces").await.json(200)["total"], 0);
}
