//! Several URLs behind one application: who is asked, who is left out, and what is tried again.

use authsome_shared::snapshot::{Balance, Breaker, Change};

use crate::harness::{Harness, World, eventually, key};
use crate::upstream::Upstream;

const USERS: &str = "/v1/app_1/users";
/// Reaches the upstream, which then closes without an answer.
const CLOSE: &str = "/v1/app_1/close";

async fn upstreams(count: usize) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for _ in 0..count {
        upstreams.push(Upstream::start().await);
    }
    upstreams
}

fn urls(upstreams: &[Upstream]) -> Vec<String> {
    upstreams.iter().map(Upstream::url).collect()
}

fn counts(upstreams: &[Upstream]) -> Vec<usize> {
    upstreams.iter().map(|upstream| upstream.seen().len()).collect()
}

async fn closed() -> String {
    Upstream::start().await.url()
}

async fn get(harness: &Harness, target: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let answer = harness.connect().await.get(target, &harness.world.secret).await;
        statuses.push(answer.status);
    }
    statuses
}

/// Gets an answer to a request with a body.
async fn send(harness: &Harness, method: &str, target: &str) -> u16 {
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    harness.connect().await.ask(method, target, &bearer, "{}").await.status
}

#[tokio::test]
async fn requests_are_shared_by_weight() {
    let upstreams = upstreams(3).await;
    let urls = urls(&upstreams);
    let harness = Harness::with(|world| {
        world.upstream().urls = urls;
        world.upstream().weights = vec![5, 3, 2];
    })
    .await;
    assert_eq!(get(&harness, USERS, 20).await, [200; 20]);
    assert_eq!(counts(&upstreams), [10, 6, 4]);
}

#[tokio::test]
async fn by_hash_a_key_and_its_successor_have_one_url() {
    let upstreams = upstreams(3).await;
    let urls = urls(&upstreams);
    let harness = Harness::with(|world| {
        world.upstream().urls = urls;
        world.upstream().balance = Balance::Hash;
    })
    .await;
    get(&harness, USERS, 5).await;
    let (mut successor, secret) = key("key_2");
    successor.bucket = harness.world.key.id.clone();
    harness.change(vec![Change::Key(Box::new(successor))]).await;
    for _ in 0..5 {
        harness.connect().await.get(USERS, &secret).await;
    }
    let mut counts = counts(&upstreams);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 10]);
}

#[tokio::test]
async fn by_least_requests_a_busy_url_is_spared() {
    let upstreams = upstreams(2).await;
    let urls = urls(&upstreams);
    let harness = Harness::with(|world| {
        world.upstream().urls = urls;
        world.upstream().balance = Balance::LeastRequests;
    })
    .await;
    let mut busy = harness.connect().await;
    let bearer = format!("Authorization: Bearer {}\r\n", harness.world.secret);
    busy.send(format!("GET /v1/app_1/silence HTTP/1.1\r\nHost: a\r\n{bearer}\r\n")).await;
    let silent = || async { counts(&upstreams).iter().sum::<usize>() == 1 };
    eventually("the silent request is under way", silent).await;
    let before = counts(&upstreams);
    assert_eq!(get(&harness, USERS, 6).await, [200; 6]);
    let idle = usize::from(before[0] == 1);
    assert_eq!((counts(&upstreams)[idle], counts(&upstreams)[1 - idle]), (6, 1));
    // Once the client has left, its request weighs no more.
    drop(busy);
    let both = || async {
        get(&harness, USERS, 1).await;
        counts(&upstreams)[1 - idle] > 1
    };
    eventually("the other is asked again", both).await;
}

