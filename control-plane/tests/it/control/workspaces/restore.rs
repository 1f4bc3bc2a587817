use authsome_shared::snapshot::{Change, WorkspaceStatus};
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn restoring_brings_all_of_it_back() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = text(&owner.application(&workspace, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let before = owner.get(&path).await.json(200);
    owner.delete(&path).await.is(204);
    app.advance(TimeDelta::days(29));
    app.housekeeping().await;

    let mut owner = owner;
    let refresh = json!({ "refreshToken": owner.refresh_token });
    owner.be(&owner.post("/control/v1/auth/refresh", refresh).await.json(200));
    let mut stream = FakeProxy::new(&app).follow().await;
    let mut answer = owner.post(&format!("{path}/restore"), json!({})).await.json(200);
    assert_eq!(owner.get(&path).await.json(200), answer);
    answer["updatedAt"] = before["updatedAt"].clone();
    assert_eq!(answer, before);
    let (_, changes) = stream.delta().await;
    let [Change::Workspace(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.status, WorkspaceStatus::Active);
    let application = owner.get(&format!("/control/v1/applications/{application}")).await;
    assert_eq!(application.json(200)["status"], "active");
}

#[tokio::test]
async fn what_is_not_deleted_cannot_be_restored() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}", owner.workspace("pro").await);
    owner.post(&format!("{path}/restore"), json!({})).await.error(409, "invalid_state");
}
