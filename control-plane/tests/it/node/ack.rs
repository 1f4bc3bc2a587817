use serde_json::json;

use crate::support::{FakeProxy, TestApp};

#[tokio::test]
async fn a_report_is_kept_whole() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let proxy = FakeProxy::new(&app);
    let ack = json!({
        "node": proxy.id, "version": "1.2.3", "revision": 1, "quarantined": 2, "unshipped": 3,
        "strict": "down",
    });
    proxy.client.post("/node/v1/ack", ack).await.is(204);
    let seen = admin.get("/control/v1/proxies").await.json(200)["data"][0].clone();
    assert_eq!((&seen["version"], &seen["quarantined"]), (&json!("1.2.3"), &json!(2)));
    assert_eq!((&seen["revision"], &seen["unshipped"]), (&json!(1), &json!(3)));
    assert_eq!(seen["strict"], "down");
}

#[tokio::test]
async fn later_releases_may_say_more() {
    let app = TestApp::new().await;
    let ack = json!({ "node": "node_1", "version": "9", "revision": 1, "mood": "fine" });
    app.node().post("/node/v1/ack", ack).await.is(204);
}

#[tokio::test]
async fn a_proxy_can_follow_before_it_ever_reported() {
    let app = TestApp::new().await;
    let mut stream = FakeProxy::new(&app).follow().await;
    assert_eq!(stream.fleet().await, 1);
    let admin = app.sign_up_admin("admin").await;
    let seen = admin.get("/control/v1/proxies").await.json(200)["data"][0].clone();
    assert_eq!(seen["connected"], false, "it has not said yet what it decides by");
}
