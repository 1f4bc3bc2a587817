use serde_json::json;

use super::Scene;
use crate::support::{fields, text};

#[tokio::test]
async fn the_contracts_example_is_created_and_its_secret_shown_once() {
    let scene = Scene::new().await;
    let body = json!({
        "url": "https://1.1.1.1/webhooks/authsome",
        "events": [
            "application.provisioned", "application.failed", "application.deleted",
            "usage.threshold",
        ],
        "secret": "whsec_your-secret",
    });
    let made = scene.owner.post(&scene.path, body.clone()).await.json(201);
    assert_eq!(
        fields(&made),
        [
            "applicationId",
            "createdAt",
            "description",
            "enabled",
            "events",
            "id",
            "secret",
            "updatedAt",
            "url"
        ]
    );
    assert!(text(&made["id"]).starts_with("whk_"));
    for name in ["url", "events", "secret"] {
        assert_eq!(made[name], body[name]);
    }
    assert_eq!(made["enabled"], true);
    let path = format!("{}/{}", scene.path, text(&made["id"]));
    let seen = scene.owner.get(&path).await.json(200);
    assert!(seen.get("secret").is_none());
    assert_eq!(seen["url"], body["url"]);
}

#[tokio::test]
async fn a_secret_is_made_when_none_is_given_and_everything_subscribed_to() {
    let scene = Scene::new().await;
    let made = scene.owner.post(&scene.path, json!({ "url": "https://1.1.1.1/" })).await.json(201);
    let secret = text(&made["secret"]);
    let random = secret.strip_prefix("whsec_").unwrap();
    assert_eq!(random.len(), 32);
    assert_eq!(made["events"], json!(["*"]));
    let other = scene.owner.post(&scene.path, json!({ "url": "https://1.1.1.1/" })).await.json(201);
    assert_ne!(other["secret"], made["secret"]);
}

#[tokio::test]
async fn no_secret_is_stored_in_clear() {
    let scene = Scene::new().await;
    let body = json!({ "url": "https://1.1.1.1/", "secret": "a very own secret" });
    let own = scene.owner.post(&scene.path, body).await.json(201);
    let made = scene.owner.post(&scene.path, json!({ "url": "https://1.1.1.1/" })).await.json(201);
    let rotate = format!("{}/{}/rotate-secret", scene.path, text(&made["id"]));
    let rotated = scene.owner.post(&rotate, json!({})).await.json(200);
    let dump = scene.app.dump().await;
    assert!(dump.contains(&text(&own["id"])));
    for answer in [own, made, rotated] {
        assert!(!dump.contains(&text(&answer["secret"])));
    }
}

#[tokio::test]
async fn refusals_name_the_field() {
    let scene = Scene::new().await;
    let url = "https://1.1.1.1/";
    for (body, field) in [
        (json!({}), "url"),
        (json!({ "url": "" }), "url"),
        (json!({ "url": "your-app.com/hooks" }), "url"),
        (json!({ "url": 1 }), "url"),
        (json!({ "url": url, "events": [] }), "events"),
        (json!({ "url": url, "events": "*" }), "events"),
        (json!({ "url": url, "events": ["key.created", "key.lost"] }), "events[1]"),
        (json!({ "url": url, "events": ["webhook.test"] }), "events[0]"),
        (json!({ "url": url, "secret": "fifteen letters" }), "secret"),
        (json!({ "url": url, "secret": "a line\nand another" }), "secret"),
        (json!({ "url": url, "description": "x".repeat(501) }), "description"),
        (json!({ "url": url, "description": "\u{0}" }), "description"),
        (json!({ "url": url, "enabled": true }), "enabled"),
    ] {
        scene.owner.post(&scene.path, body).await.assert_invalid(field);
    }
    assert_eq!(scene.owner.get(&scene.path).await.json(200)["total"], 0);
}

#[tokio::test]
async fn an_application_has_twenty_at_most() {
    let scene = Scene::new().await;
    let body = json!({ "url": "https://1.1.1.1/" });
    for _ in 0..20 {
        scene.owner.post(&scene.path, body.clone()).await.is(201);
    }
    let error = scene.owner.post(&scene.path, body).await.error(409, "conflict");
    assert!(text(&error["message"]).contains("20"));
}

#[tokio::test]
async fn events_asked_for_twice_are_listed_once() {
    let scene = Scene::new().await;
    let made = scene.webhook("https://1.1.1.1/", json!(["key.*", "*", "key.*"])).await;
    assert_eq!(made["events"], json!(["key.*", "*"]));
}
