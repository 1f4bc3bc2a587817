use authsome_control_plane::actor::Role;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn a_new_role_holds_at_once() {
    let app = TestApp::new().await;
    let (owner, member) = (app.sign_up("owner").await, app.sign_up("member").await);
    let workspace = owner.workspace("pro").await;
    let id = app.add_member(&workspace, &member, Role::Viewer).await;
    let usage = format!("/control/v1/workspaces/{workspace}/usage");
    member.get(&usage).await.error(403, "forbidden");
    app.advance(TimeDelta::minutes(1));
    let path = format!("/control/v1/workspaces/{workspace}/members/{id}");
    let answer = owner.patch(&path, json!({ "role": "billing" })).await.json(200);
    assert_eq!((&answer["id"], &answer["role"]), (&json!(id), &json!("billing")));
    assert_eq!(answer["updatedAt"], "2026-03-10T12:01:00Z");
    member.get(&usage).await.is(200);
}

#[tokio::test]
async fn only_owners_touch_owners() {
    let app = TestApp::new().await;
    let (owner, admin) = (app.sign_up("owner").await, app.sign_up("admin").await);
    let other = app.sign_up("other").await;
    let workspace = owner.workspace("pro").await;
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let admin_id = app.add_member(&workspace, &admin, Role::Admin).await;
    let other_id = app.add_member(&workspace, &other, Role::Viewer).await;
    let owner_id = text(&owner.get(&members).await.json(200)["data"][0]["id"]);
    let set = |id: &str, role: &str| (format!("{members}/{id}"), json!({ "role": role }));
    for (id, role) in [(&admin_id, "owner"), (&other_id, "owner"), (&owner_id, "viewer")] {
        let (path, body) = set(id, role);
        admin.patch(&path, body).await.error(403, "forbidden");
    }
    admin.delete(&format!("{members}/{owner_id}")).await.error(403, "forbidden");
    let (path, body) = set(&other_id, "developer");
    admin.patch(&path, body).await.is(200);
    let (path, body) = set(&other_id, "owner");
    owner.patch(&path, body).await.is(200);
}

#[tokio::test]
async fn the_last_owner_stays_one() {
    let app = TestApp::new().await;
    let (owner, heir) = (app.sign_up("owner").await, app.sign_up("heir").await);
    let workspace = owner.workspace("pro").await;
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let owner_id = text(&owner.get(&members).await.json(200)["data"][0]["id"]);
    let own = format!("{members}/{owner_id}");
    owner.patch(&own, json!({ "role": "admin" })).await.error(409, "last_owner");
    owner.patch(&own, json!({ "role": "owner" })).await.is(200);

    // An invited owner is not one yet.
    owner.post(&members, json!({ "email": "a@b.co", "role": "owner" })).await.is(201);
    app.run_due().await;
    owner.patch(&own, json!({ "role": "admin" })).await.error(409, "last_owner");

    app.add_member(&workspace, &heir, Role::Owner).await;
    owner.patch(&own, json!({ "role": "admin" })).await.is(200);
    let seen = heir.get(&format!("/control/v1/workspaces/{workspace}")).await.json(200);
    assert_eq!(seen["ownerId"], heir.id(), "`ownerId` names an owner");
}

#[tokio::test]
async fn of_two_owners_who_step_down_at_once_one_stays() {
    let app = TestApp::new().await;
    let (one, two) = (app.sign_up("one").await, app.sign_up("two").await);
    for _ in 0..5 {
        let workspace = one.workspace("pro").await;
        let members = format!("/control/v1/workspaces/{workspace}/members");
        let one_id = text(&one.get(&members).await.json(200)["data"][0]["id"]);
        let two_id = app.add_member(&workspace, &two, Role::Owner).await;
        let (one_path, two_path) = (format!("{members}/{one_id}"), format!("{members}/{two_id}"));
        let (a, b) =
            tokio::join!(one.patch(&one_path, json!({ "role": "viewer" })), two.delete(&two_path),);
        let statuses = [a.status, b.status];
        assert!([[200, 409], [409, 204]].contains(&statuses), "{statuses:?}");
    }
}

