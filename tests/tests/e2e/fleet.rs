//! Rate limits and quotas over several proxies: in shares, and exactly by Redis.

use std::time::{Duration, Instant};

use authsome_e2e::api::{Api, Application};
use authsome_e2e::call::Caller;
use authsome_e2e::fault::{Fault, Link};
use authsome_e2e::fleet::{Fleet, known, metric, metric_becomes};
use authsome_e2e::load::{Load, Tally, calls};
use authsome_e2e::redis::Redis;
use authsome_e2e::upstream::Upstream;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// An application with one key, and a limit or quota that the fleet holds.
async fn application(fleet: &Fleet, upstream: &Upstream, config: Value) -> Application {
    let api = Api::register(&fleet.first.urls).await;
    let workspace = api.workspace("pro").await;
    let mut whole = json!({ "upstream": { "urls": [upstream.url] } });
    for (name, value) in config.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    api.application(&workspace, whole).await
}

fn load(callers: &[Caller], concurrency: usize) -> Vec<Load> {
    callers.iter().map(|caller| Load::start(caller, "/things", concurrency)).collect()
}

async fn stop(loads: Vec<Load>) -> Tally {
    let mut total = Tally::default();
    for load in loads {
        total.add(&load.stop().await);
    }
    total
}

/// The load's calls at all proxies, until this much time has passed since it began.
async fn until(loads: &[Load], began: Instant, seconds: f64) {
    while began.elapsed().as_secs_f64() < seconds {
        for load in loads {
            load.more(1).await;
        }
    }
}

