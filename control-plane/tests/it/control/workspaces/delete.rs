use authsome_control_plane::actor::Role;
use authsome_shared::snapshot::{Change, WorkspaceStatus};
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn only_owners_see_a_deleted_workspace() {
    let app = TestApp::new().await;
    let (owner, admin) = (app.sign_up("owner").await, app.sign_up("admin").await);
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &admin, Role::Admin).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    owner.delete(&path).await.is(204);

    let seen = owner.get(&path).await.json(200);
    assert_eq!(seen["status"], "deleted");
    assert_eq!(seen["deletedAt"], "2026-03-10T12:00:00Z");
    assert_eq!(seen["purgeAt"], "2026-04-09T12:00:00Z");
    admin.get(&path).await.error(404, "not_found");
    assert_eq!(owner.get("/control/v1/workspaces").await.json(200)["total"], 0);

    for client in [&owner, &admin] {
        client.delete(&path).await.error(404, "not_found");
        client.patch(&path, json!({ "name": "B" })).await.error(404, "not_found");
        client.get(&format!("{path}/members")).await.error(404, "not_found");
        client.get(&format!("{path}/applications")).await.error(404, "not_found");
        client.get(&format!("{path}/usage")).await.error(404, "not_found");
    }
}

#[tokio::test]
async fn its_applications_are_suspended_for_the_proxies() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = text(&owner.application(&workspace, json!({})).await["id"]);
    app.run_due().await;
    let mut stream = FakeProxy::new(&app).follow().await;
    owner.delete(&format!("/control/v1/workspaces/{workspace}")).await.is(204);
    let (_, changes) = stream.delta().await;
    let [Change::Workspace(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.status, WorkspaceStatus::Suspended);
    owner.get(&format!("/control/v1/applications/{application}")).await.error(404, "not_found");
}
