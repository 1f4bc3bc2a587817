//! Every admitted request is recorded once, whatever happens.

use authsome_proxy::config::WhenFull;
use authsome_shared::id::KeyId;

use crate::harness::{Harness, eventually, files};

const USERS: &str = "/v1/app_1/users";

#[tokio::test]
async fn a_record_says_what_happened() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    let answer = wire.ask("POST", "/v1/app_1/user/u-42", &bearer, "hello").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-authsome-user-id"), None, "between the upstream and us");
    assert_eq!(answer.header("x-authsome-key-id"), None);
    assert_eq!(answer.header("x-ratelimit-limit"), Some("1000"), "ours, not the upstream's");
    assert_eq!(wire.get("/v1/app_1/status/204", &harness.world.secret).await.status, 204);
    let head = wire.ask("HEAD", "/v1/app_1/users", &bearer, "").await;
    assert_eq!(head.status, 200);
    harness.shipped(3).await;
    let records = harness.control.records();
    let first = &records[0];
    assert_eq!(first.workspace.as_str(), "ws_1");
    assert_eq!(first.application.as_str(), "app_1");
    assert_eq!((&first.key, &first.bucket), (&"key_1".parse::<KeyId>().expect("an id"), &None));
    assert_eq!((&*first.route, first.status, first.units), ("*", 200, 1));
    assert_eq!((first.bytes_in, first.bytes_out), (5, 5));
    assert_eq!(first.user.as_deref(), Some("u-42"));
    assert!(first.latency_us > 0);
    let age = harness.world.clock.now().timestamp_millis() - first.at;
    assert!((0..10_000).contains(&age), "{age}");
    let rest: Vec<_> =
        records[1..].iter().map(|it| (&*it.route, it.status, it.bytes_out)).collect();
    assert_eq!(rest, [("*", 204, 0), ("GET /users", 200, 0)]);
}

#[tokio::test]
async fn usage_follows_within_two_seconds() {
    let harness = Harness::start().await;
    let began = std::time::Instant::now();
    harness.connect().await.get(USERS, &harness.world.secret).await;
    harness.shipped(1).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_away_is_recorded() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    wire.send(format!(
        "GET /v1/app_1/silence HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        harness.world.secret
    ))
    .await;
    eventually("it has reached the upstream", || async { !harness.upstream.seen().is_empty() })
        .await;
    drop(wire);
    harness.shipped(1).await;
    assert_eq!(harness.control.records()[0].status, 499);
}

#[tokio::test]
async fn the_record_is_on_disk_before_the_client_sees_the_end() {
    let mut harness = Harness::start().await;
    harness.control.set_up(false);
    for round in 1..=5 {
        for target in [USERS, "/v1/app_1/status/204", "/v1/app_1/bytes/100000"] {
            assert!(harness.connect().await.get(target, &harness.world.secret).await.status < 300);
        }
        // The client has its answer; from here on the process may die.
        harness.kill();
        harness.restart().await;
        assert_eq!(harness.metric("authsome_proxy_journal_unshipped_records").await, 3 * round);
    }
    harness.control.set_up(true);
    harness.shipped(15).await;
    assert_eq!((harness.control.records().len(), harness.control.gaps()), (15, 0));
    assert_eq!(harness.control.epochs(), 5, "each run has its own");
    eventually("confirmed segments are deleted", || async {
        files(&harness.dir.path().join("proxy/journal"), ".seg").len() == 1
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_the_control_plane_comes_and_goes() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    for i in 0..60 {
        if i % 10 == 0 {
            harness.control.set_up(i % 20 == 0);
        }
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
    }
    harness.control.set_up(true);
    harness.shipped(60).await;
    eventually("all is confirmed", || async {
        harness.metric("authsome_proxy_journal_unshipped_records").await == 0
    })
    .await;
    assert_eq!((harness.control.records().len(), harness.control.gaps()), (60, 0));
}

#[tokio::test]
async fn a_torn_journal_loses_only_the_torn_record() {
    let mut harness = Harness::start().await;
    harness.control.set_up(false);
    for _ in 0..3 {
        harness.connect().await.get(USERS, &harness.world.secret).await;
    }
    harness.kill();
    let segment = files(&harness.dir.path().join("proxy/journal"), ".seg").remove(0);
    let bytes = std::fs::read(&segment).expect("read");
    std::fs::write(&segment, &bytes[..bytes.len() - 3]).expect("written");
    harness.restart().await;
    harness.control.set_up(true);
    harness.connect().await.get(USERS, &harness.world.secret).await;
    harness.shipped(3).await;
    assert_eq!(harness.control.records().len(), 3);
}

#[tokio::test]
async fn a_full_ledger_refuses_or_drops_as_configured() {
    for (policy, status) in [(WhenFull::Refuse, 503), (WhenFull::Drop, 200)] {
        let harness = Harness::with(|world| {
            world.config.ledger.segment_bytes = 64 * 1024;
            world.config.ledger.max_bytes = 128 * 1024;
            world.config.ledger.when_full = policy;
        })
        .await;
        harness.control.set_up(false);
        let mut wire = harness.connect().await;
        let mut served = 0;
        loop {
            let answer = wire.get(USERS, &harness.world.secret).await;
            if answer.status == 503 {
                assert_eq!(answer.json()["error"]["reason"], "ledger_full");
                break;
            }
            served += 1;
            if harness.metric("authsome_proxy_ledger_lost_records_total").await > 0 {
                break;
            }
        }
        assert!(served > 100, "{served}");
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, status);
        harness.control.set_up(true);
        eventually("room again", || async {
            harness.metric("authsome_proxy_journal_unshipped_records").await == 0
        })
        .await;
        assert_eq!(wire.get(USERS, &harness.world.secret).await.status, 200);
        let lost = harness.metric("authsome_proxy_ledger_lost_records_total").await;
        assert_eq!(lost > 0, policy == WhenFull::Drop);
        eventually("the loss shows as a gap", || async { harness.control.gaps() == lost }).await;
    }
}
