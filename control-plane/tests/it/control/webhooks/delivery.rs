use chrono::{DateTime, TimeDelta};
use serde_json::json;

use super::Scene;
use crate::support::{Receiver, text};

#[tokio::test]
async fn a_delivery_is_a_signed_post_as_standard_webhooks_has_it() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url(), "secret": "whsec_c2VjcmV0LXNlY3JldA==" });
    let made = scene.owner.post(&scene.path, body).await.json(201);
    let delivery = scene.test(&format!("{}/{}", scene.path, text(&made["id"]))).await;
    assert_eq!(scene.app.deliver().await, 1);
    let received = receiver.only();
    assert_eq!(received.path, "/hook");
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("user-agent").starts_with("AuthSome-Webhooks/"));
    let now = scene.app.now().timestamp().to_string();
    assert_eq!(received.header("webhook-timestamp"), now);
    assert!(received.header("webhook-id").starts_with("evt_"));
    assert!(received.is_signed_with(b"secret-secret"));
    assert!(!received.is_signed_with(b"another secret"));
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!(seen["payload"], received.json());
    assert_eq!((&seen["status"], &seen["lastStatus"]), (&json!("delivered"), &json!(204)));
    assert_eq!((&seen["nextAttemptAt"], &seen["lastError"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn what_fails_is_tried_again_after_the_pauses_of_the_table_and_then_given_up() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer(&[500; 8]);
    let delivery = scene.test(&hook).await;
    // Pauses in seconds, to which up to a tenth is added.
    let pauses = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
    for (n, pause) in pauses.into_iter().enumerate() {
        assert_eq!(scene.app.deliver().await, 1, "attempt {}", n + 1);
        let seen = scene.owner.get(&delivery).await.json(200);
        assert_eq!((&seen["status"], &seen["attempts"]), (&json!("pending"), &json!(n + 1)));
        let next: DateTime<chrono::Utc> = text(&seen["nextAttemptAt"]).parse().unwrap();
        let waits = next - scene.app.now();
        let (least, most) = (TimeDelta::seconds(pause), TimeDelta::milliseconds(pause * 1_100));
        assert!(least <= waits && waits <= most, "{waits} after attempt {}", n + 1);
        scene.app.advance(waits - TimeDelta::milliseconds(1));
        assert_eq!(scene.app.deliver().await, 0, "not before its time");
        scene.app.advance(TimeDelta::milliseconds(1));
    }
    assert_eq!(scene.app.deliver().await, 1);
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!((&seen["status"], &seen["attempts"]), (&json!("failed"), &json!(8)));
    assert_eq!(seen["nextAttemptAt"], json!(null));
    scene.app.advance(TimeDelta::days(3));
    assert_eq!(scene.app.deliver().await, 0);

    let received = receiver.received();
    assert_eq!(received.len(), 8);
    let ids: Vec<&str> = received.iter().map(|it| it.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the id is the same at every attempt");
    assert!(received.iter().all(|it| it.body == received[0].body));
    let times: Vec<&str> = received.iter().map(|it| it.header("webhook-timestamp")).collect();
    assert_ne!(times[0], times[7], "the time is that of the attempt");
}

#[tokio::test]
async fn an_endpoint_that_is_down_gets_it_once_it_is_up() {
    let scene = Scene::new().await;
    let down = Receiver::start().await;
    let address = down.address;
    let hook =
        format!("{}/{}", scene.path, text(&scene.webhook(&down.url(), json!(["*"])).await["id"]));
    drop(down);
    let delivery = scene.test(&hook).await;
    // The listener is gone as soon as its task has been dropped.
    while scene.app.deliver().await == 1 {
        let seen = scene.owner.get(&delivery).await.json(200);
        if seen["status"] == "pending" {
            assert!(text(&seen["lastError"]).contains("refused"), "{seen}");
            break;
        }
    }
    assert!(scene.owner.get(&hook).await.json(200)["failingSince"].is_string());
    let up = Receiver::start_at(address).await;
    scene.app.advance(TimeDelta::seconds(6));
    assert_eq!(scene.app.deliver().await, 1);
    up.only();
    assert_eq!(scene.owner.get(&delivery).await.json(200)["status"], "delivered");
    assert!(scene.owner.get(&hook).await.json(200).get("failingSince").is_none());
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer_with(429, vec![("retry-after", "3600".into())], "");
    let later = "Tue, 10 Mar 2026 15:00:00 GMT";
    receiver.answer_with(503, vec![("retry-after", later.into())], "");
    let delivery = scene.test(&hook).await;
    scene.app.deliver().await;
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!(seen["nextAttemptAt"], "2026-03-10T13:00:00Z");
    scene.app.advance(TimeDelta::hours(1));
    scene.app.deliver().await;
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!(seen["nextAttemptAt"], "2026-03-10T15:00:00Z");
    scene.app.advance(TimeDelta::hours(2));
    scene.app.deliver().await;
    assert_eq!(scene.owner.get(&delivery).await.json(200)["status"], "delivered");
}

#[tokio::test]
async fn an_endpoint_has_its_time_to_answer_and_no_more() {
    let scene = Scene::with(|config| config.webhooks.timeout_seconds = 1).await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.hang();
    let delivery = scene.test(&hook).await;
    assert_eq!(scene.app.deliver().await, 1);
    let seen = scene.owner.get(&delivery).await.json(200);
    assert_eq!(seen["lastError"], "no answer within 1 s");
    assert!(seen["history"][0]["durationMs"].as_i64().unwrap() >= 1_000);
}

#[tokio::test]
async fn the_first_kib_of_an_answer_is_kept_as_text() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    for (status, answer, kept) in [
        (400, "no such tenant".to_owned(), "no such tenant".to_owned()),
        (200, "x".repeat(5_000), "x".repeat(1_024)),
        (500, "a\0b".to_owned(), "a\u{fffd}b".to_owned()),
        (200, String::new(), String::new()),
    ] {
        receiver.answer_with(status, vec![], &answer);
        let delivery = scene.test(&hook).await;
        scene.app.deliver().await;
        let seen = scene.owner.get(&delivery).await.json(200);
        assert_eq!(seen["history"][0]["response"], kept);
        assert_eq!(seen["history"][0]["status"], status);
    }
}
