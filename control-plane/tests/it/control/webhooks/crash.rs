//! What a crash leaves behind comes about all the same.

use authsome_control_plane::webhooks::dispatcher;
use chrono::TimeDelta;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Scene;
use crate::support::within;

#[tokio::test]
async fn an_attempt_that_a_crash_cut_off_is_made_again_with_the_same_id() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.hang();
    let delivery = scene.test(&hook).await;
    let running = tokio::spawn(dispatcher::run(scene.app.app.clone(), CancellationToken::new()));
    receiver.count(1).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // Before the claim has run out, nobody else makes it.
    assert_eq!(scene.app.deliver().await, 0);
    scene.app.advance(TimeDelta::seconds(21));
    let first = receiver.only();
    receiver.recover();
    assert_eq!(scene.app.deliver().await, 1);
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[1].header("webhook-id"), first.header("webhook-id"));
    assert_eq!(scene.owner.get(&delivery).await.json(200)["status"], "delivered");
}

#[tokio::test]
async fn an_event_that_was_written_before_a_crash_goes_out_after_it() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["key.*"])).await;
    scene.owner.key(&scene.application()).await;
    let events = "select count(*) from events where dispatched_at is null";
    assert_eq!(scene.app.number(events).await, 1);
    scene.app.reopen().await;
    scene.app.deliver().await;
    assert_eq!(receiver.only().event(), "key.created");
    assert_eq!(scene.app.number(events).await, 0);
}

#[tokio::test]
async fn a_stop_gives_back_what_does_not_end_in_time() {
    let scene = Scene::with(|config| config.webhooks.timeout_seconds = 60).await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.hang();
    let delivery = scene.test(&hook).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher::run(scene.app.app.clone(), stop.clone()));
    receiver.count(1).await;
    stop.cancel();
    within(running).await.unwrap();
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!((&seen["status"], &seen["attempts"]), (&json!("pending"), &json!(0)));
    receiver.recover();
    assert_eq!(scene.app.deliver().await, 1, "due at once");
}

#[tokio::test]
async fn several_dispatchers_make_each_delivery_once() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    for _ in 0..40 {
        scene.test(&hook).await;
    }
    for _ in 0..10 {
        scene.owner.key(&scene.application()).await;
    }
    let stop = CancellationToken::new();
    let running: Vec<_> = (0..3)
        .map(|_| tokio::spawn(dispatcher::run(scene.app.app.clone(), stop.clone())))
        .collect();
    receiver.count(50).await;
    stop.cancel();
    for running in running {
        within(running).await.unwrap();
    }
    assert_eq!(scene.app.deliver().await, 0);
    let received = receiver.received();
    let mut ids: Vec<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((received.len(), ids.len()), (50, 50));
}
