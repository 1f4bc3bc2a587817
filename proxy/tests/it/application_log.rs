//! What an application's owner is told of its requests, and that no request waits for it.

use std::time::{Duration, Instant};

use authsome_shared::log::{Level, LogLine};

use crate::harness::{Harness, eventually};

const USERS: &str = "/v1/app_1/users";
const DROPPED: &str = "authsome_proxy_application_log_dropped_total";

/// The lines, once there are so many.
async fn lines(harness: &Harness, count: usize) -> Vec<LogLine> {
    eventually("the lines are shipped", || async { harness.control.log_lines().len() >= count })
        .await;
    harness.control.log_lines()
}

#[tokio::test]
async fn failures_refusals_and_a_sample_of_the_rest_are_told_and_nothing_secret() {
    let harness = Harness::start().await;
    let secret = &harness.world.secret;
    let mut wire = harness.connect().await;
    let target = format!("/v1/app_1/users/{secret}?key={secret}");
    assert_eq!(wire.get(&target, secret).await.status, 200);
    let failed = wire.get("/v1/app_1/status/503?password=hush", secret).await;
    assert_eq!(failed.status, 503);
    let refused = harness.connect().await.get(USERS, "sk_live_typo").await;
    assert_eq!(refused.status, 401);
    // Of nobody's application.
    assert_eq!(harness.connect().await.get("/v1/app_9/users", secret).await.status, 404);

    let lines = lines(&harness, 3).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let of = |level| lines.iter().find(|line| line.level == level).expect("one of each");
    let error = of(Level::Error);
    assert_eq!(error.message, "GET /status/503 answered 503");
    assert_eq!(error.application.as_str(), "app_1");
    let id = failed.header("x-authsome-request-id").expect("an id");
    assert_eq!(error.fields["requestId"], id);
    assert_eq!((&error.fields["status"], &error.fields["key"]), (&503.into(), &"key_1".into()));
    assert_eq!(of(Level::Warn).fields["cause"], "key_malformed");
    assert!(of(Level::Debug).message.ends_with("*** answered 200"), "{lines:?}");
    let text = serde_json::to_string(&lines).expect("JSON");
    assert!(!text.contains(&secret[..20]) && !text.contains("hush"), "{text}");
}

#[tokio::test]
async fn a_flood_is_bounded_and_what_was_left_out_is_counted() {
    let harness = Harness::with(|world| {
        world.config.application_log.errors_per_second = 3;
        world.config.application_log.successes_per_second = 0;
    })
    .await;
    let mut wire = harness.connect().await;
    let began = Instant::now();
    for _ in 0..60 {
        assert_eq!(wire.get("/v1/app_1/status/500", &harness.world.secret).await.status, 500);
    }
    for _ in 0..5 {
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    }
    let told = || {
        let lines = harness.control.log_lines();
        let errors = lines.iter().filter(|line| line.level == Level::Error).count() as u64;
        let left_out = lines.iter().filter_map(|line| line.fields.get("leftOut")?.as_u64());
        (errors, left_out.sum::<u64>(), lines)
    };
    eventually("each is told or counted", || async {
        let (errors, left_out, _) = told();
        errors + left_out >= 60
    })
    .await;
    let (errors, left_out, lines) = told();
    assert_eq!(errors + left_out, 60, "{lines:?}");
    assert!(errors >= 3 && errors <= 3 * (2 + began.elapsed().as_secs()), "{errors}");
    assert!(lines.iter().all(|line| line.level > Level::Debug), "{lines:?}");
    assert_eq!(harness.metric(&format!("{DROPPED}{{reason=\"rate\"}}")).await, left_out);
}

#[tokio::test]
async fn lines_wait_for_a_control_plane_that_is_away_and_requests_do_not() {
    let harness = Harness::start().await;
    harness.control.set_up(false);
    let mut wire = harness.connect().await;
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(wire.get("/v1/app_1/status/500", &harness.world.secret).await.status, 500);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(harness.control.log_lines(), []);
    harness.control.set_up(true);
    let lines = lines(&harness, 10).await;
    assert!(lines.is_sorted_by_key(|line| line.at));
    assert_eq!(lines.len(), 10, "none twice: {lines:?}");
    assert_eq!(harness.metric("authsome_proxy_application_log_lines_total").await, 10);
}

#[tokio::test]
async fn what_waits_at_a_stop_is_shipped() {
    let mut harness = Harness::start().await;
    let mut wire = harness.connect().await;
    assert_eq!(wire.get("/v1/app_1/status/500", &harness.world.secret).await.status, 500);
    drop(wire);
    harness.stop().await;
    assert_eq!(harness.control.log_lines().len(), 1);
}

#[tokio::test]
async fn an_older_control_plane_refuses_lines_and_nothing_else_suffers() {
    let harness = Harness::start().await;
    harness.control.refuse_logs();
    let mut wire = harness.connect().await;
    assert_eq!(wire.get("/v1/app_1/status/500", &harness.world.secret).await.status, 500);
    let refused = format!("{DROPPED}{{reason=\"refused\"}}");
    eventually("the line is given up", || async { harness.metric(&refused).await == 1 }).await;
    harness.shipped(1).await;
}
