use authsome_shared::snapshot::Change;
use axum::body::Body;
use axum::http::Method;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn no_body_and_null_end_the_old_key_at_once() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = text(&owner.application(&workspace, json!({})).await["id"]);
    let keys = format!("/control/v1/applications/{application}/keys");
    let mut id = text(&owner.key(&application).await["id"]);
    let before = owner.get(&keys).await.json(200)["total"].clone();
    for body in ["", "null", " null\n", "{}"] {
        let path = format!("{keys}/{id}/rotate");
        let answer = owner.send_text(Method::POST, &path, "application/json", body).await;
        assert_eq!(answer.json(201)["replaces"], id);
        id = text(&answer.json(201)["id"]);
    }
    owner.post(&format!("{keys}/{id}/rotate"), json!([])).await.assert_invalid("body");
    app.advance(chrono::TimeDelta::seconds(1));
    assert!(owner.get(&keys).await.json(200)["total"].as_i64() >= before.as_i64());
}

#[tokio::test]
async fn old_and_new_share_one_bucket_while_they_overlap() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let body = json!({
        "name": "Backend", "type": "secret", "scopes": ["a:b"], "quota": 5,
        "expiresAt": "2027-01-01T00:00:00Z", "metadata": { "team": "core" },
    });
    let old = owner.post(&path, body).await.json(201);
    let old_id = text(&old["id"]);
    let mut stream = FakeProxy::new(&app).follow().await;
    let rotate = format!("{path}/{old_id}/rotate");
    let new = owner.post(&rotate, json!({ "overlap": "24h" })).await.json(201);
    assert_eq!(new["replaces"], old["id"]);
    assert_ne!(new["key"], old["key"]);
    for name in ["name", "type", "scopes", "quota", "metadata", "expiresAt"] {
        assert_eq!(new[name], old[name], "{name}");
    }

    let (_, changes) = stream.delta().await;
    let [Change::Key(ended), Change::Key(successor)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(ended.id.as_str(), old_id);
    assert_eq!(ended.expires_at.unwrap().to_rfc3339(), "2026-03-11T12:00:00+00:00");
    assert_eq!(successor.id.as_str(), new["id"]);
    assert_eq!(successor.bucket.as_str(), old_id);
    assert_eq!(successor.quota, Some(5));

    let list = owner.get(&path).await.json(200);
    assert_eq!(list["data"][2]["expiresAt"], "2026-03-11T12:00:00Z");
    // The line goes on from the first key, however often it is rotated.
    let rotate = format!("{path}/{}/rotate", text(&new["id"]));
    owner.post(&rotate, json!({ "overlap": "1h" })).await.is(201);
    let (_, changes) = stream.delta().await;
    let Change::Key(third) = &changes[1] else { panic!("{changes:?}") };
    assert_eq!(third.bucket.as_str(), old_id);
}

#[tokio::test]
async fn without_an_overlap_the_old_key_is_gone() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let mut stream = FakeProxy::new(&app).follow().await;
    for body in [json!({ "overlap": "0" }), json!({ "overlap": "0s" }), json!({})] {
        let old = text(&owner.key(&id).await["id"]);
        stream.delta().await;
        let rotate = format!("{path}/{old}/rotate");
        let new = owner.post(&rotate, body).await.json(201);
        let (_, changes) = stream.delta().await;
        assert_eq!(changes[0], Change::RemoveKey(old.parse().unwrap()));
        let list = owner.get(&format!("{path}?pageSize=100")).await.json(200);
        let listed = |id: &str| list["data"].as_array().unwrap().iter().any(|key| key["id"] == id);
        assert!(!listed(&old) && listed(&text(&new["id"])));
        owner.post(&rotate, json!({})).await.error(404, "not_found");
    }
}

#[tokio::test]
async fn an_overlap_does_not_outlive_the_keys_own_expiry() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let body = json!({ "name": "A", "type": "secret", "expiresAt": "2026-03-10T12:10:00Z" });
    let key = text(&owner.post(&path, body).await.json(201)["id"]);
    let rotate = format!("{path}/{key}/rotate");
    owner.post(&rotate, json!({ "overlap": "24h" })).await.is(201);
    let list = owner.get(&path).await.json(200);
    assert_eq!(list["data"][2]["expiresAt"], "2026-03-10T12:10:00Z");
    app.advance(TimeDelta::minutes(10));
    owner.post(&rotate, json!({ "overlap": "24h" })).await.error(409, "invalid_state");
}

#[tokio::test]
async fn refusals_name_the_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let rotate = format!("{path}/{}/rotate", text(&owner.key(&id).await["id"]));
    for overlap in ["soon", "-1h", "24", "91d", ""] {
        owner.post(&rotate, json!({ "overlap": overlap })).await.assert_invalid("overlap");
    }
    owner.post(&rotate, json!({ "overlap": 24 })).await.assert_invalid("overlap");
    owner.post(&rotate, json!({ "grace": "24h" })).await.assert_invalid("grace");
    owner.post(&format!("{path}/key_missing/rotate"), json!({})).await.error(404, "not_found");
}

#[tokio::test]
async fn without_a_body_the_old_key_ends_at_once() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let old = text(&owner.key(&id).await["id"]);
    let request = owner.request(Method::POST, &format!("{path}/{old}/rotate"));
    let new = owner.send(request.body(Body::empty()).unwrap()).await.json(201);
    assert_eq!(new["replaces"], old.as_str());
    let list = owner.get(&path).await.json(200);
    assert!(list["data"].as_array().unwrap().iter().all(|key| key["id"] != old.as_str()));
}
