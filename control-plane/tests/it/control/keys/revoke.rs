use std::time::Instant;

use authsome_shared::node::GONE_AFTER_SECONDS;
use authsome_shared::snapshot::Change;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{Client, FakeProxy, TestApp, text, within};

/// An owner, the path of its application's keys, and one of them.
async fn with_key(app: &TestApp) -> (Client, String, String) {
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let key = text(&owner.key(&id).await["id"]);
    (owner, format!("/control/v1/applications/{id}/keys"), key)
}

#[tokio::test]
async fn revoking_is_published_and_happens_once() {
    let app = TestApp::new().await;
    let (owner, path, key) = with_key(&app).await;
    let mut stream = FakeProxy::new(&app).follow().await;
    let answer = owner.delete(&format!("{path}/{key}")).await;
    answer.is(204);
    assert!(answer.body.is_empty());
    let (_, changes) = stream.delta().await;
    assert_eq!(changes, [Change::RemoveKey(key.parse().unwrap())]);
    owner.delete(&format!("{path}/{key}")).await.error(404, "not_found");
    owner.post(&format!("{path}/{key}/rotate"), json!({})).await.error(404, "not_found");
}

#[tokio::test]
async fn a_key_is_reached_through_its_own_application_only() {
    let app = TestApp::new().await;
    let (owner, path, key) = with_key(&app).await;
    let other = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let foreign = format!("/control/v1/applications/{other}/keys/{key}");
    owner.delete(&foreign).await.error(404, "not_found");
    owner.post(&format!("{foreign}/rotate"), json!({})).await.error(404, "not_found");
    owner.delete(&format!("{path}/{key}")).await.is(204);
}

#[tokio::test]
async fn waiting_answers_once_every_connected_proxy_refuses_the_key() {
    let app = TestApp::new().await;
    let (owner, path, key) = with_key(&app).await;
    let proxies = [FakeProxy::new(&app), FakeProxy::new(&app)];
    let revision = app.revision().await;
    let mut streams = vec![];
    for proxy in &proxies {
        streams.push(proxy.follow().await);
        proxy.ack(revision).await;
    }
    let url = format!("{path}/{key}?wait=applied&timeoutMs=20000");
    let revoke = owner.delete(&url);
    let take_up = async {
        for (proxy, stream) in proxies.iter().zip(&mut streams) {
            let (revision, _) = stream.delta().await;
            proxy.ack(revision).await;
        }
    };
    let (answer, ()) = within(async { tokio::join!(revoke, take_up) }).await;
    let answer = answer.json(200);
    assert_eq!(answer["revision"], revision + 1);
    let mut expected: Vec<_> = proxies.iter().map(|proxy| proxy.id.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(answer["applied"], json!(expected));
    assert_eq!(answer["pending"], json!([]));
}

#[tokio::test]
async fn waiting_ends_in_time_and_names_who_is_behind() {
    let app = TestApp::new().await;
    let (owner, path, key) = with_key(&app).await;
    let (slow, gone) = (FakeProxy::new(&app), FakeProxy::new(&app));
    gone.ack(1).await;
    app.advance(TimeDelta::seconds(GONE_AFTER_SECONDS.cast_signed() + 1));
    slow.ack(app.revision().await).await;
    let begin = Instant::now();
    let url = format!("{path}/{key}?wait=applied&timeoutMs=100");
    let answer = owner.delete(&url).await.json(200);
    assert!(begin.elapsed().as_secs() < 10);
    assert_eq!(answer["applied"], json!([]));
    assert_eq!(answer["pending"], json!([slow.id]), "one that has gone is not waited for");
    owner.delete(&format!("{path}/{key}")).await.error(404, "not_found");
}

#[tokio::test]
async fn without_proxies_there_is_nothing_to_wait_for() {
    let app = TestApp::new().await;
    let (owner, path, key) = with_key(&app).await;
    let answer = within(owner.delete(&format!("{path}/{key}?wait=applied"))).await.json(200);
    assert_eq!(answer["revision"], app.revision().await);
    owner.delete(&format!("{path}/{key}?wait=forever")).await.assert_invalid("wait");
}
