use serde_json::{Value, json};

use crate::support::{TestApp, Upstream, text};

fn upstream(url: &str) -> Value {
    json!({ "upstream": { "urls": [url] } })
}

#[tokio::test]
async fn private_addresses_are_refused_by_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/applications", owner.workspace("pro").await);
    for url in [
        "http://127.0.0.1:3000",
        "http://10.0.0.1",
        "http://192.168.1.1/base",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:3000",
        "http://[::ffff:127.0.0.1]",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0/",
    ] {
        let body = json!({ "name": "A", "config": upstream(url) });
        owner.post(&path, body).await.assert_invalid("config.upstream.urls[0]");
    }
}

#[tokio::test]
async fn a_name_that_leads_to_loopback_is_not_asked() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let api = Upstream::start(200).await;
    let config = upstream(&format!("http://localhost:{}", api.address.port()));
    let application = owner.application(&owner.workspace("pro").await, config).await;
    for _ in 0..3 {
        app.run_due().await;
        app.advance(chrono::TimeDelta::seconds(10));
    }
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let seen = owner.get(&path).await.json(200);
    assert_eq!(seen["status"], "failed");
    let reason = text(&seen["statusReason"]);
    assert!(reason.contains("is not at a public address"), "{reason}");
    assert!(api.paths().is_empty());
}

#[tokio::test]
async fn the_operator_opens_networks() {
    let app =
        TestApp::with(|config| config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]))
            .await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let api = Upstream::start(200).await;
    let by_name = format!("http://localhost:{}", api.address.port());
    for url in [api.url(), by_name] {
        let application = owner.application(&workspace, upstream(&url)).await;
        app.run_due().await;
        let path = format!("/control/v1/applications/{}", text(&application["id"]));
        assert_eq!(owner.get(&path).await.json(200)["status"], "active", "{url}");
    }
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    let body = json!({ "name": "A", "config": upstream("http://10.0.0.1") });
    owner.post(&path, body).await.assert_invalid("config.upstream.urls[0]");
}