#[tokio::test]
async fn a_dead_url_costs_no_request_and_soon_no_attempt() {
    let live = Upstream::start().await;
    let urls = vec![closed().await, live.url()];
    let harness = Harness::with(|world| world.upstream().urls = urls).await;
    assert_eq!(get(&harness, USERS, 30).await, [200; 30]);
    assert_eq!(live.seen().len(), 30);
    let made = "authsome_proxy_upstream_retries_total{outcome=\"made\"}";
    assert_eq!(harness.metric(made).await, 5, "after five failures it was left out");
    assert_eq!(harness.metric("authsome_proxy_upstream_ejections_total").await, 1);
    let ejected = "authsome_proxy_upstream_urls{state=\"ejected\"}";
    eventually("the gauge shows it", || async { harness.metric(ejected).await == 1 }).await;

    // A new configuration does not bring it back.
    let mut application = harness.world.application.clone();
    application.max_body_bytes -= 1;
    harness.change(vec![Change::Application(Box::new(application))]).await;
    assert_eq!(get(&harness, USERS, 4).await, [200; 4]);
    assert_eq!(harness.metric(made).await, 5);
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_sent_twice() {
    let upstreams = upstreams(2).await;
    let urls = urls(&upstreams);
    let harness = Harness::with(|world| world.upstream().urls = urls).await;
    let total = || counts(&upstreams).iter().sum::<usize>();
    for (method, attempts) in [("POST", 1), ("PATCH", 1), ("PUT", 1)] {
        let before = total();
        assert_eq!(send(&harness, method, CLOSE).await, 502);
        assert_eq!(total() - before, attempts, "{method}");
    }
    let before = total();
    assert_eq!(get(&harness, CLOSE, 1).await, [502]);
    assert_eq!(total() - before, 2, "GET without a body is tried once more");
}

#[tokio::test]
async fn what_was_never_sent_is_tried_elsewhere_whatever_it_is() {
    let live = Upstream::start().await;
    let urls = vec![closed().await, live.url()];
    let harness = Harness::with(|world| world.upstream().urls = urls).await;
    for _ in 0..4 {
        assert_eq!(send(&harness, "POST", USERS).await, 200);
    }
    assert!(live.seen().iter().all(|seen| seen.body_bytes == 2));
}

#[tokio::test]
async fn without_retries_the_first_failure_is_told() {
    let live = Upstream::start().await;
    let urls = vec![closed().await, live.url()];
    let harness = Harness::with(|world| {
        world.upstream().urls = urls;
        world.upstream().retries = 0;
    })
    .await;
    let mut statuses = get(&harness, USERS, 4).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
}

#[tokio::test]
async fn a_url_that_was_silent_is_not_asked_again_but_another_is() {
    let upstreams = upstreams(2).await;
    let urls = urls(&upstreams);
    let harness = Harness::with(|world| {
        world.upstream().urls = urls;
        world.upstream().retries = 3;
        world.upstream().timeouts.first_byte_ms = 100;
    })
    .await;
    assert_eq!(get(&harness, "/v1/app_1/silence", 1).await, [504]);
    assert_eq!(counts(&upstreams), [1, 1]);
}

#[tokio::test]
async fn retries_are_no_storm_when_everything_is_dead() {
    let upstreams = upstreams(3).await;
    let urls = urls(&upstreams);
    let harness = Harness::with(|world| {
        world.upstream().urls = urls;
        world.upstream().retries = 3;
    })
    .await;
    let calls = 150;
    assert_eq!(get(&harness, CLOSE, calls).await, vec![502; calls]);
    let sent: usize = counts(&upstreams).iter().sum();
    assert!((calls..=calls * 12 / 10 + 10).contains(&sent), "{sent} requests for {calls} calls");
    let refused = "authsome_proxy_upstream_retries_total{outcome=\"over_budget\"}";
    assert!(harness.metric(refused).await > 0);
}

fn breaker(world: &mut World, open_ms: u64) {
    let breaker = Breaker { failures: 3, open_ms, ..Breaker::default() };
    world.upstream().breaker = Some(breaker);
    world.upstream().retries = 0;
}

#[tokio::test]
async fn an_open_breaker_refuses_at_once_and_bills_nothing() {
    let harness = Harness::with(|world| breaker(world, 60_000)).await;
    assert_eq!(get(&harness, CLOSE, 3).await, [502; 3]);
    let mut wire = harness.connect().await;
    for _ in 0..5 {
        let answer = wire.get(USERS, &harness.world.secret).await;
        assert_eq!((answer.status, &*answer.code()), (503, "service_unavailable"));
        assert_eq!(answer.json()["error"]["reason"], "breaker_open");
        let wait: u64 = answer.header("retry-after").expect("told").parse().expect("seconds");
        assert!((55..=60).contains(&wait), "{wait}");
    }
    assert_eq!(harness.upstream.seen().len(), 3);
    let open = "authsome_proxy_upstream_breakers_open";
    eventually("the gauge shows it", || async { harness.metric(open).await == 1 }).await;
    assert_eq!(harness.metric("authsome_proxy_upstream_breakers_opened_total").await, 1);
    harness.shipped(3).await;
    assert_eq!(harness.control.records().len(), 3);
}

#[tokio::test]
async fn a_breaker_closes_when_its_probe_is_answered() {
    let harness = Harness::with(|world| breaker(world, 100)).await;
    assert_eq!(get(&harness, CLOSE, 3).await, [502; 3]);
    let closed = || async { get(&harness, USERS, 1).await == [200] };
    eventually("a probe is let through", closed).await;
    assert_eq!(get(&harness, USERS, 5).await, [200; 5]);
}

#[tokio::test]
async fn a_response_of_any_status_opens_no_breaker_and_puts_nothing_out() {
    let harness = Harness::with(|world| breaker(world, 60_000)).await;
    assert_eq!(get(&harness, "/v1/app_1/status/503", 10).await, [503; 10]);
    assert_eq!(harness.upstream.seen().len(), 10, "each was the upstream's own answer");
    assert_eq!(harness.metric("authsome_proxy_upstream_ejections_total").await, 0);
}
