//! A revoked key is refused, at once and for good.

use std::time::{Duration, Instant};

use authsome_e2e::api::Api;
use authsome_e2e::call::Caller;
use authsome_e2e::platform::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_within_100_ms_twenty_times() {
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, serde_json::json!({})).await;

    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let key = api.key(&application).await;
        let caller = Caller::new(&platform.urls, &application.id, &key.text);
        caller.get("/works").await.expect(200);
        api.delete(&Api::key_path(&application, &key)).await.expect(204);
        let answered = Instant::now();
        while caller.get("/refused").await.status != 401 {
            assert!(answered.elapsed() < Duration::from_secs(2), "still admitted");
        }
        worst = worst.max(answered.elapsed());
        // For good: no cache lets it in again.
        for _ in 0..5 {
            assert_eq!(caller.get("/refused").await.expect(401).code(), "unauthorized");
        }
    }
    eprintln!("slowest of 20 revocations: {worst:?}");
    assert!(worst < Duration::from_millis(100), "{worst:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_waits_names_the_proxies_and_the_next_call_is_refused() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, serde_json::json!({})).await;

    for _ in 0..5 {
        let key = api.key(&application).await;
        let caller = Caller::new(&platform.urls, &application.id, &key.text);
        let path = Api::key_path(&application, &key) + "?wait=applied";
        let answer = api.delete(&path).await.expect(200);
        caller.get("/refused").await.expect(401);
        assert!(answer.body.to_string().contains("node_"), "no proxy is named: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_deleted_application_stop_at_once() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, serde_json::json!({})).await;
    let caller = platform.caller(&application);
    caller.get("/works").await.expect(200);

    api.delete(&format!("/control/v1/applications/{}", application.id)).await.expect(204);
    let refused = authsome_e2e::wait::until("refused", Duration::from_secs(2), async || {
        let answer = caller.get("/refused").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.expect(404);
}
