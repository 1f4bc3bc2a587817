use authsome_shared::snapshot::Change;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn deleting_holds_at_once_and_once() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let path = format!("/control/v1/applications/{id}");
    let proxy = FakeProxy::new(&app);
    let mut stream = proxy.follow().await;
    owner.delete(&path).await.is(204);
    let (_, changes) = stream.delta().await;
    assert_eq!(changes, [Change::RemoveApplication(id.parse().unwrap())]);
    let known = proxy.snapshot().await.changes;
    assert!(
        !known.iter().any(|change| matches!(change, Change::Application(_) | Change::Key(_))),
        "neither the application nor its keys are known any more: {known:?}"
    );

    owner.delete(&path).await.error(404, "not_found");
    owner.patch(&path, json!({ "name": "B" })).await.error(404, "not_found");
    owner.get(&format!("{path}/keys")).await.error(404, "not_found");
    let body = json!({ "name": "B", "type": "secret" });
    owner.post(&format!("{path}/keys"), body).await.error(404, "not_found");
}

#[tokio::test]
async fn what_never_became_ready_can_be_deleted() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    owner.delete(&path).await.is(204);
    app.run_due().await;
    assert_eq!(owner.get(&path).await.json(200)["status"], "deleted");
}
