use serde_json::json;

use super::Scene;
use crate::support::{Receiver, text};

#[tokio::test]
async fn a_test_event_goes_to_this_webhook_alone_whatever_it_subscribes_to() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["usage.threshold"])).await;
    let (other, _) = scene.receiver(json!(["*"])).await;
    let delivery = scene.owner.post(&format!("{hook}/test"), json!({})).await.json(202);
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("pending"), &json!(0)));
    assert_eq!(delivery["event"], "webhook.test");
    assert_eq!(scene.app.deliver().await, 1);
    let received = receiver.only();
    assert_eq!(received.event(), "webhook.test");
    assert_eq!(received.header("webhook-id"), text(&delivery["eventId"]));
    assert_eq!(received.json()["data"]["applicationId"], scene.application());
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn a_repeated_request_sends_once() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let id = text(&scene.webhook(&receiver.url(), json!(["*"])).await["id"]);
    let path = format!("{}/{id}/test", scene.path);
    let send = async || {
        let request = scene.owner.request(axum::http::Method::POST, &path);
        let request = request.header("idempotency-key", "once");
        scene.owner.send(request.body(axum::body::Body::empty()).unwrap()).await.json(202)
    };
    let (first, second) = (send().await, send().await);
    assert_eq!(first, second);
    assert_eq!(scene.app.deliver().await, 1);
    receiver.only();
}
