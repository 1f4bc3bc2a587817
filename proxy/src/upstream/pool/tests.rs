use authsome_shared::snapshot::{self as wire, Breaker as Settings};

use super::*;
use crate::upstream::health::FAILURES;

fn upstream(urls: &[&str], change: impl FnOnce(&mut wire::Upstream)) -> Upstream {
    let mut wire = wire::Upstream {
        urls: urls.iter().map(|url| format!("http://{url}")).collect(),
        ..wire::Upstream::default()
    };
    change(&mut wire);
    Upstream::new(&wire, "app_1", None).expect("it can be served")
}

fn pool(urls: &[&str], change: impl FnOnce(&mut wire::Upstream)) -> Pool {
    Pool::new(&upstream(urls, change), None)
}

fn chosen(pool: &Pool, count: usize, now: u64) -> Vec<usize> {
    (0..count).map(|_| pool.choose(Places::NONE, 0, now)).collect()
}

fn fail(pool: &Pool, place: usize, now: u64) -> bool {
    (0..FAILURES).fold(false, |out, _| out | pool.failed(place, now))
}

#[test]
fn what_fails_is_left_out_until_its_time_is_over() {
    let pool = pool(&["a", "b", "c"], |_| {});
    assert!(fail(&pool, 1, 0));
    assert!(!chosen(&pool, 9, 9_999).contains(&1));
    assert!(chosen(&pool, 9, 10_000).contains(&1));
}

#[test]
fn the_last_one_standing_stays() {
    let pool = pool(&["a", "b"], |_| {});
    assert!(fail(&pool, 0, 0));
    assert!(!fail(&pool, 1, 0));
    assert_eq!(chosen(&pool, 3, 0), [1, 1, 1]);
}

#[test]
fn when_all_are_out_all_are_used() {
    let check = HealthCheck { unhealthy: 1, ..HealthCheck::default() };
    let pool = pool(&["a", "b"], |wire| wire.health_check = Some(check.clone()));
    assert_eq!(pool.checked(0, false, &check), Some(false));
    assert_eq!(chosen(&pool, 2, 0), [1, 1]);
    assert_eq!(pool.checked(1, false, &check), Some(false));
    let mut both = chosen(&pool, 2, 0);
    both.sort_unstable();
    assert_eq!(both, [0, 1]);
}

#[test]
fn a_retry_goes_where_nothing_was_tried() {
    let pool = pool(&["a", "b", "c"], |_| {});
    let mut tried = Places::NONE;
    for _ in 0..3 {
        let place = pool.choose(tried, 0, 0);
        assert!(!tried.has(place));
        tried = tried.with(place);
    }
    pool.choose(tried, 0, 0);
}

#[test]
fn requests_under_way_count_until_they_end() {
    let pool = pool(&["a", "b"], |wire| wire.balance = wire::Balance::LeastRequests);
    let flight = pool.start(0);
    assert_eq!(chosen(&pool, 4, 0), [1, 1, 1, 1]);
    drop(flight);
    let _other = pool.start(1);
    assert_eq!(chosen(&pool, 4, 0), [0, 0, 0, 0]);
}

#[test]
fn a_new_configuration_forgets_nothing_it_still_has() {
    let settings = Settings { failures: 1, failure_percent: 1, ..Settings::default() };
    let first = pool(&["a", "b"], |wire| wire.breaker = Some(settings));
    assert!(fail(&first, 1, 0));
    let pass = first.pass(0).expect("closed");
    assert!(first.tell(pass, false, 0));
    while first.take_retry(0) {}

    let next = upstream(&["c", "b"], |wire| wire.breaker = Some(settings));
    let next = Pool::new(&next, Some(&first));
    assert_eq!(chosen(&next, 3, 0), [0, 0, 0], "b is out still");
    assert!(next.closed_for(0).is_some() && !next.take_retry(0));

    let other = Settings { open_ms: 1, ..settings };
    let next = Pool::new(&upstream(&["b"], |wire| wire.breaker = Some(other)), Some(&next));
    assert!(next.closed_for(0).is_none(), "other settings begin anew");
    let next = Pool::new(&upstream(&["b"], |_| {}), Some(&next));
    assert!(next.closed_for(0).is_none() && !next.is_open());
}

#[test]
fn without_a_health_check_what_it_said_does_not_count() {
    let check = HealthCheck { unhealthy: 1, ..HealthCheck::default() };
    let first = pool(&["a", "b"], |wire| wire.health_check = Some(check.clone()));
    first.checked(0, false, &check);
    let next = Pool::new(&upstream(&["a", "b"], |_| {}), Some(&first));
    assert!(chosen(&next, 2, 0).contains(&0));
}

#[test]
fn a_restart_lets_the_pool_begin_anew_and_a_changed_configuration_does_not() {
    let settings = Settings { failures: 1, failure_percent: 1, ..Settings::default() };
    let of = |generation| {
        let mut upstream = upstream(&["a", "b"], |it| it.breaker = Some(settings));
        upstream.generation = generation;
        upstream
    };
    let pool = Pool::new(&of(0), None);
    assert!(fail(&pool, 0, 0));
    let pass = pool.pass(0).expect("closed");
    assert!(pool.tell(pass, false, 0));
    let changed = Pool::new(&of(0), Some(&pool));
    assert!(changed.is_open() && changed.servers()[0].is_ejected(1));
    let restarted = Pool::new(&of(1), Some(&pool));
    assert!(!restarted.is_open() && !restarted.servers()[0].is_ejected(1));
}
