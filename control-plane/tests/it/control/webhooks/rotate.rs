use chrono::TimeDelta;
use serde_json::json;

use super::Scene;
use crate::support::{Receiver, text};

#[tokio::test]
async fn old_and_new_secrets_sign_until_the_overlap_ends() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url(), "secret": "the very first secret" });
    let made = scene.owner.post(&scene.path, body).await.json(201);
    let hook = format!("{}/{}", scene.path, text(&made["id"]));
    let rotate = format!("{hook}/rotate-secret");
    let body = json!({ "overlap": "1h", "secret": "whsec_c2Vjb25kLXNlY29uZA==" });
    let second = scene.owner.post(&rotate, body).await.json(200);
    assert_eq!(second["secret"], "whsec_c2Vjb25kLXNlY29uZA==");
    assert_eq!(second["oldSecretsEndAt"], "2026-03-10T13:00:00Z");
    let body = json!({ "overlap": "2h", "secret": "a third one of ours" });
    scene.owner.post(&rotate, body).await.is(200);

    let keys: [&[u8]; 3] = [b"the very first secret", b"second-second", b"a third one of ours"];
    let signed = async || {
        receiver.forget();
        scene.test(&hook).await;
        scene.app.deliver().await;
        let received = receiver.only();
        let count = received.header("webhook-signature").split(' ').count();
        (keys.map(|key| received.is_signed_with(key)), count)
    };
    assert_eq!(signed().await, ([true, true, true], 3));
    scene.app.advance(TimeDelta::hours(1));
    assert_eq!(signed().await, ([false, true, true], 2));
    scene.app.advance(TimeDelta::hours(1));
    assert_eq!(signed().await, ([false, false, true], 1));
}

#[tokio::test]
async fn without_an_overlap_only_the_new_secret_signs() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url(), "secret": "the very first secret" });
    let made = scene.owner.post(&scene.path, body).await.json(201);
    let hook = format!("{}/{}", scene.path, text(&made["id"]));
    for n in 0..8 {
        let secret = format!("own secret number {n}");
        let overlap = if n == 7 { "0" } else { "24h" };
        let body = json!({ "overlap": overlap, "secret": secret });
        scene.owner.post(&format!("{hook}/rotate-secret"), body).await.is(200);
    }
    scene.test(&hook).await;
    scene.app.deliver().await;
    let received = receiver.only();
    assert!(received.is_signed_with(b"own secret number 7"));
    assert_eq!(received.header("webhook-signature").split(' ').count(), 1);
}

#[tokio::test]
async fn at_most_five_secrets_sign() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    for _ in 0..8 {
        scene.owner.post(&format!("{hook}/rotate-secret"), json!({})).await.is(200);
    }
    scene.test(&hook).await;
    scene.app.deliver().await;
    assert_eq!(receiver.only().header("webhook-signature").split(' ').count(), 5);
}

#[tokio::test]
async fn refusals_name_the_field() {
    let scene = Scene::new().await;
    let (_receiver, hook) = scene.receiver(json!(["*"])).await;
    let rotate = format!("{hook}/rotate-secret");
    for (body, field) in [
        (json!({ "overlap": "soon" }), "overlap"),
        (json!({ "overlap": "31d" }), "overlap"),
        (json!({ "secret": "short" }), "secret"),
        (json!({ "grace": "1h" }), "grace"),
    ] {
        scene.owner.post(&rotate, body).await.assert_invalid(field);
    }
}
