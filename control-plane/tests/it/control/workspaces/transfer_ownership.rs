use authsome_control_plane::actor::Role;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Client, TestApp, text};

async fn role_of(owner: &Client, workspace: &str, user: &Client) -> String {
    let list = owner.get(&format!("/control/v1/workspaces/{workspace}/members")).await.json(200);
    let data = list["data"].as_array().unwrap();
    text(&data.iter().find(|member| member["userId"] == user.id()).unwrap()["role"])
}

#[tokio::test]
async fn the_heir_becomes_the_owner_and_the_giver_an_admin() {
    let app = TestApp::new().await;
    let (owner, heir) = (app.sign_up("owner").await, app.sign_up("heir").await);
    let workspace = owner.workspace("pro").await;
    let heir_id = app.add_member(&workspace, &heir, Role::Developer).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let transfer = format!("{path}/transfer-ownership");
    app.advance(chrono::TimeDelta::minutes(1));
    let answer = owner.post(&transfer, json!({ "memberId": heir_id })).await.json(200);
    assert_eq!(answer["ownerId"], heir.id());
    assert_eq!(answer["updatedAt"], "2026-03-10T12:01:00Z");
    assert_eq!(owner.get(&path).await.json(200), answer);
    assert_eq!(role_of(&owner, &workspace, &heir).await, "owner");
    assert_eq!(role_of(&owner, &workspace, &owner).await, "admin");
    owner.delete(&path).await.error(403, "forbidden");
    owner.post(&transfer, json!({ "memberId": heir_id })).await.error(403, "forbidden");
    heir.delete(&path).await.is(204);
}

#[tokio::test]
async fn other_owners_stay_owners() {
    let app = TestApp::new().await;
    let (owner, heir, third) =
        (app.sign_up("owner").await, app.sign_up("heir").await, app.sign_up("third").await);
    let workspace = owner.workspace("pro").await;
    let heir_id = app.add_member(&workspace, &heir, Role::Owner).await;
    app.add_member(&workspace, &third, Role::Owner).await;
    let transfer = format!("/control/v1/workspaces/{workspace}/transfer-ownership");
    let answer = owner.post(&transfer, json!({ "memberId": heir_id })).await.json(200);
    assert_eq!(answer["ownerId"], heir.id());
    assert_eq!(role_of(&owner, &workspace, &heir).await, "owner");
    assert_eq!(role_of(&owner, &workspace, &third).await, "owner");
}

#[tokio::test]
async fn only_an_active_member_other_than_the_caller_can_be_the_heir() {
    let app = TestApp::new().await;
    let (owner, other) = (app.sign_up("owner").await, app.sign_up("other").await);
    let workspace = owner.workspace("pro").await;
    let elsewhere = other.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let transfer = format!("{path}/transfer-ownership");
    let members = format!("{path}/members");
    let own = text(&owner.get(&members).await.json(200)["data"][0]["id"]);
    let body = json!({ "email": "invited@example.com", "role": "admin" });
    let invited = text(&owner.post(&members, body).await.json(201)["id"]);
    app.run_due().await;
    let suspended = app.add_member(&workspace, &other, Role::Admin).await;
    let member = format!("{members}/{suspended}");
    owner.patch(&member, json!({ "status": "suspended" })).await.is(200);
    for id in [&own, &invited, &suspended] {
        owner.post(&transfer, json!({ "memberId": id })).await.error(409, "invalid_state");
    }
    let foreign = other.get(&format!("/control/v1/workspaces/{elsewhere}/members")).await;
    let foreign = text(&foreign.json(200)["data"][0]["id"]);
    for id in [foreign.as_str(), "mem_none"] {
        owner.post(&transfer, json!({ "memberId": id })).await.error(404, "not_found");
    }
    for id in ["", "nonsense", "mem_\u{0}", "usr_1"] {
        owner.post(&transfer, json!({ "memberId": id })).await.assert_invalid("memberId");
    }
    owner.post(&transfer, json!({})).await.assert_invalid("memberId");
    owner.post(&transfer, json!({ "memberId": 1 })).await.assert_invalid("memberId");
    assert_eq!(owner.get(&path).await.json(200)["ownerId"], owner.id());
}

/// Every transfer either happened whole or was refused.
#[tokio::test]
async fn of_parallel_transfers_one_wins() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let mut heirs = vec![];
    for n in 0..8 {
        let heir = app.sign_up(&format!("heir{n}")).await;
        heirs.push(app.add_member(&workspace, &heir, Role::Viewer).await);
    }
    let transfer = format!("/control/v1/workspaces/{workspace}/transfer-ownership");
    let attempts = heirs.iter().map(|id| owner.post(&transfer, json!({ "memberId": id })));
    let mut statuses: Vec<u16> = join_all(attempts).await.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200].as_slice(), &[403; 7]].concat());
    let owners = app.number("select count(*) from members where role = 'owner'").await;
    assert_eq!(owners, 1);
    let named = "select count(*) from members join workspaces on workspaces.owner_id = members.user_id \
                 where members.role = 'owner' and members.workspace_id = workspaces.id";
    assert_eq!(app.number(named).await, 1, "`ownerId` names the owner");
}
