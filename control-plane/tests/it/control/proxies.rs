//! `/control/v1/proxies`.

use authsome_shared::node::GONE_AFTER_SECONDS;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, fields};

const PATH: &str = "/control/v1/proxies";

#[tokio::test]
async fn proxies_are_listed_with_revision_and_lag() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    assert_eq!(admin.get(PATH).await.json(200)["data"], json!([]));
    let (one, two) = (FakeProxy::new(&app), FakeProxy::new(&app));
    let revision = app.revision().await;
    one.ack(revision).await;
    app.advance(TimeDelta::seconds(1));
    admin.workspace("free").await;
    two.ack(revision + 1).await;

    let list = admin.get(PATH).await.json(200);
    assert_eq!(list["total"], 2);
    let proxy = &list["data"][0];
    assert_eq!(
        fields(proxy),
        [
            "address",
            "connected",
            "firstSeenAt",
            "id",
            "lag",
            "lastSeenAt",
            "quarantined",
            "revision",
            "strict",
            "unshipped",
            "version",
        ]
    );
    assert_eq!(proxy["id"], json!(one.id));
    assert_eq!(proxy["address"], one.client.address.ip().to_string());
    assert_eq!((&proxy["revision"], &proxy["lag"]), (&json!(revision), &json!(1)));
    assert_eq!(proxy["connected"], true);
    assert_eq!(list["data"][1]["lag"], 0);

    one.ack(revision + 1).await;
    let proxy = admin.get(PATH).await.json(200)["data"][0].clone();
    assert_eq!((&proxy["revision"], &proxy["lag"]), (&json!(revision + 1), &json!(0)));
    assert_eq!(proxy["firstSeenAt"], "2026-03-10T12:00:00Z");
    assert_eq!(proxy["lastSeenAt"], "2026-03-10T12:00:01Z");
}

#[tokio::test]
async fn a_silent_proxy_counts_as_gone() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let proxy = FakeProxy::new(&app);
    proxy.ack(1).await;
    let connected = async || admin.get(PATH).await.json(200)["data"][0]["connected"].clone();
    app.advance(TimeDelta::seconds(GONE_AFTER_SECONDS.cast_signed()));
    assert_eq!(connected().await, true);
    app.advance(TimeDelta::microseconds(1));
    assert_eq!(connected().await, false);
    proxy.ack(1).await;
    assert_eq!(connected().await, true);
}

#[tokio::test]
async fn only_platform_admins_see_them() {
    let app = TestApp::new().await;
    app.sign_up("user").await.get(PATH).await.error(403, "forbidden");
    app.node().get(PATH).await.error(401, "unauthorized");
}
