//! `/control/v1/workspaces/{workspaceId}/usage/reconciliation`.

use authsome_control_plane::execute;
use authsome_shared::id::EpochId;
use serde_json::json;

use crate::support::{FakeProxy, Record, TestApp, text};

#[tokio::test]
async fn every_way_of_adding_up_gives_one_sum_and_gaps_are_named() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let key = text(&owner.key(&text(&application["id"])).await["id"]);
    let one = Record::of(&app, &application, &key);
    let (proxy, epoch) = (FakeProxy::new(&app), EpochId::new());
    proxy.apply(&epoch, 1, &one.times(3)).await;
    proxy.apply(&epoch, 6, &[one.with(|r| r.units = 4)]).await;
    proxy.ack(1).await;

    let path = format!(
        "/control/v1/workspaces/{}/usage/reconciliation",
        text(&application["workspaceId"])
    );
    let answer = owner.get(&path).await.json(200);
    assert_eq!(answer["period"], "2026-03");
    assert_eq!(answer["consistent"], true);
    let sums = json!({ "total": 7, "byApplication": 7, "byKey": 7, "byMinute": 7 });
    assert_eq!(answer["apiRequests"], sums);
    let ledger = &answer["proxies"][0];
    assert_eq!(ledger["id"], proxy.id.as_str());
    assert_eq!((&ledger["applied"], &ledger["missing"]), (&json!(4), &json!(2)));
    assert_eq!(ledger["connected"], true);
    let gap = &answer["gaps"][0];
    assert_eq!((&gap["first"], &gap["last"]), (&json!(4), &json!(5)));
    assert_eq!((&gap["proxy"], &gap["epoch"]), (&json!(proxy.id), &json!(epoch)));

    let before = owner.get(&format!("{path}?period=2026-02")).await.json(200);
    assert_eq!(before["apiRequests"]["total"], 0);
    assert_eq!(before["consistent"], true);
    owner.get(&format!("{path}?period=now")).await.assert_invalid("period");
}

#[tokio::test]
async fn a_total_that_was_tampered_with_is_found() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let key = text(&owner.key(&text(&application["id"])).await["id"]);
    let one = Record::of(&app, &application, &key);
    FakeProxy::new(&app).apply(&EpochId::new(), 1, &one.times(2)).await;
    let workspace = text(&application["workspaceId"]);
    let mut tx = app.write().await;
    let update = "update usage_totals set units = 1 where subject = $1";
    execute!(tx, sqlx::query(update).bind(&workspace)).unwrap();
    tx.commit().await.unwrap();

    let path = format!("/control/v1/workspaces/{workspace}/usage/reconciliation");
    let answer = owner.get(&path).await.json(200);
    assert_eq!(answer["consistent"], false);
    let sums = json!({ "total": 1, "byApplication": 2, "byKey": 2, "byMinute": 2 });
    assert_eq!(answer["apiRequests"], sums);
}
