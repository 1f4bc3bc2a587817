use chrono::TimeDelta;
use serde_json::json;

use super::Scene;
use crate::support::text;

#[tokio::test]
async fn an_endpoint_that_says_gone_is_disabled_at_once_and_its_owner_told() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer(&[410]);
    let gone = scene.test(&hook).await;
    assert_eq!(scene.app.deliver().await, 1);
    let seen = scene.owner.get(&hook).await.json(200);
    assert_eq!(seen["enabled"], false);
    assert!(text(&seen["disabledReason"]).contains("410"));
    assert_eq!(scene.owner.get(&gone).await.json(200)["status"], "failed");
    scene.owner.key(&scene.application()).await;
    assert_eq!(scene.app.deliver().await, 0);

    scene.app.run_due().await;
    let mail = scene.app.mails().pop().unwrap();
    assert!(mail.contains("To: owner@example.com"), "{mail}");
    for words in ["410 Gone", &receiver.url(), &scene.application()] {
        assert!(mail.contains(words), "{words}: {mail}");
    }
    let logged = "select count(*) from audit_entries where action = 'webhook.disabled'";
    assert_eq!(scene.app.number(logged).await, 1);

    let enabled = scene.owner.patch(&hook, json!({ "enabled": true })).await.json(200);
    assert!(enabled.get("disabledReason").is_none());
    scene.test(&hook).await;
    assert_eq!(scene.app.deliver().await, 1);
}

#[tokio::test]
async fn five_days_of_nothing_but_failures_disable_a_webhook() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer(&[500; 3]);
    scene.test(&hook).await;
    scene.app.deliver().await;
    scene.app.advance(TimeDelta::days(5) - TimeDelta::seconds(1));
    scene.app.deliver().await;
    assert_eq!(scene.owner.get(&hook).await.json(200)["enabled"], true);
    let pending = scene.test(&hook).await;
    scene.app.advance(TimeDelta::seconds(1));
    assert_eq!(scene.app.deliver().await, 1);
    let seen = scene.owner.get(&hook).await.json(200);
    assert_eq!(seen["enabled"], false);
    assert!(text(&seen["disabledReason"]).contains("since 2026-03-10 12:00 UTC"));
    assert_eq!(scene.owner.get(&pending).await.json(200)["status"], "failed");
    scene.app.advance(TimeDelta::days(1));
    assert_eq!(scene.app.deliver().await, 0);
    scene.app.run_due().await;
    assert!(scene.app.mails().pop().unwrap().contains("A webhook was disabled"));
}

#[tokio::test]
async fn one_success_is_a_new_start() {
    let scene = Scene::new().await;
    let (receiver, hook) = scene.receiver(json!(["*"])).await;
    receiver.answer(&[500, 200, 500]);
    for _ in 0..3 {
        scene.test(&hook).await;
        scene.app.deliver().await;
        scene.app.advance(TimeDelta::days(4));
    }
    let seen = scene.owner.get(&hook).await.json(200);
    assert_eq!(seen["enabled"], true);
}
