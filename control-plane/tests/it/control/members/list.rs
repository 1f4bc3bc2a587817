use authsome_control_plane::actor::Role;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn members_and_invitations_are_listed() {
    let app = TestApp::new().await;
    let (owner, viewer) = (app.sign_up("owner").await, app.sign_up("viewer").await);
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &viewer, Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{workspace}/members");
    owner.post(&path, json!({ "email": "a@b.co", "role": "billing" })).await.is(201);
    app.run_due().await;
    let list = viewer.get(&path).await.json(200);
    assert_eq!(list["total"], 3);
    let data = list["data"].as_array().unwrap();
    let row = |n: usize| (&data[n]["email"], &data[n]["role"], &data[n]["status"]);
    assert_eq!(row(0), (&json!("owner@example.com"), &json!("owner"), &json!("active")));
    assert_eq!(row(1), (&json!("viewer@example.com"), &json!("viewer"), &json!("active")));
    assert_eq!(row(2), (&json!("a@b.co"), &json!("billing"), &json!("invited")));
    assert_eq!((&data[0]["name"], &data[0]["userId"]), (&json!("owner"), &json!(owner.id())));
    assert!(data[2].get("userId").is_none() && data[2].get("joinedAt").is_none());
    assert!(!list.to_string().contains("inv_"));
    let page = owner.get(&format!("{path}?page=2&pageSize=2")).await.json(200);
    assert_eq!(page["data"], json!([data[2]]));
}
