use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Scene;
use crate::support::{fields, text};

#[tokio::test]
async fn deliveries_are_listed_newest_first_by_status_and_event_in_pages() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["key.*"])).await;
    let path = format!("{hook}/deliveries");
    let empty = scene.owner.get(&path).await.json(200);
    assert_eq!(empty, json!({ "data": [], "total": 0, "page": 1, "pageSize": 20 }));
    receiver.answer(&[200, 500, 200]);
    for _ in 0..3 {
        scene.owner.key(&scene.application()).await;
        scene.app.deliver().await;
    }
    scene.test(&hook).await;
    scene.app.deliver().await;

    let list = async |query: &str| scene.owner.get(&format!("{path}{query}")).await.json(200);
    let all = list("").await;
    assert_eq!(all["total"], 4);
    let data = all["data"].as_array().unwrap();
    assert_eq!(data[0]["event"], "webhook.test");
    assert_eq!(
        fields(&data[1]),
        [
            "attempts",
            "createdAt",
            "endedAt",
            "event",
            "eventId",
            "id",
            "lastError",
            "lastStatus",
            "nextAttemptAt",
            "status",
            "webhookId"
        ]
    );
    assert_eq!(list("?status=delivered").await["total"], 3);
    let pending = list("?status=pending").await;
    assert_eq!((&pending["total"], &pending["data"][0]), (&json!(1), &data[2]));
    assert_eq!(pending["data"][0]["lastError"], "the endpoint answered 500");
    assert_eq!(list("?status=failed").await["data"], json!([]));
    assert_eq!(list("?event=key.created").await["total"], 3);
    assert_eq!(list("?event=key.created&status=delivered").await["total"], 2);
    assert_eq!(list("?event=webhook.test").await["total"], 1);
    let pages = [list("?pageSize=3").await, list("?pageSize=3&page=2").await];
    let paged: Vec<&Value> =
        pages.iter().flat_map(|page| page["data"].as_array().unwrap()).collect();
    assert_eq!(paged, data.iter().collect::<Vec<_>>());
    scene.owner.get(&format!("{path}?status=lost")).await.assert_invalid("status");
    scene.owner.get(&format!("{path}?event=key.lost")).await.assert_invalid("event");
}

#[tokio::test]
async fn a_delivery_shows_each_attempt() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer_with(502, vec![], "bad gateway");
    let delivery = scene.test(&hook).await;
    scene.app.deliver().await;
    scene.app.advance(TimeDelta::seconds(6));
    scene.app.deliver().await;
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!(seen["attempts"], 2);
    let history = seen["history"].as_array().unwrap();
    assert_eq!(history[0]["number"], 1);
    assert_eq!(history[0]["at"], "2026-03-10T12:00:00Z");
    assert_eq!(
        (&history[0]["status"], &history[0]["response"]),
        (&json!(502), &json!("bad gateway"))
    );
    assert_eq!(history[0]["error"], "the endpoint answered 502");
    assert_eq!(history[1]["at"], "2026-03-10T12:00:06Z");
    assert_eq!((&history[1]["status"], &history[1]["error"]), (&json!(204), &json!(null)));
    assert_eq!(text(&seen["payload"]["event"]), "webhook.test");
    scene.owner.get(&format!("{hook}/deliveries/dlv_none")).await.error(404, "not_found");
}

#[tokio::test]
async fn ended_deliveries_and_their_events_are_kept_for_thirty_days() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    let old = scene.test(&hook).await;
    scene.app.deliver().await;
    scene.app.advance(TimeDelta::days(29));
    receiver.answer(&[500]);
    let pending = scene.test(&hook).await;
    scene.app.deliver().await;
    scene.app.housekeeping().await;
    scene.app.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    let (_, events) = (scene.owner.get(&old).await.is(200), "select count(*) from events");
    scene.app.housekeeping().await;
    scene.owner.get(&old).await.error(404, "not_found");
    scene.owner.get(&pending).await.is(200);
    assert_eq!(scene.app.number("select count(*) from webhook_attempts").await, 1);
    assert_eq!(scene.app.number(events).await, 1);
}
