use chrono::TimeDelta;
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

#[tokio::test]
async fn every_page_from_either_end_holds_the_keys_in_the_order_of_their_making() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    for _ in 0..5 {
        owner.key(&id).await;
        app.advance(TimeDelta::seconds(1));
    }
    let key = text(&owner.key(&id).await["id"]);
    owner.delete(&format!("{path}/{key}")).await.is(204);
    let whole = owner.get(&path).await.json(200);
    let whole = whole["data"].as_array().unwrap();
    assert_eq!(whole.len(), 7);
    for size in 1..9 {
        for page in 1..9 {
            let list = owner.get(&format!("{path}?page={page}&pageSize={size}")).await.json(200);
            let from = ((page - 1) * size).min(7);
            let until = (from + size).min(7);
            assert_eq!(list["data"], json!(whole[from..until]), "{page} of {size}");
            assert_eq!(list["total"], 7);
        }
    }
}

#[tokio::test]
async fn the_total_follows_creation_rotation_and_revocation() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let total = async || {
        let list = owner.get(&format!("{path}?pageSize=100")).await.json(200);
        assert_eq!(list["total"], list["data"].as_array().unwrap().len());
        list["total"].as_u64().unwrap()
    };
    assert_eq!(total().await, 2);
    let key = text(&owner.key(&id).await["id"]);
    assert_eq!(total().await, 3);
    let rotate = format!("{path}/{key}/rotate");
    let next = text(&owner.post(&rotate, json!({ "overlap": "1h" })).await.json(201)["id"]);
    assert_eq!(total().await, 4, "both work");
    owner.delete(&format!("{path}/{key}")).await.is(204);
    owner.delete(&format!("{path}/{key}")).await.is(404);
    assert_eq!(total().await, 3);
    let rotate = format!("{path}/{next}/rotate");
    let last = text(&owner.post(&rotate, json!({ "overlap": "0s" })).await.json(201)["id"]);
    assert_eq!(total().await, 3, "one in the place of the other");
    owner.delete(&format!("{path}/{last}")).await.is(204);
    assert_eq!(total().await, 2);
}
