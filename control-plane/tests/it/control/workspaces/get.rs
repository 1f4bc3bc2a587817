use authsome_control_plane::actor::Role;

use crate::support::TestApp;

#[tokio::test]
async fn member_of_other_workspace_gets_404() {
    let app = TestApp::new().await;
    let (owner, stranger) = (app.sign_up("owner").await, app.sign_up("stranger").await);
    let workspace = owner.workspace("pro").await;
    stranger.workspace("pro").await;
    let foreign = stranger.get(&format!("/control/v1/workspaces/{workspace}")).await;
    let mut foreign = foreign.error(404, "not_found");
    let missing = stranger.get("/control/v1/workspaces/ws_doesnotexist").await;
    let mut missing = missing.error(404, "not_found");
    for error in [&mut foreign, &mut missing] {
        error.as_object_mut().unwrap().remove("requestId");
    }
    assert_eq!(foreign, missing, "a foreign one looks exactly like a missing one");
}

#[tokio::test]
async fn what_is_no_id_does_not_exist() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for id in ["x", "app_1", "ws_", "%00", "ws_%00", "ws_%27", "%F0%9F%92%A9", &"w".repeat(9_000)] {
        owner.get(&format!("/control/v1/workspaces/{id}")).await.error(404, "not_found");
    }
}

#[tokio::test]
async fn every_member_sees_the_workspace() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let viewer = app.sign_up("viewer").await;
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &viewer, Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    assert_eq!(viewer.get(&path).await.json(200), owner.get(&path).await.json(200));
}
