//! Limits and quotas hold, and say why.

use std::time::{Duration, Instant};

use authsome_e2e::platform::Platform;
use serde_json::json;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_calls_at_once_on_the_free_plan_admit_its_burst_and_what_refills() {
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let workspace = api.workspace("free").await;
    let application = api.application(&workspace, json!({})).await;
    let caller = platform.caller(&application);

    let began = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let caller = caller.clone();
        calls.spawn(async move { caller.get("/burst").await });
    }
    let answers = calls.join_all().await;
    let refill = began.elapsed().as_millis() / 100;

    let (admitted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    let count = u128::try_from(admitted.len()).expect("at most 60");
    assert!((10..=10 + refill).contains(&count), "{count} admitted, {refill} refilled");
    for answer in &admitted {
        assert_eq!(answer.header("x-ratelimit-limit"), "10");
        assert!(answer.header("x-ratelimit-remaining").parse::<u32>().expect("a number") < 10);
    }
    for answer in refused {
        let answer = answer.expect(429);
        assert_eq!(answer.code(), "rate_limit_exceeded");
        assert!(answer.text("/error/requestId").starts_with("req_"), "{answer:?}");
        let retry_after = answer.body["error"]["retryAfter"].as_u64().expect("seconds");
        assert_eq!(answer.header("retry-after"), retry_after.to_string());
        assert_eq!(answer.header("x-ratelimit-limit"), "10");
        assert_eq!(answer.header("x-ratelimit-remaining"), "0");
        assert!(answer.header("x-ratelimit-reset").parse::<u64>().expect("epoch") > 1_700_000_000);
        assert!(!answer.header("ratelimit").is_empty(), "{answer:?}");
        assert!(!answer.header("ratelimit-policy").is_empty(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_limit_holds_within_a_second() {
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, json!({})).await;
    let caller = platform.caller(&application);
    assert_eq!(caller.get("/before").await.expect(200).header("x-ratelimit-limit"), "100");

    let path = format!("/control/v1/applications/{}", application.id);
    let limit = json!({ "requests": 7, "windowMs": 1000, "burst": 7 });
    api.patch(&path, json!({ "config": { "rateLimit": limit } })).await.expect(200);
    let changed = Instant::now();
    authsome_e2e::wait::until("the new limit holds", Duration::from_secs(1), async || {
        (caller.get("/after").await.header("x-ratelimit-limit") == "7").then_some(())
    })
    .await;
    eprintln!("a changed limit held after {:?}", changed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_after_the_months_quota_is_refused_and_says_so() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, json!({ "quota": { "requests": 5 } })).await;
    let caller = platform.caller(&application);

    for _ in 0..5 {
        caller.get("/within").await.expect(200);
    }
    let refused = caller.get("/beyond").await.expect(429);
    assert_eq!(refused.code(), "quota_exceeded");
    assert!(refused.text("/error/requestId").starts_with("req_"), "{refused:?}");
    api.requests_become(&workspace, 5, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_stays_used_up_over_a_restart() {
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, json!({ "quota": { "requests": 5 } })).await;
    let caller = platform.caller(&application);
    for _ in 0..5 {
        caller.get("/within").await.expect(200);
    }

    platform.process.kill_9();
    platform.start_again().await;

    assert_eq!(caller.get("/beyond").await.expect(429).code(), "quota_exceeded");
}
