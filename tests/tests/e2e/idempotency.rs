//! Requests to the control plane sent again, while it is killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authsome_e2e::api::{Answer, Api, upstream_config};
use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::Upstream;
use authsome_e2e::wait;
use futures_util::future::join_all;
use serde_json::json;

const REQUESTS: usize = 90;

/// Sends a request until it is answered, as a client that was cut off would; counts the attempts
/// that nothing came of.
async fn create_key(api: &Api, path: &str, number: usize, broken: &AtomicUsize) -> Answer {
    let body = json!({ "name": format!("Key {number}"), "type": "secret" });
    let key = format!("create-{number}");
    wait::until("an answer", Duration::from_mins(2), async || {
        let answer = api.try_post(path, &key, &body).await;
        if answer.is_none() {
            broken.fetch_add(1, Ordering::Relaxed);
        }
        answer
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_sent_again_after_kill_9_has_one_effect_and_one_answer() {
    let upstream = Upstream::start().await;
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, upstream_config(&upstream.url)).await;
    let path = format!("/control/v1/applications/{}/keys", application.id);

    let (answered, broken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut keys = BTreeMap::new();
    for (round, numbers) in [0..30, 30..60, 60..REQUESTS].into_iter().enumerate() {
        let began = answered.load(Ordering::Relaxed);
        let requests = numbers.map(async |number| {
            let answer = create_key(&api, &path, number, &broken).await.expect(201);
            answered.fetch_add(1, Ordering::Relaxed);
            (number, answer.text("/key"))
        });
        let kill = async {
            // In the middle: some are answered, some are under way, some wait.
            let enough = began + 3 + 7 * round;
            wait::until("some answers", Duration::from_mins(1), async || {
                (answered.load(Ordering::Relaxed) >= enough).then_some(())
            })
            .await;
            platform.process.kill_9();
            platform.start_again().await;
        };
        let (created, ()) = tokio::join!(join_all(requests), kill);
        keys.extend(created);
    }

    for (number, key) in &keys {
        let again = create_key(&api, &path, *number, &broken).await.expect(201);
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.text("/key"), *key, "request {number} was answered another key");
    }
    let list = api.get(&path).await.expect(200);
    // With the application's first two.
    assert_eq!(list.body["total"], REQUESTS + 2, "each request made exactly one key");
    assert!(broken.load(Ordering::Relaxed) > 0, "no kill hit a request");
}
