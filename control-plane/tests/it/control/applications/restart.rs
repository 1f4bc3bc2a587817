use authsome_control_plane::config::Config;
use authsome_shared::snapshot::{ApplicationStatus, Change};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{Client, FakeProxy, TestApp, Upstream, text};

fn loopback(config: &mut Config) {
    config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    config.applications.provision_timeout_ms = 500;
}

struct Scene {
    app: TestApp,
    owner: Client,
    api: Upstream,
    path: String,
}

impl Scene {
    /// An active application with an upstream of its own.
    async fn new() -> Self {
        let app = TestApp::with(loopback).await;
        let owner = app.sign_up("owner").await;
        let api = Upstream::start(200).await;
        let config = json!({ "upstream": { "urls": [api.url()], "healthCheck": {} } });
        let application = owner.application(&owner.workspace("pro").await, config).await;
        app.run_due().await;
        let path = format!("/control/v1/applications/{}", text(&application["id"]));
        Self { app, owner, api, path }
    }

    async fn restart(&self) -> Value {
        self.owner.post(&format!("{}/restart", self.path), json!({})).await.json(202)
    }

    async fn seen(&self) -> Value {
        self.owner.get(&self.path).await.json(200)
    }
}

#[tokio::test]
async fn a_restart_asks_the_upstream_again_and_ends_active() {
    let scene = Scene::new().await;
    assert_eq!(scene.api.paths(), ["/health"]);
    let answer = scene.restart().await;
    let id = scene.path.rsplit('/').next().unwrap();
    let expected = json!({
        "id": id, "status": "restarting", "message": "Application restart initiated",
    });
    assert_eq!(answer, expected);
    assert_eq!(scene.seen().await["status"], "restarting");
    assert_eq!(scene.app.run_due().await, 1);
    assert_eq!(scene.seen().await["status"], "active");
    assert_eq!(scene.api.paths(), ["/health", "/health"]);
}

#[tokio::test]
async fn proxies_serve_it_throughout_under_a_new_generation() {
    let scene = Scene::new().await;
    let mut stream = FakeProxy::new(&scene.app).follow().await;
    scene.restart().await;
    scene.app.run_due().await;
    let mut seen = vec![];
    for _ in 0..2 {
        for change in stream.delta().await.1 {
            let Change::Application(wire) = change else { panic!("{change:?}") };
            seen.push((wire.status, wire.generation));
        }
    }
    assert_eq!(seen, [(ApplicationStatus::Active, 1), (ApplicationStatus::Active, 1)]);
}

#[tokio::test]
async fn an_upstream_that_is_ill_fails_it_after_three_attempts_with_the_reason() {
    let scene = Scene::new().await;
    scene.api.answer(500);
    scene.restart().await;
    for attempt in 2..=4 {
        assert_eq!(scene.seen().await["status"], "restarting");
        assert_eq!(scene.app.run_due().await, 1);
        assert_eq!(scene.api.paths().len(), attempt);
        scene.app.advance(TimeDelta::seconds(10));
    }
    let seen = scene.seen().await;
    assert_eq!(seen["status"], "failed");
    assert!(text(&seen["statusReason"]).contains("/health answered 500"), "{seen}");
    // A change brings it back.
    scene.api.answer(200);
    scene.owner.patch(&scene.path, json!({ "config": {} })).await.is(200);
    scene.app.run_due().await;
    let seen = scene.seen().await;
    assert_eq!(seen["status"], "active");
    assert!(seen.get("statusReason").is_none(), "{seen}");
}

#[tokio::test]
async fn connected_proxies_must_have_taken_it_up() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    proxy.ack(scene.app.revision().await).await;
    scene.restart().await;
    scene.app.run_due().await;
    assert_eq!(scene.seen().await["status"], "restarting", "the proxy has not said so yet");
    scene.app.advance(TimeDelta::seconds(2));
    proxy.ack(scene.app.revision().await).await;
    scene.app.run_due().await;
    assert_eq!(scene.seen().await["status"], "active");
}

#[tokio::test]
async fn only_an_active_one_can_be_restarted() {
    let scene = Scene::new().await;
    scene.restart().await;
    let path = format!("{}/restart", scene.path);
    let refused = scene.owner.post(&path, json!({})).await.error(409, "invalid_state");
    assert!(text(&refused["message"]).contains("is restarting"), "{refused}");
    scene.owner.delete(&scene.path).await.error(409, "invalid_state");
    scene.app.run_due().await;
    scene.owner.delete(&scene.path).await.is(204);
    scene.owner.post(&path, json!({})).await.error(404, "not_found");
    scene.owner.post(&format!("{}/restore", scene.path), json!({})).await.is(200);
    scene.owner.post(&path, json!({})).await.error(409, "invalid_state");
    scene.app.run_due().await;
    scene.restart().await;
    scene.app.run_due().await;
}

#[tokio::test]
async fn a_restart_whose_worker_died_is_finished_by_another() {
    let scene = Scene::new().await;
    scene.restart().await;
    // Claimed, and never heard of again.
    let mut tx = scene.app.write().await;
    assert!(authsome_control_plane::jobs::claim(&mut tx).await.unwrap().is_some());
    tx.commit().await.unwrap();
    assert_eq!(scene.app.run_due().await, 0);
    scene.app.advance(TimeDelta::minutes(3));
    assert_eq!(scene.app.run_due().await, 1);
    assert_eq!(scene.seen().await["status"], "active");
}
