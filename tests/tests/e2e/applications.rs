//! What an application's owner sees of it while it is called: its log, its metrics, its restart.

use std::time::{Duration, Instant};

use authsome_e2e::api::{Answer, Api, unlimited_config};
use authsome_e2e::load::Load;
use authsome_e2e::platform::Platform;
use authsome_e2e::split::{Split, free_port};
use authsome_e2e::upstream::Upstream;
use authsome_e2e::wait;
use serde_json::{Value, json};

/// From a call's end to its place in logs and metrics.
const LAG: Duration = Duration::from_secs(10);

/// Asks until the answer has what is looked for; fails after [`LAG`].
async fn within<T>(api: &Api, path: &str, look: impl Fn(&Value) -> Option<T>) -> T {
    let began = Instant::now();
    let found = wait::gently(path, LAG, async || {
        let answer: Answer = api.get(path).await.expect(200);
        look(&answer.body)
    })
    .await;
    eprintln!("{path}: seen after {:?}", began.elapsed());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_in_the_metrics_and_failures_in_the_log_within_ten_seconds() {
    let upstream = Upstream::start().await;
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let application = api.unlimited(&upstream.url).await;
    let caller = platform.caller(&application);
    for _ in 0..5 {
        caller.get("/things?password=hush").await.expect(200);
    }
    let failed = caller.get("/status/503?password=hush").await.expect(503);

    let path = format!("/control/v1/applications/{}", application.id);
    let line = within(&api, &format!("{path}/logs?level=error"), |body| {
        body["logs"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!(line["message"], "GET /status/503 answered 503");
    assert_eq!(line["fields"]["requestId"], failed.header("x-authsome-request-id"));
    assert_eq!(line["fields"]["status"], 503);
    let metrics = within(&api, &format!("{path}/metrics?period=1h&interval=1m"), |body| {
        (body["metrics"]["requests"]["total"] == 6).then(|| body["metrics"].clone())
    })
    .await;
    assert_eq!(metrics["errors"]["total"], 1, "{metrics}");
    assert_eq!(metrics["errors"]["rate"], 16.667, "{metrics}");
    assert!(metrics["latency"]["avgP95"].as_f64() > Some(0.0), "{metrics}");
    let seen = api.get(&path).await.expect(200).body;
    assert_eq!(seen["metrics"]["apiRequests"], 6, "{seen}");
    assert!(seen["metrics"]["avgLatency"].as_f64() > Some(0.0), "{seen}");
    assert_eq!(seen["resources"]["replicas"], 1, "{seen}");

    let whole = api.get(&format!("{path}/logs?tail=1000")).await.expect(200).body;
    assert!(!whole.to_string().contains("hush"), "{whole}");
    assert!(!whole.to_string().contains(&application.secret_key), "{whole}");
    let messages: Vec<&str> =
        whole["logs"].as_array().unwrap().iter().filter_map(|it| it["message"].as_str()).collect();
    assert!(messages.contains(&"The application is active"), "{messages:?}");
    assert!(messages.contains(&"GET /things answered 200"), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_fails_no_request() {
    let upstream = Upstream::start().await;
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let mut config = unlimited_config(&upstream.url);
    config["upstream"]["healthCheck"] = json!({ "intervalMs": 1_000 });
    let application = api.application(&api.workspace("pro").await, config).await;
    let load = Load::start(&platform.caller(&application), "/things", 8);
    load.more(200).await;
    let path = format!("/control/v1/applications/{}/restart", application.id);
    for _ in 0..3 {
        let answer = api.post(&path, json!({})).await.expect(202);
        assert_eq!(answer.text("/status"), "restarting");
        load.more(100).await;
        api.active(&application.id).await;
        load.more(100).await;
    }
    let tally = load.stop().await;
    eprintln!("{tally:?}");
    assert_eq!(tally.broken, 0, "{tally:?}");
    assert_eq!(tally.of(200), tally.sent(), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_closes_the_breaker_of_an_upstream_that_is_back() {
    let upstream = Upstream::start().await;
    let platform = Platform::start().await;
    let api = platform.user().await;
    let gone = format!("http://127.0.0.1:{}", free_port());
    let mut config = unlimited_config(&upstream.url);
    config["upstream"]["breaker"] = json!({ "failures": 1, "openMs": 600_000 });
    config["upstream"]["retries"] = json!(0);
    let application = api.application(&api.workspace("pro").await, config).await;
    let caller = platform.caller(&application);
    let path = format!("/control/v1/applications/{}", application.id);
    let to = |url: &str| json!({ "config": { "upstream": { "urls": [url] } } });
    api.patch(&path, to(&gone)).await.expect(200);
    let status = async |wanted: u16| {
        wait::until(&format!("{wanted}"), Duration::from_secs(10), async || {
            (caller.get("/things").await.status == wanted).then_some(())
        })
        .await;
    };
    status(503).await;
    api.patch(&path, to(&upstream.url)).await.expect(200);
    caller.get("/things").await.expect(503);
    api.post(&format!("{path}/restart"), json!({})).await.expect(202);
    status(200).await;
    api.active(&application.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_while_the_control_plane_is_away_are_told_when_it_is_back() {
    let upstream = Upstream::start().await;
    let mut split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;
    let caller = split.caller(&application);
    caller.get("/things").await.expect(200);
    split.control().kill_9();
    for _ in 0..10 {
        caller.get("/status/500").await.expect(500);
    }
    split.start_control().await;
    let path = format!("/control/v1/applications/{}/logs?level=error", application.id);
    wait::gently("all are told", Duration::from_secs(20), async || {
        let logs = api.get(&path).await.expect(200).body;
        (logs["total"] == 10).then_some(())
    })
    .await;
}
