use authsome_shared::api_key::KeyDigest;
use authsome_shared::snapshot::{ApplicationStatus, Change};
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn a_restored_application_is_provisioned_and_its_keys_work_again() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let path = format!("/control/v1/applications/{id}");
    let revoked = text(&owner.key(&id).await["id"]);
    owner.delete(&format!("{path}/keys/{revoked}")).await.is(204);
    owner.delete(&path).await.is(204);

    let mut stream = FakeProxy::new(&app).follow().await;
    let answer = owner.post(&format!("{path}/restore"), json!({})).await.json(200);
    assert_eq!(answer["status"], "provisioning");
    assert_eq!(answer["publicKey"], application["publicKey"]);
    assert!(answer.get("deletedAt").is_none() && answer.get("purgeAt").is_none());

    let (_, changes) = stream.delta().await;
    let [Change::Application(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.status, ApplicationStatus::Provisioning);
    let (_, changes) = stream.delta().await;
    let digests: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Key(key) => key.digest,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = ["publicKey", "secretKey"].map(|name| KeyDigest::of(&text(&application[name])));
    assert_eq!(digests, expected, "all but the revoked one");

    app.run_due().await;
    assert_eq!(owner.get(&path).await.json(200)["status"], "active");
}

#[tokio::test]
async fn what_is_not_deleted_cannot_be_restored() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    let path = format!("/control/v1/applications/{}/restore", text(&application["id"]));
    owner.post(&path, json!({})).await.error(409, "invalid_state");
    app.run_due().await;
    owner.post(&path, json!({})).await.error(409, "invalid_state");
}