fn expect_only(tally: &Tally, statuses: &[u16]) {
    let odd: Vec<_> = tally.answered.keys().filter(|it| !statuses.contains(it)).collect();
    assert!(odd.is_empty() && tally.broken == 0, "{tally:?}");
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
fn float(count: u64) -> f64 {
    count as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_limit_is_one_limit_however_many_proxies_come_and_go() {
    const RATE: f64 = 100.0;
    let upstream = Upstream::start().await;
    let mut fleet = Fleet::start(2, &[]).await;
    let limit = json!({ "requests": 100, "windowMs": 1000, "burst": 100 });
    let application = application(&fleet, &upstream, json!({ "rateLimit": limit })).await;
    let callers = fleet.callers(&application.id, &application.secret_key).await;

    let (began, before) = (Instant::now(), upstream.requests());
    let mut loads = load(&callers, 4);
    until(&loads, began, 1.0).await;
    // One joins, with a full bucket of its share …
    let third = fleet.join().await.urls.clone();
    let third = known(&third, &application.id, &application.secret_key).await;
    fleet.shared_by(3).await;
    loads.extend(load(&[third], 4));
    until(&loads, Instant::now(), 0.5).await;
    let (steady, seen) = (Instant::now(), upstream.requests());
    until(&loads, steady, 2.0).await;
    let rate = float(upstream.requests() - seen) / steady.elapsed().as_secs_f64();
    let tally = stop(loads).await;
    let (elapsed, admitted) = (began.elapsed().as_secs_f64(), upstream.requests() - before);
    // … and one leaves, whose share the others have when it has gone.
    assert!(fleet.others[0].process.terminate().await.success());
    let left = fleet.others.remove(0);
    drop(left);
    fleet.shared_by(2).await;
    expect_only(&tally, &[200, 429]);

    let over = float(admitted) - (RATE + RATE * elapsed);
    eprintln!(
        "three proxies admitted {rate:.1} of {RATE}/s; in all {over:+.0} over burst and rate"
    );
    // A stall of the whole machine fills buckets; that they are bounded is in `over`.
    assert!((0.75 * RATE..=1.5 * RATE).contains(&rate), "{rate} of {RATE}/s");
    // A newcomer brings a third of a burst, the rounding a request a proxy.
    assert!(over <= RATE / 3.0 + 3.0, "{over} over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_was_killed_leaves_its_share_when_it_counts_as_gone() {
    let mut fleet = Fleet::start(2, &[]).await;
    fleet.others[0].process.kill_9();
    let began = Instant::now();
    metric_becomes(&fleet.first.urls, "authsome_proxy_fleet_proxies", 1).await;
    eprintln!("its share was taken over after {:?}", began.elapsed());
    // A restarted control plane gives nobody's share away before all had time to come back.
    fleet.restart(0).await;
    fleet.shared_by(2).await;
    fleet.first.control().kill_9();
    fleet.first.start_control().await;
    fleet.shared_by(2).await;
    for urls in fleet.urls() {
        metric_becomes(&urls, "authsome_proxy_control_connected", 1).await;
        assert_eq!(metric(&urls, "authsome_proxy_fleet_proxies").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_over_three_proxies_is_exceeded_by_no_more_than_is_under_way() {
    const QUOTA: u64 = 1_000;
    let upstream = Upstream::start().await;
    let fleet = Fleet::start(3, &[]).await;
    let limit = json!({ "requests": 1_000_000 });
    let config = json!({ "rateLimit": limit, "quota": { "requests": QUOTA } });
    let application = application(&fleet, &upstream, config).await;
    let callers = fleet.callers(&application.id, &application.secret_key).await;
    let (began, before) = (Instant::now(), upstream.requests());
    let loads = load(&callers, 2);
    authsome_e2e::wait::until("all refuse", Duration::from_mins(1), async || {
        for caller in &callers {
            if caller.try_get("/more").await.ok()?.status != 429 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    expect_only(&stop(loads).await, &[200, 429]);
    let admitted = upstream.requests();
    let rate = float(admitted - before) / took;
    let over = admitted.saturating_sub(QUOTA);
    eprintln!("a quota of {QUOTA} at {rate:.0}/s: {over} over, {:.2} s of it", float(over) / rate);
    assert!(admitted >= QUOTA, "{admitted}");
    assert!(float(over) <= rate * 1.5, "{over} over at {rate}/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_set_later_counts_what_any_proxy_admitted_before() {
    const REVISION: &str = "authsome_proxy_snapshot_revision";
    const SOON: Duration = Duration::from_secs(10);
    let upstream = Upstream::start().await;
    let fleet = Fleet::start(2, &[]).await;
    let api = Api::register(&fleet.first.urls).await;
    let application = api.unlimited(&upstream.url).await;
    // A call at each.
    let callers = fleet.callers(&application.id, &application.secret_key).await;
    for caller in &callers {
        assert_eq!(calls(caller, "/before", 34, 1).await.of(200), 34);
    }
    api.requests_become(&application.workspace, 70, SOON).await;
    let mut known = vec![];
    for urls in fleet.urls() {
        known.push((metric(&urls, REVISION).await, urls));
    }
    let path = format!("/control/v1/applications/{}", application.id);
    api.patch(&path, json!({ "config": { "quota": { "requests": 100 } } })).await.expect(200);
    for (revision, urls) in known {
        authsome_e2e::wait::until("the quota is known", SOON, async || {
            (metric(&urls, REVISION).await > revision).then_some(())
        })
        .await;
    }
    assert_eq!(calls(&callers[0], "/more", 30, 1).await.of(200), 30);
    callers[0].get("/beyond").await.expect(429);
    api.requests_become(&application.workspace, 100, SOON).await;
    authsome_e2e::wait::until("the other refuses too", SOON, async || {
        (callers[1].get("/beyond").await.status == 429).then_some(())
    })
    .await;
}

/// Proxies that wait for Redis for as long as a loaded test machine may take.
async fn strict_fleet(redis: &Redis, proxies: usize) -> Fleet {
    let fleet = Fleet::start(
        proxies,
        &[
            ("AUTHSOME_PROXY__STRICT__REDIS_URL", &redis.url()),
            ("AUTHSOME_PROXY__STRICT__TIMEOUT_MS", "2000"),
            // So that a hundred a second are many enough to be leased ahead.
            ("AUTHSOME_PROXY__STRICT__LEASE_MS", "100"),
        ],
    )
    .await;
    for urls in fleet.urls() {
        metric_becomes(&urls, "authsome_proxy_strict_up", 1).await;
    }
    fleet
}

const LATE: &str = "authsome_proxy_strict_fallbacks_total{reason=\"late\"}";
const DOWN: &str = "authsome_proxy_strict_fallbacks_total{reason=\"down\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_limit_is_exact_over_three_proxies() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let fleet = strict_fleet(&redis, 3).await;
    for (requests, window, burst) in [(20, 1000, 20), (100, 1000, 100), (50, 10_000, 50)] {
        let limit = json!({
            "requests": requests, "windowMs": window, "burst": burst, "mode": "strict"
        });
        let application = application(&fleet, &upstream, json!({ "rateLimit": limit })).await;
        let (began, before) = (Instant::now(), upstream.requests());
        let callers = fleet.callers(&application.id, &application.secret_key).await;
        let loads = load(&callers, 4);
        until(&loads, began, 2.5).await;
        let tally = stop(loads).await;
        let elapsed = began.elapsed().as_secs_f64();
        expect_only(&tally, &[200, 429]);
        let admitted = upstream.requests() - before;
        let most = float(burst) + elapsed * 1000.0 * float(requests) / float(window);
        eprintln!("strict {requests} in {window} ms: {admitted} of {most:.1} in {elapsed:.2} s");
        assert!(float(admitted) <= most, "{admitted} of {most}");
        assert!(float(admitted) >= 0.75 * most, "{admitted} of {most}");
    }
    for urls in fleet.urls() {
        assert_eq!((metric(&urls, LATE).await, metric(&urls, DOWN).await), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_keeps_to_one_proxy_gets_the_whole_of_a_strict_limit() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let fleet = strict_fleet(&redis, 2).await;
    let limit = json!({ "requests": 10, "windowMs": 60_000, "mode": "strict" });
    let application = application(&fleet, &upstream, json!({ "rateLimit": limit })).await;
    // A store that has just begun is not believed yet.
    redis.ask(&["set", "authsome:born", "1"]);
    for urls in fleet.urls() {
        metric_becomes(&urls, "authsome_proxy_strict_memory_losses_total", 1).await;
    }
    let caller = known(&fleet.first.urls, &application.id, &application.secret_key).await;
    for expected in (0..9).rev() {
        let answer = caller.get("/whole").await.expect(200);
        assert_eq!(answer.header("x-ratelimit-remaining"), expected.to_string());
    }
    let refused = caller.get("/over").await.expect(429);
    assert_eq!(refused.body["error"]["retryAfter"].as_u64(), Some(6), "{refused:?}");
    let elsewhere = Caller::new(&fleet.others[0].urls, &application.id, &application.secret_key);
    elsewhere.get("/over").await.expect(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_frozen_cut_off_killed_or_emptied_leaves_local_limits_and_no_error() {
    const RATE: f64 = 60.0;
    let Some(mut redis) = Redis::start().await else { return };
    let link = Link::to(&redis.address()).await;
    let upstream = Upstream::start().await;
    let fleet = Fleet::start(
        3,
        &[
            ("AUTHSOME_PROXY__STRICT__REDIS_URL", &format!("redis://{}/0", link.address())),
            // A debug build on a loaded machine is not as quick as it should be.
            ("AUTHSOME_PROXY__STRICT__TIMEOUT_MS", "50"),
        ],
    )
    .await;
    let limit = json!({ "requests": 60, "windowMs": 1000, "burst": 60, "mode": "strict" });
    let application = application(&fleet, &upstream, json!({ "rateLimit": limit })).await;
    let callers = fleet.callers(&application.id, &application.secret_key).await;
    let up = async |wanted: u64| {
        for urls in fleet.urls() {
            metric_becomes(&urls, "authsome_proxy_strict_up", wanted).await;
        }
    };
    up(1).await;
    let (mut began, mut before) = (Instant::now(), upstream.requests());
    let loads = load(&callers, 4);
    until(&loads, began, 1.0).await;
    // Over each fault, what is admitted beyond rate and a burst.
    let mut over = |what: &str, upstream: &Upstream| {
        let most = RATE + RATE * began.elapsed().as_secs_f64();
        let over = float(upstream.requests() - before) - most;
        eprintln!("{what}: {over:+.0} over a burst and the rate");
        assert!(over <= 0.5 * RATE, "{what}: {over} over");
        (began, before) = (Instant::now(), upstream.requests());
    };
    over("with Redis", &upstream);

    redis.freeze();
    up(0).await;
    until(&loads, Instant::now(), 1.0).await;
    over("frozen", &upstream);
    redis.thaw();
    up(1).await;
    over("thawed", &upstream);

    link.set(Fault::Lost);
    up(0).await;
    until(&loads, Instant::now(), 1.0).await;
    over("cut off", &upstream);
    link.set(Fault::None);
    up(1).await;
    over("connected", &upstream);

    redis.kill_9();
    up(0).await;
    until(&loads, Instant::now(), 1.0).await;
    over("killed", &upstream);
    redis.start_again().await;
    up(1).await;
    over("restarted", &upstream);

    redis.flush();
    until(&loads, Instant::now(), 1.5).await;
    over("emptied", &upstream);
    expect_only(&stop(loads).await, &[200, 429]);
    let lost = metric(&fleet.first.urls, "authsome_proxy_strict_memory_losses_total").await;
    assert!(lost >= 2, "it was restarted and emptied; noticed {lost}");
    assert!(metric(&fleet.first.urls, DOWN).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_quota_is_reached_over_three_proxies_and_not_exceeded_by_one() {
    const QUOTA: u64 = 700;
    let Some(redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let mut fleet = strict_fleet(&redis, 3).await;
    let config = json!({
        "rateLimit": { "requests": 1_000_000 },
        "quota": { "requests": QUOTA, "hard": true },
    });
    let application = application(&fleet, &upstream, config).await;
    let callers = fleet.callers(&application.id, &application.secret_key).await;
    let mut all = JoinSet::new();
    for caller in callers {
        all.spawn(async move { calls(&caller, "/things", 200, 8).await });
    }
    let mut total = Tally::default();
    while let Some(tally) = all.join_next().await {
        total.add(&tally.expect("no panic"));
    }
    assert_eq!((total.of(200), upstream.requests()), (600, 603), "{total:?}");
    // What a proxy holds when it ends is not lost.
    assert!(fleet.others[0].process.terminate().await.success());
    fleet.restart(0).await;
    for urls in fleet.urls() {
        metric_becomes(&urls, "authsome_proxy_strict_up", 1).await;
    }
    let callers: Vec<_> = fleet
        .urls()
        .iter()
        .map(|urls| Caller::new(urls, &application.id, &application.secret_key))
        .collect();
    let loads = load(&callers, 4);
    authsome_e2e::wait::until("the quota is used up", Duration::from_secs(20), async || {
        (upstream.requests() >= QUOTA).then_some(())
    })
    .await;
    for load in &loads {
        load.more(50).await;
    }
    expect_only(&stop(loads).await, &[200, 429]);
    assert_eq!(upstream.requests(), QUOTA);
    let refused = callers[0].get("/beyond").await.expect(429);
    assert_eq!(refused.code(), "quota_exceeded");
}

/// One call after the other: how long each took, in order of length.
async fn times(caller: &Caller, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        caller.get("/timed").await.expect(200);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_holds_nobody_up() {
    let Some(redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    // With the default time-out.
    let fleet = Fleet::start(1, &[("AUTHSOME_PROXY__STRICT__REDIS_URL", &redis.url())]).await;
    let urls = &fleet.first.urls;
    let limit = json!({ "requests": 1_000_000, "mode": "strict" });
    let application = application(&fleet, &upstream, json!({ "rateLimit": limit })).await;
    let caller = known(urls, &application.id, &application.secret_key).await;
    metric_becomes(urls, "authsome_proxy_strict_up", 1).await;
    let before = times(&caller, 1_000).await;
    redis.freeze();
    let waited = metric(urls, LATE).await;
    let after = times(&caller, 1_000).await;
    let waited = metric(urls, LATE).await - waited;
    let at = |times: &[Duration], permille: usize| times[times.len() * permille / 1_000];
    eprintln!(
        "with Redis p50 {:?}, p99 {:?}, slowest {:?}; frozen p50 {:?}, p99 {:?}, slowest {:?}",
        at(&before, 500),
        at(&before, 990),
        before[999],
        at(&after, 500),
        at(&after, 990),
        after[999],
    );
    assert!(waited <= 3, "{waited} of 1,000 calls waited for it");
    assert!(after[999] < before[999] + Duration::from_millis(250), "{:?}", after[999]);
}
