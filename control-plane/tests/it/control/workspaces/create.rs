use futures_util::future::join_all;
use serde_json::json;

use crate::support::{TestApp, fields};

const PATH: &str = "/control/v1/workspaces";

#[tokio::test]
async fn creating_makes_the_caller_its_owner() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let body = json!({ "name": " Acme Corporation ", "slug": "acme-corp", "plan": "pro" });
    let answer = owner.post(PATH, body).await.json(201);
    let id = answer["id"].as_str().unwrap();
    assert!(id.starts_with("ws_"));
    assert_eq!(
        answer,
        json!({
            "id": id, "name": "Acme Corporation", "slug": "acme-corp", "plan": "pro",
            "status": "active", "ownerId": owner.id(), "metadata": {},
            "createdAt": "2026-03-10T12:00:00Z", "updatedAt": "2026-03-10T12:00:00Z",
        })
    );
    let members = owner.get(&format!("{PATH}/{id}/members")).await.json(200);
    assert_eq!(members["total"], 1);
    assert_eq!(members["data"][0]["userId"], owner.id());
    assert_eq!(members["data"][0]["role"], "owner");
}

#[tokio::test]
async fn plan_and_slug_have_defaults() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for (name, slug) in [
        ("Acme Corporation", "acme-corporation"),
        ("Acme Corporation", "acme-corporation-2"),
        ("ACME, Corporation!", "acme-corporation-3"),
        ("株式会社", "workspace"),
    ] {
        let answer = owner.post(PATH, json!({ "name": name })).await.json(201);
        assert_eq!((&answer["slug"], &answer["plan"]), (&json!(slug), &json!("free")));
    }
}

#[tokio::test]
async fn a_slug_is_taken_once() {
    let app = TestApp::new().await;
    let (owner, other) = (app.sign_up("owner").await, app.sign_up("other").await);
    owner.post(PATH, json!({ "name": "A", "slug": "acme" })).await.is(201);
    other.post(PATH, json!({ "name": "B", "slug": "acme" })).await.error(409, "already_exists");
    let parallel = (0..8).map(|_| owner.post(PATH, json!({ "name": "C", "slug": "race" })));
    let answers = join_all(parallel).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 7);
}

#[tokio::test]
async fn refusals_name_the_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let many: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!(n))).collect();
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "x".repeat(201) }), "name"),
        (json!({ "name": "a\nb" }), "name"),
        (json!({ "name": "A", "slug": "Not a slug" }), "slug"),
        (json!({ "name": "A", "slug": "" }), "slug"),
        (json!({ "name": "A", "slug": "x".repeat(64) }), "slug"),
        (json!({ "name": "A", "plan": "platinum" }), "plan"),
        (json!({ "name": "A", "metadata": [] }), "metadata"),
        (json!({ "name": "A", "metadata": many }), "metadata"),
        (json!({ "name": "A", "metadata": { "a": "x".repeat(20_000) } }), "metadata"),
        (json!({ "name": "A", "metadata": { "a": "\u{0}" } }), "metadata"),
        (json!({ "name": "A", "metadata": { "\u{0}": 1 } }), "metadata"),
        (json!({ "name": "A", "metadata": { "a": [{ "b": "\u{0}" }] } }), "metadata"),
        (json!({ "name": "A", "ownerId": "usr_1" }), "ownerId"),
    ] {
        owner.post(PATH, body).await.assert_invalid(field);
    }
}

#[tokio::test]
async fn metadata_comes_back_as_given() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let metadata = json!({ "text": "ünïcode \u{1}", "n": 1.5, "list": [1, null, { "a": true }] });
    let body = json!({ "name": "A", "metadata": metadata });
    let answer = owner.post(PATH, body).await.json(201);
    assert_eq!(answer["metadata"], metadata);
    let path = format!("{PATH}/{}", answer["id"].as_str().unwrap());
    assert_eq!(owner.get(&path).await.json(200)["metadata"], metadata);
}

#[tokio::test]
async fn the_enterprise_plan_is_the_operators_to_give() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let body = json!({ "name": "A", "plan": "enterprise" });
    owner.post(PATH, body.clone()).await.error(403, "forbidden");
    let admin = app.sign_up_admin("admin").await;
    let answer = admin.post(PATH, body).await.json(201);
    assert_eq!(answer["plan"], "enterprise");
    assert_eq!(fields(&answer).len(), 9);
}
