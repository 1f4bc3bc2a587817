//! Rate limits and quotas, as a client meets them.

use authsome_shared::clock::Clock;
use authsome_shared::snapshot::{Change, RateLimit, Route};
use authsome_shared::usage::Total;
use chrono::TimeDelta;

use crate::harness::{Harness, World, eventually, key};

const USERS: &str = "/v1/app_1/users";

fn at(world: &mut World, time: &str) {
    world.clock = Clock::manual(time.parse().expect("a time"));
}

#[tokio::test]
async fn over_the_rate_limit_a_client_is_told_when_to_return() {
    let harness = Harness::with(|world| {
        at(world, "2026-11-22T12:00:00Z");
        let limit = RateLimit::fast(2, 60_000, 2);
        world.application.rate_limit = Some(limit);
    })
    .await;
    let mut wire = harness.connect().await;
    for remaining in ["1", "0"] {
        let answer = wire.get(USERS, &harness.world.secret).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, Some(remaining)));
    }
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!(answer.status, 429);
    let id = answer.header("x-authsome-request-id").expect("an id");
    assert_eq!(
        answer.json(),
        serde_json::json!({"error": {
            "code": "rate_limit_exceeded",
            "message": "Rate limit exceeded. Retry after 30 seconds",
            "retryAfter": 30,
            "details": {"limit": "application", "requests": 2, "windowMs": 60_000},
            "requestId": id,
        }})
    );
    let reset = harness.world.clock.now().timestamp() + 60;
    for (name, value) in [
        ("retry-after", "30"),
        ("x-ratelimit-limit", "2"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", &*reset.to_string()),
        ("ratelimit-policy", "\"default\";q=2;w=60"),
        ("ratelimit", "\"default\";r=0;t=60"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    harness.world.clock.advance(TimeDelta::seconds(30));
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 429);

    let mut application = harness.world.application.clone();
    application.rate_limit = Some(RateLimit::fast(600, 60_000, 600));
    harness.change(vec![Change::Application(Box::new(application))]).await;
    harness.world.clock.advance(TimeDelta::milliseconds(100));
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200, "one step of the new");
}

#[tokio::test]
async fn a_quota_counts_units_and_opens_again_next_month() {
    let harness = Harness::with(|world| {
        at(world, "2026-11-30T23:59:00Z");
        world.key.quota = Some(10);
        world.application.max_body_bytes = 100;
        world.application.routes = vec![Route {
            pattern: "GET /users".parse().expect("a pattern"),
            scope: None,
            public: false,
            cost: 4,
        }];
    })
    .await;
    let mut wire = harness.connect().await;
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    let long = "x".repeat(101);
    assert_eq!(wire.ask("GET", USERS, &bearer, &long).await.status, 413, "costs nothing");
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (429, "quota_exceeded"));
    assert_eq!(
        answer.json()["error"]["details"],
        serde_json::json!({"limit": "key", "quota": 10, "period": "2026-11"})
    );
    assert_eq!(answer.header("retry-after"), Some("61"));
    harness.world.clock.advance(TimeDelta::seconds(61));
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
}

#[tokio::test]
async fn what_the_fleet_used_counts_here_too() {
    let harness = Harness::with(|world| {
        at(world, "2026-11-22T12:00:00Z");
        world.workspace.quota = Some(100);
    })
    .await;
    let mut wire = harness.connect().await;
    assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    harness.shipped(1).await;
    harness.control.totals(vec![Total {
        subject: "ws_1".into(),
        period: "2026-11".into(),
        used: 100,
        applied: 0,
    }]);
    eventually("used up", || async {
        harness.connect().await.get(USERS, &harness.world.secret).await.status == 429
    })
    .await;
}

#[tokio::test]
async fn a_quota_is_exact_through_restarts_without_a_control_plane() {
    let mut harness = Harness::with(|world| {
        at(world, "2026-11-22T12:00:00Z");
        world.workspace.quota = Some(6);
    })
    .await;
    for _ in 0..2 {
        let status = harness.connect().await.get(USERS, &harness.world.secret).await.status;
        assert_eq!(status, 200);
    }
    harness.shipped(2).await;
    harness.control.set_up(false);
    for _ in 0..2 {
        let status = harness.connect().await.get(USERS, &harness.world.secret).await.status;
        assert_eq!(status, 200);
    }
    harness.kill();
    harness.restart().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(harness.connect().await.get(USERS, &harness.world.secret).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429], "two confirmed, two in the journal, two left");
    harness.control.set_up(true);
    harness.shipped(6).await;
    let status = harness.connect().await.get(USERS, &harness.world.secret).await.status;
    assert_eq!(status, 429);
}

#[tokio::test]
async fn a_quota_that_is_set_later_counts_what_was_used_before() {
    let harness = Harness::with(|world| at(world, "2026-11-22T12:00:00Z")).await;
    let mut wire = harness.connect().await;
    for _ in 0..70 {
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    }
    harness.shipped(70).await;
    let mut key = harness.world.key.clone();
    key.quota = Some(100);
    harness.change(vec![Change::Key(Box::new(key))]).await;
    for _ in 0..30 {
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    }
    let answer = wire.get(USERS, &harness.world.secret).await;
    assert_eq!((answer.status, &*answer.code()), (429, "quota_exceeded"));
}

#[tokio::test]
async fn a_successors_quota_counts_its_line_even_after_a_restart_without_a_control_plane() {
    let mut harness = Harness::with(|world| at(world, "2026-11-22T12:00:00Z")).await;
    let mut wire = harness.connect().await;
    for _ in 0..70 {
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    }
    harness.shipped(70).await;
    let (mut successor, secret) = key("key_2");
    successor.bucket = harness.world.key.id.clone();
    successor.quota = Some(100);
    harness.change(vec![Change::Key(Box::new(successor))]).await;
    harness.control.set_up(false);
    for _ in 0..10 {
        assert_eq!(wire.get(USERS, &secret).await.status, 200);
    }
    harness.kill();
    harness.restart().await;
    let mut wire = harness.connect().await;
    for _ in 0..20 {
        assert_eq!(wire.get(USERS, &secret).await.status, 200);
    }
    assert_eq!(wire.get(USERS, &secret).await.status, 429);
    // Another proxy, which has nothing on its disk, learns it with the configuration.
    harness.stop().await;
    harness.control.set_up(true);
    harness.restart().await;
    harness.shipped(100).await;
    harness.stop().await;
    std::fs::remove_dir_all(harness.dir.path().join("proxy")).expect("removed");
    harness.restart().await;
    harness.ready().await;
    assert_eq!(harness.connect().await.get(USERS, &secret).await.status, 429);
}

#[tokio::test]
async fn parallel_requests_never_pass_a_quota() {
    let harness = Harness::with(|world| world.workspace.quota = Some(50)).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (address, secret) = (harness.address(), harness.world.secret.clone());
            tokio::spawn(async move {
                let mut wire = crate::wire::Wire::to(address).await;
                let mut passed = 0;
                for _ in 0..15 {
                    passed += usize::from(wire.get(USERS, &secret).await.status == 200);
                }
                passed
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += task.await.expect("no panic");
    }
    assert_eq!(passed, 50);
    harness.shipped(50).await;
    assert_eq!(harness.control.records().len(), 50);
}
