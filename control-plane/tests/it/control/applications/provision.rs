use authsome_control_plane::config::Config;
use authsome_shared::snapshot::{ApplicationStatus, Change};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{Client, FakeProxy, TestApp, Upstream, text};

fn loopback(config: &mut Config) {
    config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    config.applications.provision_timeout_ms = 500;
}

fn upstream(url: &str) -> Value {
    json!({ "upstream": { "urls": [url], "healthCheck": { "path": "/healthz" } } })
}

async fn status(client: &Client, application: &Value) -> Value {
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    client.get(&path).await.json(200)
}

#[tokio::test]
async fn an_application_is_active_once_its_upstream_answers() {
    let app = TestApp::with(loopback).await;
    let owner = app.sign_up("owner").await;
    let api = Upstream::start(204).await;
    let workspace = owner.workspace("pro").await;
    let mut stream = FakeProxy::new(&app).follow().await;
    let application = owner.application(&workspace, upstream(&format!("{}/base", api.url()))).await;
    assert_eq!(status(&owner, &application).await["status"], "provisioning");
    assert_eq!(app.run_due().await, 1);
    assert_eq!(status(&owner, &application).await["status"], "active");
    assert_eq!(api.paths(), ["/base/healthz"]);
    let mut states = vec![];
    while states.last() != Some(&ApplicationStatus::Active) {
        for change in stream.delta().await.1 {
            if let Change::Application(wire) = change {
                states.push(wire.status);
            }
        }
    }
    assert_eq!(states, [ApplicationStatus::Provisioning, ApplicationStatus::Active]);
}

#[tokio::test]
async fn three_attempts_with_pauses_then_failed_with_the_reason() {
    let app = TestApp::with(loopback).await;
    let owner = app.sign_up("owner").await;
    let api = Upstream::start(500).await;
    let application = owner.application(&owner.workspace("pro").await, upstream(&api.url())).await;
    let attempts = || api.paths().len();

    assert_eq!((app.run_due().await, attempts()), (1, 1));
    app.advance(TimeDelta::milliseconds(1_999));
    assert_eq!((app.run_due().await, attempts()), (0, 1));
    app.advance(TimeDelta::milliseconds(1));
    assert_eq!((app.run_due().await, attempts()), (1, 2));
    app.advance(TimeDelta::milliseconds(3_999));
    assert_eq!((app.run_due().await, attempts()), (0, 2));
    assert_eq!(status(&owner, &application).await["status"], "provisioning");
    app.advance(TimeDelta::milliseconds(1));
    assert_eq!((app.run_due().await, attempts()), (1, 3));

    let seen = status(&owner, &application).await;
    assert_eq!(seen["status"], "failed");
    let reason = text(&seen["statusReason"]);
    assert!(reason.contains("/healthz answered 500"), "{reason}");
}

#[tokio::test]
async fn changing_a_failed_one_tries_anew() {
    let app = TestApp::with(loopback).await;
    let owner = app.sign_up("owner").await;
    let api = Upstream::start(500).await;
    let application = owner.application(&owner.workspace("pro").await, upstream(&api.url())).await;
    for _ in 0..3 {
        app.run_due().await;
        app.advance(TimeDelta::seconds(10));
    }
    api.answer(200);
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let change = json!({ "config": { "upstream": { "healthCheck": { "path": "/" } } } });
    let answer = owner.patch(&path, change).await.json(200);
    assert_eq!(answer["status"], "provisioning");
    assert!(answer.get("statusReason").is_none());
    app.run_due().await;
    assert_eq!(status(&owner, &application).await["status"], "active");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_fails() {
    let app = TestApp::with(|config| {
        loopback(config);
        config.applications.provision_attempts = 1;
    })
    .await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let gone = Upstream::start(200).await.url();
    let application = owner.application(&workspace, upstream(&gone)).await;
    app.run_due().await;
    let seen = status(&owner, &application).await;
    assert_eq!(seen["status"], "failed");
    assert!(text(&seen["statusReason"]).contains(&gone));

    // One of several is enough.
    let api = Upstream::start(200).await;
    let config = json!({ "upstream": { "urls": [gone, api.url()] } });
    let application = owner.application(&workspace, config).await;
    app.run_due().await;
    assert_eq!(status(&owner, &application).await["status"], "active");
}

#[tokio::test]
async fn without_an_upstream_the_default_one_is_needed() {
    let app = TestApp::with(|config| {
        config.applications.default_upstream = "none".into();
        config.applications.provision_attempts = 1;
    })
    .await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let seen = status(&owner, &application).await;
    assert_eq!(seen["status"], "failed");
    assert!(text(&seen["statusReason"]).contains("no upstream"));
}

#[tokio::test]
async fn a_connected_proxy_must_have_taken_it_up() {
    let app = TestApp::with(loopback).await;
    let owner = app.sign_up("owner").await;
    let proxy = FakeProxy::new(&app);
    proxy.ack(app.revision().await).await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let seen = status(&owner, &application).await;
    assert_eq!(seen["status"], "provisioning", "the proxy has not said so yet");
    app.advance(TimeDelta::seconds(2));
    proxy.ack(app.revision().await).await;
    app.run_due().await;
    assert_eq!(status(&owner, &application).await["status"], "active");
}
