use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn metadata_is_merged_and_null_removes() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}", owner.workspace("pro").await);
    let first = json!({ "metadata": { "industry": "technology", "size": "50", "gone": 1 } });
    owner.patch(&path, first).await.is(200);
    app.advance(TimeDelta::minutes(10));
    let change = json!({ "name": "Acme Inc.", "metadata": { "size": "100", "gone": null } });
    let answer = owner.patch(&path, change).await.json(200);
    assert_eq!(answer["name"], "Acme Inc.");
    assert_eq!(answer["slug"], "acme-corporation");
    assert_eq!(answer["metadata"], json!({ "industry": "technology", "size": "100" }));
    assert_eq!(answer["updatedAt"], "2026-03-10T12:10:00Z");
    assert_eq!(owner.get(&path).await.json(200), answer);
}

#[tokio::test]
async fn refusals_name_the_field_and_change_nothing() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}", owner.workspace("pro").await);
    let before = owner.get(&path).await.json(200);
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "B", "metadata": { "a": "x".repeat(20_000) } }), "metadata"),
        (json!({ "name": "B", "metadata": { "a": "\u{0}" } }), "metadata"),
        (json!({ "slug": "other" }), "slug"),
        (json!({ "plan": "enterprise" }), "plan"),
        (json!({ "status": "active" }), "status"),
    ] {
        owner.patch(&path, body).await.assert_invalid(field);
    }
    assert_eq!(owner.get(&path).await.json(200), before);
}

#[tokio::test]
async fn parallel_changes_lose_nothing() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}", owner.workspace("pro").await);
    for round in 1..=4 {
        let change = |n: usize| {
            let mut metadata = serde_json::Map::new();
            metadata.insert(format!("field{round}-{n}"), json!(n));
            owner.patch(&path, json!({ "metadata": metadata }))
        };
        for answer in join_all((0..8).map(change)).await {
            answer.is(200);
        }
        let metadata = owner.get(&path).await.json(200)["metadata"].clone();
        assert_eq!(metadata.as_object().unwrap().len(), 8 * round, "{metadata}");
    }
}
