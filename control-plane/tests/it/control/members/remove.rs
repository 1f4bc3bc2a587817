use authsome_control_plane::actor::Role;
use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn a_removed_member_is_out_at_once() {
    let app = TestApp::new().await;
    let (owner, member) = (app.sign_up("owner").await, app.sign_up("member").await);
    let workspace = owner.workspace("pro").await;
    let id = app.add_member(&workspace, &member, Role::Admin).await;
    let path = format!("/control/v1/workspaces/{workspace}/members/{id}");
    owner.delete(&path).await.is(204);
    member.get(&format!("/control/v1/workspaces/{workspace}")).await.error(404, "not_found");
    owner.delete(&path).await.error(404, "not_found");
}

#[tokio::test]
async fn anybody_may_leave_but_the_last_owner() {
    let app = TestApp::new().await;
    let (owner, viewer) = (app.sign_up("owner").await, app.sign_up("viewer").await);
    let workspace = owner.workspace("pro").await;
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let viewer_id = app.add_member(&workspace, &viewer, Role::Viewer).await;
    let owner_id = text(&owner.get(&members).await.json(200)["data"][0]["id"]);
    viewer.delete(&format!("{members}/{owner_id}")).await.error(403, "forbidden");
    owner.delete(&format!("{members}/{owner_id}")).await.error(409, "last_owner");
    viewer.delete(&format!("{members}/{viewer_id}")).await.is(204);
    viewer.get(&members).await.error(404, "not_found");
}

#[tokio::test]
async fn an_invitation_can_be_taken_back() {
    let app = TestApp::new().await;
    let (owner, invitee) = (app.sign_up("owner").await, app.sign_up("invitee").await);
    let workspace = owner.workspace("pro").await;
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let body = json!({ "email": "invitee@example.com", "role": "viewer" });
    let id = text(&owner.post(&members, body).await.json(201)["id"]);
    app.run_due().await;
    let token = app.invitation();
    owner.delete(&format!("{members}/{id}")).await.is(204);
    let accept = json!({ "token": token });
    invitee.post("/control/v1/invitations/accept", accept).await.error(404, "not_found");
}
