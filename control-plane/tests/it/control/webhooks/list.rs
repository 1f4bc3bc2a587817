use serde_json::{Value, json};

use super::Scene;
use crate::support::text;

#[tokio::test]
async fn webhooks_are_listed_oldest_first_in_pages_without_secrets() {
    let scene = Scene::new().await;
    let empty = scene.owner.get(&scene.path).await.json(200);
    assert_eq!(empty, json!({ "data": [], "total": 0, "page": 1, "pageSize": 20 }));
    let mut ids = vec![];
    for n in 0..3 {
        let made = scene.webhook(&format!("https://1.1.1.1/{n}"), json!(["*"])).await;
        ids.push(made["id"].clone());
    }
    let first = scene.owner.get(&format!("{}?pageSize=2", scene.path)).await.json(200);
    let second = scene.owner.get(&format!("{}?pageSize=2&page=2", scene.path)).await.json(200);
    let listed = |page: &Value| -> Vec<Value> {
        page["data"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect()
    };
    assert_eq!([listed(&first), listed(&second)].concat(), ids);
    assert_eq!((&first["total"], &second["page"]), (&json!(3), &json!(2)));
    assert!(!first.to_string().contains("secret"));
}

#[tokio::test]
async fn another_applications_webhook_is_not_found() {
    let scene = Scene::new().await;
    let id = text(&scene.webhook("https://1.1.1.1/", json!(["*"])).await["id"]);
    let other = scene.owner.application(&scene.workspace, json!({})).await;
    scene.app.run_due().await;
    let path = format!("/control/v1/applications/{}/webhooks/{id}", text(&other["id"]));
    scene.owner.get(&path).await.error(404, "not_found");
    scene.owner.patch(&path, json!({ "enabled": false })).await.error(404, "not_found");
    scene.owner.delete(&path).await.error(404, "not_found");
    scene.owner.post(&format!("{path}/test"), json!({})).await.error(404, "not_found");
    scene.owner.get(&format!("{path}/deliveries")).await.error(404, "not_found");
    scene.owner.get(&format!("{}/{id}", scene.path)).await.is(200);
}

#[tokio::test]
async fn a_deleted_webhook_is_gone_with_its_deliveries() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    let delivery = scene.test(&hook).await;
    scene.owner.delete(&hook).await.is(204);
    assert_eq!(scene.app.deliver().await, 0);
    assert!(receiver.received().is_empty());
    scene.owner.get(&hook).await.error(404, "not_found");
    scene.owner.get(&delivery).await.error(404, "not_found");
    scene.owner.delete(&hook).await.error(404, "not_found");
    let rows = "select (select count(*) from webhook_deliveries) + \
         (select count(*) from webhook_secrets) + (select count(*) from webhooks)";
    assert_eq!(scene.app.number(rows).await, 0);
}
