use authsome_control_plane::actor::Role;
use serde_json::json;

use crate::support::{TestApp, fields};

#[tokio::test]
async fn inviting_answers_the_member_to_be_and_sends_a_mail() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/members");
    let body = json!({ "email": " Developer@Acme.com ", "role": "developer" });
    let answer = owner.post(&path, body).await.json(201);
    assert_eq!(
        fields(&answer),
        ["email", "id", "invitedAt", "invitedBy", "role", "status", "updatedAt", "workspaceId"]
    );
    assert_eq!(answer["email"], "developer@acme.com");
    assert_eq!((&answer["role"], &answer["status"]), (&json!("developer"), &json!("invited")));
    assert_eq!(answer["invitedBy"], owner.id());
    assert_eq!(answer["invitedAt"], "2026-03-10T12:00:00Z");

    assert!(app.mails().is_empty(), "mail goes out after the commit, by a job");
    app.run_due().await;
    let [mail] = &app.mails()[..] else { panic!("one mail") };
    assert!(mail.contains("To: developer@acme.com"), "{mail}");
    assert!(mail.contains("owner@example.com invites you to Acme Corporation"), "{mail}");
    assert!(mail.contains("http://127.0.0.1:8080/dashboard/invitations/accept?token=inv_"));
}

#[tokio::test]
async fn whoever_is_a_member_is_not_invited() {
    let app = TestApp::new().await;
    let (owner, member) = (app.sign_up("owner").await, app.sign_up("member").await);
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &member, Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{workspace}/members");
    for email in ["owner@example.com", "MEMBER@example.com"] {
        let body = json!({ "email": email, "role": "viewer" });
        owner.post(&path, body).await.error(409, "already_exists");
    }
    app.run_due().await;
    assert!(app.mails().is_empty());
}

#[tokio::test]
async fn inviting_again_renews() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/members");
    let first = owner.post(&path, json!({ "email": "a@b.co", "role": "viewer" })).await.json(201);
    let second = owner.post(&path, json!({ "email": "a@b.co", "role": "admin" })).await.json(201);
    assert_eq!(second["id"], first["id"]);
    assert_eq!(second["role"], "admin");
    app.run_due().await;
    assert_eq!(app.mails().len(), 2);
    assert_eq!(owner.get(&path).await.json(200)["total"], 2);
}

#[tokio::test]
async fn only_owners_invite_owners() {
    let app = TestApp::new().await;
    let (owner, admin) = (app.sign_up("owner").await, app.sign_up("admin").await);
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &admin, Role::Admin).await;
    let path = format!("/control/v1/workspaces/{workspace}/members");
    let body = json!({ "email": "a@b.co", "role": "owner" });
    admin.post(&path, body.clone()).await.error(403, "forbidden");
    owner.post(&path, body).await.is(201);
    // Nor do they turn an owner's invitation into another.
    let body = json!({ "email": "a@b.co", "role": "viewer" });
    admin.post(&path, body).await.error(403, "forbidden");
    app.run_due().await;
    assert_eq!(app.mails().len(), 1);
}

#[tokio::test]
async fn refusals_name_the_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/members", owner.workspace("pro").await);
    for (body, field) in [
        (json!({ "email": "a@b.co" }), "role"),
        (json!({ "role": "viewer" }), "email"),
        (json!({ "email": "nobody", "role": "viewer" }), "email"),
        (json!({ "email": "a@b.co\r\nBcc: x@y.z", "role": "viewer" }), "email"),
        (json!({ "email": "a\u{0}@b.co", "role": "viewer" }), "email"),
        (json!({ "email": "a@b.co", "role": "king" }), "role"),
        (json!({ "email": "a@b.co", "role": "viewer", "status": "active" }), "status"),
    ] {
        owner.post(&path, body).await.assert_invalid(field);
    }
}
