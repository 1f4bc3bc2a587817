use serde_json::json;

use super::Scene;
use crate::support::{Receiver, text};

#[tokio::test]
async fn what_is_changed_holds_for_what_is_on_its_way() {
    let scene = Scene::new().await;
    let (old, hook) = scene.receiver(json!(["*"])).await;
    let new = Receiver::start().await;
    scene.test(&hook).await;
    let change = json!({ "url": new.url(), "events": ["key.*"], "description": "Billing" });
    let seen = scene.owner.patch(&hook, change.clone()).await.json(200);
    for name in ["url", "events", "description"] {
        assert_eq!(seen[name], change[name]);
    }
    assert!(seen.get("secret").is_none());
    assert_eq!(scene.owner.get(&hook).await.json(200), seen);
    scene.app.deliver().await;
    assert_eq!((old.received().len(), new.received().len()), (0, 1));
}

#[tokio::test]
async fn a_disabled_webhook_is_sent_nothing_until_it_is_enabled() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    let delivery = scene.test(&hook).await;
    let seen = scene.owner.patch(&hook, json!({ "enabled": false })).await.json(200);
    assert_eq!(seen["enabled"], false);
    assert!(seen.get("disabledReason").is_none());
    let ended = scene.owner.get(&delivery).await.json(200);
    assert_eq!(ended["status"], "failed");
    assert_eq!(ended["lastError"], "the webhook was disabled");
    assert_eq!(ended["attempts"], 0);
    scene.owner.post(&format!("{hook}/test"), json!({})).await.error(409, "invalid_state");
    scene.owner.post(&format!("{delivery}/replay"), json!({})).await.error(409, "invalid_state");
    scene.owner.key(&scene.application()).await;
    assert_eq!(scene.app.deliver().await, 0);
    scene.owner.patch(&hook, json!({ "enabled": true })).await.json(200);
    assert_eq!(scene.app.deliver().await, 0, "what happened in between is not sent");
    scene.owner.key(&scene.application()).await;
    assert_eq!(scene.app.deliver().await, 1);
    assert_eq!(receiver.only().event(), "key.created");
}

#[tokio::test]
async fn refused_changes_change_nothing() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["key.*"])).await;
    let before = scene.owner.get(&hook).await.json(200);
    for (body, field) in [
        (json!({ "url": "http://10.0.0.1/" }), "url"),
        (json!({ "url": "ftp://1.1.1.1/" }), "url"),
        (json!({ "events": ["nothing"] }), "events[0]"),
        (json!({ "secret": "another long secret" }), "secret"),
        (json!({ "description": "x".repeat(501), "enabled": false }), "description"),
    ] {
        scene.owner.patch(&hook, body).await.assert_invalid(field);
    }
    assert_eq!(scene.owner.get(&hook).await.json(200), before);
    assert_eq!(text(&before["url"]), receiver.url());
}
