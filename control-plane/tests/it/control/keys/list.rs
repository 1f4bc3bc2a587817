use serde_json::json;

use crate::support::{TestApp, fields, text};

#[tokio::test]
async fn secret_keys_are_listed_masked() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let made = owner.key(&id).await;
    let path = format!("/control/v1/applications/{id}/keys");
    let list = owner.get(&path).await.json(200);
    assert_eq!(fields(&list), ["data", "page", "pageSize", "total"]);
    assert_eq!(list["total"], 3);
    let secret = &list["data"][2];
    assert_eq!(secret["id"], made["id"]);
    assert_eq!(secret["key"], format!("{}***", &text(&made["key"])[..14]));
    assert_eq!(list["data"][0]["key"], application["publicKey"], "public keys are shown whole");
    assert!(!list.to_string().contains(&text(&made["key"])));
    let second = owner.get(&format!("{path}?page=2&pageSize=2")).await.json(200);
    assert_eq!(second["data"], json!([secret]));
}

#[tokio::test]
async fn revoked_keys_are_not_listed() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let key = text(&owner.key(&id).await["id"]);
    owner.delete(&format!("{path}/{key}")).await.is(204);
    assert_eq!(owner.get(&path).await.json(200)["total"], 2);
}
