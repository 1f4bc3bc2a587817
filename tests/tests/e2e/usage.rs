//! What is billed is what was admitted.

use std::time::Duration;

use authsome_e2e::api::upstream_config;
use authsome_e2e::call::Caller;
use authsome_e2e::load;
use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::Upstream;

/// From the last answer to the count that shows it.
const LAG: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn usage_equals_the_calls_admitted_two_seconds_after_the_last() {
    let upstream = Upstream::start().await;
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    // The plan's limit holds here, so that some calls are refused.
    let application = api.application(&workspace, upstream_config(&upstream.url)).await;
    let caller = platform.caller(&application);

    let mut total = load::calls(&caller, "/things", 400, 16).await;
    total.add(&load::calls(&caller, "/status/404", 100, 16).await);
    total.add(&load::calls(&caller, "/status/500", 20, 4).await);
    let stranger = Caller::new(&platform.urls, &application.id, "sk_live_wrong");
    total.add(&load::calls(&stranger, "/things", 30, 4).await);

    assert_eq!(total.sent(), 550, "{total:?}");
    assert_eq!(total.broken, 0, "{total:?}");
    assert_eq!(total.of(401), 30, "{total:?}");
    assert!(total.of(429) > 0, "the plan's limit was never reached: {total:?}");
    let admitted = total.sent() - total.of(401) - total.of(429);
    assert_eq!(admitted, upstream.requests(), "{total:?}");
    api.requests_become(&workspace, admitted, LAG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_at_concurrency_64_are_ten_thousand_on_the_bill() {
    let upstream = Upstream::start().await;
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let application = api.unlimited(&upstream.url).await;

    let began = std::time::Instant::now();
    let total = load::calls(&platform.caller(&application), "/things", 10_000, 64).await;
    eprintln!("10,000 calls in {:?}", began.elapsed());
    assert_eq!(total.of(200), 10_000, "{total:?}");
    assert_eq!(upstream.requests(), 10_000);
    api.requests_become(&application.workspace, 10_000, LAG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_away_is_a_502_and_on_the_bill() {
    let upstream = Upstream::start().await;
    let platform = Platform::start().await;
    let api = platform.user().await;
    let application = api.unlimited(&upstream.url).await;
    // Active with the real one, then moved to where nobody listens.
    let gone = format!("http://127.0.0.1:{}", authsome_e2e::split::free_port());
    let path = format!("/control/v1/applications/{}", application.id);
    api.patch(&path, serde_json::json!({ "config": upstream_config(&gone) })).await.expect(200);

    let caller = platform.caller(&application);
    let mut calls = 0;
    let answer =
        authsome_e2e::wait::until("the new upstream holds", Duration::from_secs(5), async || {
            calls += 1;
            let answer = caller.get("/things").await;
            (answer.status != 200).then_some(answer)
        })
        .await;
    assert_eq!(answer.expect(502).code(), "bad_gateway");
    api.requests_become(&application.workspace, calls, Duration::from_secs(5)).await;
}
