use authsome_shared::node::GONE_AFTER_SECONDS;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, TestApp};

const PATH: &str = "/control/v1/admin/proxies";

#[tokio::test]
async fn both_paths_answer_the_same() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    FakeProxy::new(&app).ack(1).await;
    let list = admin.get(PATH).await.json(200);
    assert_eq!(list["total"], 1);
    assert_eq!(list, admin.get("/control/v1/proxies").await.json(200));
}

#[tokio::test]
async fn one_that_is_gone_is_forgotten_and_a_connected_one_stays() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let (gone, silent, here) = (FakeProxy::new(&app), FakeProxy::new(&app), FakeProxy::new(&app));
    silent.ack(1).await;
    app.advance(TimeDelta::seconds(GONE_AFTER_SECONDS.cast_signed() + 1));
    gone.ack(1).await;
    gone.leave().await;
    here.ack(1).await;
    let at = |proxy: &FakeProxy| format!("{PATH}/{}", proxy.id);
    admin.delete(&at(&here)).await.error(409, "invalid_state");
    for proxy in [&gone, &silent] {
        admin.delete(&at(proxy)).await.is(204);
        admin.delete(&at(proxy)).await.error(404, "not_found");
    }
    let list = admin.get(PATH).await.json(200);
    assert_eq!((&list["total"], &list["data"][0]["id"]), (&json!(1), &json!(here.id)));
    // It comes back.
    gone.ack(1).await;
    assert_eq!(admin.get(PATH).await.json(200)["total"], 2);
    admin.delete(&format!("{PATH}/node_none")).await.error(404, "not_found");
}

#[tokio::test]
async fn a_forgotten_proxy_gives_its_share_back_at_once() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let (one, two) = (FakeProxy::new(&app), FakeProxy::new(&app));
    let mut stream = one.follow().await;
    assert_eq!(stream.fleet().await, 1);
    // It never acknowledged anything, so it does not count as connected; it shares the limits.
    drop(two.follow().await);
    assert_eq!(stream.fleet().await, 2);
    admin.delete(&format!("{PATH}/{}", two.id)).await.is(204);
    assert_eq!(stream.fleet().await, 1);
}
