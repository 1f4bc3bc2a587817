//! A rotation changes no entitlement.

use std::time::Duration;

use authsome_e2e::api::{Api, Application};
use authsome_e2e::call::Caller;
use authsome_e2e::platform::Platform;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_key_share_one_bucket_while_they_overlap() {
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    // One call in six minutes refills nothing while this runs.
    let limit = json!({ "requests": 10, "windowMs": 3_600_000, "burst": 10 });
    let application = api.application(&workspace, json!({ "rateLimit": limit })).await;
    let old = platform.caller(&application);

    for _ in 0..4 {
        old.get("/old").await.expect(200);
    }
    let new = rotate(&platform, &api, &application, "10m").await;
    // Its first call, by which the proxy was seen to know it, is the fifth of ten.
    for _ in 0..2 {
        old.get("/old").await.expect(200);
        new.get("/new").await.expect(200);
    }
    old.get("/old").await.expect(200);
    assert_eq!(new.get("/new").await.expect(429).code(), "rate_limit_exceeded");
    assert_eq!(old.get("/old").await.expect(429).code(), "rate_limit_exceeded");
    api.requests_become(&workspace, 10, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_overlap_the_old_key_is_refused_at_once() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, json!({})).await;
    let old = platform.caller(&application);
    old.get("/old").await.expect(200);

    let new = rotate(&platform, &api, &application, "0s").await;
    old.get("/old").await.expect(401);
    new.get("/new").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_key_dies_when_the_overlap_ends() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, json!({})).await;
    let old = platform.caller(&application);

    let new = rotate(&platform, &api, &application, "2s").await;
    old.get("/old").await.expect(200);
    authsome_e2e::wait::until("the overlap ends", Duration::from_secs(5), async || {
        (old.get("/old").await.status == 401).then_some(())
    })
    .await;
    new.get("/new").await.expect(200);
}

/// Rotates the application's first secret key; the successor, once the proxy knows it.
async fn rotate(
    platform: &Platform,
    api: &Api,
    application: &Application,
    overlap: &str,
) -> Caller {
    let keys = format!("/control/v1/applications/{}/keys", application.id);
    let listed = api.get(&keys).await.expect(200);
    let secret = listed.body["data"].as_array().expect("a list").iter();
    let secret = secret.clone().find(|key| key["type"] == "secret").expect("the first secret key");
    let id = secret["id"].as_str().expect("an id");
    let rotated = api.post(&format!("{keys}/{id}/rotate"), json!({ "overlap": overlap })).await;
    let rotated = rotated.expect(201);
    assert_eq!(rotated.text("/replaces"), id);
    let key = rotated.text("/key");
    api.known(application, &key).await;
    Caller::new(&platform.urls, &application.id, &key)
}
