use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Client, TestApp};

const PATH: &str = "/control/v1/invitations/accept";

/// An owner and the workspace that `invitee@example.com` is invited to.
async fn invited(app: &TestApp) -> (Client, String) {
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/members");
    let body = json!({ "email": "Invitee@example.com", "role": "developer" });
    owner.post(&path, body).await.is(201);
    app.run_due().await;
    (owner, workspace)
}

#[tokio::test]
async fn the_invitee_becomes_a_member_once() {
    let app = TestApp::new().await;
    let (_, workspace) = invited(&app).await;
    let invitee = app.sign_up("invitee").await;
    let accept = json!({ "token": app.invitation() });
    let answer = invitee.post(PATH, accept.clone()).await.json(200);
    assert_eq!(answer["workspaceId"], workspace);
    assert_eq!(answer["userId"], invitee.id());
    assert_eq!(answer["name"], "invitee");
    assert_eq!((&answer["role"], &answer["status"]), (&json!("developer"), &json!("active")));
    assert_eq!(answer["joinedAt"], "2026-03-10T12:00:00Z");
    invitee.get(&format!("/control/v1/workspaces/{workspace}")).await.is(200);
    invitee.post(PATH, accept).await.error(404, "not_found");
}

#[tokio::test]
async fn only_the_invited_address_may_accept() {
    let app = TestApp::new().await;
    let (owner, workspace) = invited(&app).await;
    let eve = app.sign_up("eve").await;
    let accept = json!({ "token": app.invitation() });
    eve.post(PATH, accept.clone()).await.error(403, "forbidden");
    owner.post(PATH, accept.clone()).await.error(403, "forbidden");
    app.anonymous().post(PATH, accept.clone()).await.error(401, "unauthorized");
    eve.get(&format!("/control/v1/workspaces/{workspace}")).await.error(404, "not_found");
    app.sign_up("invitee").await.post(PATH, accept).await.is(200);
}

#[tokio::test]
async fn invitations_expire() {
    let app = TestApp::new().await;
    invited(&app).await;
    app.advance(TimeDelta::days(7));
    let invitee = app.sign_up("invitee").await;
    let accept = json!({ "token": app.invitation() });
    invitee.post(PATH, accept).await.error(404, "not_found");
}

#[tokio::test]
async fn a_renewed_invitation_replaces_the_first() {
    let app = TestApp::new().await;
    let (owner, workspace) = invited(&app).await;
    let first = app.invitation();
    app.advance(TimeDelta::minutes(10));
    let path = format!("/control/v1/workspaces/{workspace}/members");
    let body = json!({ "email": "invitee@example.com", "role": "viewer" });
    owner.post(&path, body).await.is(201);
    app.run_due().await;
    let invitee = app.sign_up("invitee").await;
    invitee.post(PATH, json!({ "token": first })).await.error(404, "not_found");
    let answer = invitee.post(PATH, json!({ "token": app.invitation() })).await.json(200);
    assert_eq!(answer["role"], "viewer");
}

#[tokio::test]
async fn a_deleted_workspace_takes_nobody_in() {
    let app = TestApp::new().await;
    let (owner, workspace) = invited(&app).await;
    let invitee = app.sign_up("invitee").await;
    owner.delete(&format!("/control/v1/workspaces/{workspace}")).await.is(204);
    let accept = json!({ "token": app.invitation() });
    invitee.post(PATH, accept).await.error(404, "not_found");
}

#[tokio::test]
async fn of_parallel_acceptances_one_counts() {
    let app = TestApp::new().await;
    invited(&app).await;
    let invitee = app.sign_up("invitee").await;
    let accept = json!({ "token": app.invitation() });
    let answers = join_all((0..6).map(|_| invitee.post(PATH, accept.clone()))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(404)), (1, 5));
}

#[tokio::test]
async fn nonsense_is_not_found() {
    let app = TestApp::new().await;
    let user = app.sign_up("user").await;
    for token in ["", "inv_nonsense", "\u{0}"] {
        user.post(PATH, json!({ "token": token })).await.error(404, "not_found");
    }
    user.post(PATH, json!({})).await.assert_invalid("token");
}