#[tokio::test]
async fn a_member_is_reached_through_its_own_workspace_only() {
    let app = TestApp::new().await;
    let (owner, member) = (app.sign_up("owner").await, app.sign_up("member").await);
    let (one, two) = (owner.workspace("pro").await, owner.workspace("pro").await);
    let id = app.add_member(&one, &member, Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{two}/members/{id}");
    owner.patch(&path, json!({ "role": "admin" })).await.error(404, "not_found");
    owner.delete(&path).await.error(404, "not_found");
}

#[tokio::test]
async fn a_suspended_member_is_shut_out_until_let_back_in() {
    let app = TestApp::new().await;
    let (owner, member) = (app.sign_up("owner").await, app.sign_up("member").await);
    let workspace = owner.workspace("pro").await;
    let id = app.add_member(&workspace, &member, Role::Developer).await;
    let path = format!("/control/v1/workspaces/{workspace}/members/{id}");
    let seen = format!("/control/v1/workspaces/{workspace}");
    let answer = owner.patch(&path, json!({ "status": "suspended" })).await.json(200);
    assert_eq!((&answer["status"], &answer["role"]), (&json!("suspended"), &json!("developer")));
    member.get(&seen).await.error(404, "not_found");
    assert_eq!(member.get("/control/v1/workspaces").await.json(200)["total"], 0);
    owner.patch(&path, json!({ "role": "viewer" })).await.is(200);
    member.get(&seen).await.error(404, "not_found");
    let answer = owner.patch(&path, json!({ "status": "active" })).await.json(200);
    assert_eq!((&answer["status"], &answer["role"]), (&json!("active"), &json!("viewer")));
    member.get(&seen).await.is(200);
}

#[tokio::test]
async fn what_a_status_can_become_is_checked() {
    let app = TestApp::new().await;
    let (owner, admin) = (app.sign_up("owner").await, app.sign_up("admin").await);
    let workspace = owner.workspace("pro").await;
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let owner_id = text(&owner.get(&members).await.json(200)["data"][0]["id"]);
    let admin_id = app.add_member(&workspace, &admin, Role::Admin).await;
    let invited = json!({ "email": "a@b.co", "role": "viewer" });
    let invited = text(&owner.post(&members, invited).await.json(201)["id"]);
    app.run_due().await;
    let suspend = json!({ "status": "suspended" });
    let at = |id: &str| format!("{members}/{id}");
    admin.patch(&at(&owner_id), suspend.clone()).await.error(403, "forbidden");
    admin.patch(&at(&admin_id), suspend.clone()).await.error(409, "invalid_state");
    for status in ["active", "suspended"] {
        let body = json!({ "status": status });
        owner.patch(&at(&invited), body).await.error(409, "invalid_state");
    }
    owner.patch(&at(&owner_id), suspend.clone()).await.error(409, "invalid_state");
    owner.patch(&at(&admin_id), json!({ "status": "invited" })).await.assert_invalid("status");
    // Of two owners, the one who is left stays.
    owner.patch(&at(&admin_id), json!({ "role": "owner" })).await.is(200);
    admin.patch(&at(&owner_id), suspend).await.is(200);
    let seen = admin.get(&format!("/control/v1/workspaces/{workspace}")).await.json(200);
    assert_eq!(seen["ownerId"], admin.id(), "`ownerId` names an active owner");
    admin.delete(&at(&admin_id)).await.error(409, "last_owner");
    admin.patch(&at(&admin_id), json!({ "role": "admin" })).await.error(409, "last_owner");
    admin.patch(&at(&owner_id), json!({})).await.is(200);
}

/// A hundred attempts at once, in all the ways in which an owner can go.
#[tokio::test]
async fn of_two_owners_one_stays_whatever_they_try_at_once() {
    let app = TestApp::new().await;
    let (one, two) = (app.sign_up("one").await, app.sign_up("two").await);
    let workspace = one.workspace("pro").await;
    let members = format!("/control/v1/workspaces/{workspace}/members");
    let one_id = text(&one.get(&members).await.json(200)["data"][0]["id"]);
    let two_id = app.add_member(&workspace, &two, Role::Owner).await;
    let attempts = (0..100).map(|n| {
        let (caller, other) = if n % 2 == 0 { (&one, &two_id) } else { (&two, &one_id) };
        let own = if n % 2 == 0 { &one_id } else { &two_id };
        let at = |id: &str| format!("{members}/{id}");
        async move {
            let demote = json!({ "role": "viewer" });
            match n / 2 % 5 {
                0 => caller.delete(&at(own)).await,
                1 => caller.patch(&at(own), demote).await,
                2 => caller.delete(&at(other)).await,
                3 => caller.patch(&at(other), demote).await,
                _ => caller.patch(&at(other), json!({ "status": "suspended" })).await,
            }
        }
    });
    let answers = futures_util::future::join_all(attempts).await;
    assert!(answers.iter().any(|answer| answer.status < 300), "one of them goes");
    assert!(answers.iter().all(|answer| answer.status < 500), "{answers:?}");
    let owners = "select count(*) from members where role = 'owner' and status = 'active'";
    assert_eq!(app.number(owners).await, 1);
    let named = "select count(*) from members join workspaces on workspaces.owner_id = members.user_id \
                 where members.role = 'owner' and members.status = 'active'";
    assert_eq!(app.number(named).await, 1, "`ownerId` names the one who stayed");
}
