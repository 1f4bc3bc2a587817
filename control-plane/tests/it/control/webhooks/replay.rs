use chrono::TimeDelta;
use serde_json::json;

use super::Scene;
use crate::support::text;

#[tokio::test]
async fn a_replay_sends_the_same_event_again_as_a_delivery_of_its_own() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["key.*"])).await;
    scene.owner.key(&scene.application()).await;
    scene.app.deliver().await;
    let list = scene.owner.get(&format!("{hook}/deliveries")).await.json(200);
    let first = list["data"][0].clone();
    scene.app.advance(TimeDelta::hours(1));
    let path = format!("{hook}/deliveries/{}/replay", text(&first["id"]));
    let again = scene.owner.post(&path, json!({})).await.json(202);
    assert_eq!((&again["replayOf"], &again["eventId"]), (&first["id"], &first["eventId"]));
    assert_ne!(again["id"], first["id"]);
    assert_eq!(again["status"], "pending");
    assert_eq!(scene.app.deliver().await, 1);
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    let list = scene.owner.get(&format!("{hook}/deliveries")).await.json(200);
    assert_eq!((&list["total"], &list["data"][0]["status"]), (&json!(2), &json!("delivered")));
}

#[tokio::test]
async fn what_has_failed_can_be_replayed_and_what_is_still_tried_can_not() {
    let scene = Scene::with(|config| config.webhooks.retry_seconds = vec![60]).await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer(&[500, 500]);
    let delivery = scene.test(&hook).await;
    let replay = format!("{delivery}/replay");
    scene.owner.post(&replay, json!({})).await.error(409, "invalid_state");
    scene.app.deliver().await;
    scene.owner.post(&replay, json!({})).await.error(409, "invalid_state");
    scene.app.advance(TimeDelta::seconds(66));
    scene.app.deliver().await;
    assert_eq!(scene.owner.get(&delivery).await.json(200)["status"], "failed");
    scene.owner.post(&replay, json!({})).await.is(202);
    assert_eq!(scene.app.deliver().await, 1);
    assert_eq!(receiver.received().len(), 3);
    let other = format!("{hook}/deliveries/dlv_none/replay");
    scene.owner.post(&other, json!({})).await.error(404, "not_found");
}
