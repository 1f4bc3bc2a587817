use authsome_shared::api_key::KeyDigest;
use serde_json::json;

use crate::support::{FakeProxy, PASSWORD, TestApp, text};

/// The canary rule: no secret in clear anywhere but in the answer that shows it.
#[tokio::test]
async fn secrets_are_stored_and_published_nowhere() {
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
    for secret in &secrets {
        assert!(secret.len() > 10);
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
}
