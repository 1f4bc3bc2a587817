use authsome_control_plane::actor::Role;
use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn an_application_shows_its_public_key_and_never_its_secret() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let created = owner.application(&workspace, json!({ "quota": { "requests": 5 } })).await;
    app.run_due().await;
    let id = text(&created["id"]);
    let seen = owner.get(&format!("/control/v1/applications/{id}")).await.json(200);
    assert_eq!(seen["status"], "active");
    assert_eq!(seen["config"], json!({ "quota": { "requests": 5 } }));
    assert_eq!(
        seen["dashboardUrl"],
        format!("http://127.0.0.1:8080/dashboard/workspace/{workspace}/app/{id}")
    );
    for name in ["id", "name", "slug", "publicKey", "apiUrl", "createdAt", "workspaceId"] {
        assert_eq!(seen[name], created[name], "{name}");
    }
    assert!(!seen.to_string().contains("sk_live_"));
}

#[tokio::test]
async fn member_of_other_workspace_gets_404() {
    let app = TestApp::new().await;
    let (owner, stranger) = (app.sign_up("owner").await, app.sign_up("stranger").await);
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    stranger.workspace("pro").await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    stranger.get(&path).await.error(404, "not_found");
    stranger.get("/control/v1/applications/app_missing").await.error(404, "not_found");
    owner.get("/control/v1/applications/%00").await.error(404, "not_found");
}

#[tokio::test]
async fn a_deleted_one_is_seen_by_who_may_restore_it() {
    let app = TestApp::new().await;
    let (owner, viewer) = (app.sign_up("owner").await, app.sign_up("viewer").await);
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &viewer, Role::Viewer).await;
    let application = owner.application(&workspace, json!({})).await;
    app.run_due().await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    viewer.get(&path).await.is(200);
    owner.delete(&path).await.is(204);
    viewer.get(&path).await.error(404, "not_found");
    let seen = owner.get(&path).await.json(200);
    assert_eq!(seen["status"], "deleted");
    assert_eq!(seen["deletedAt"], "2026-03-10T12:00:00Z");
    assert_eq!(seen["purgeAt"], "2026-03-17T12:00:00Z");
}
