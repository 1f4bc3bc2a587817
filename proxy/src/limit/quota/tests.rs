//! Counters, months, and what proxies know once all is told.

use proptest::prelude::*;

use super::*;

fn month(text: &str) -> Month {
    Month::parse(text).expect("a month")
}

fn total(used: u64, applied: u64) -> Total {
    Total { subject: "ws_1".into(), period: "2026-11".into(), used, applied }
}

#[test]
fn months_read_and_write_and_end() {
    assert_eq!(month("2026-11").period(), "2026-11");
    assert!(month("2026-12") < month("2027-01"));
    assert_eq!(Month::parse("2026-13"), None);
    assert_eq!(Month::parse("soon"), None);
    let at = "2026-12-31T23:59:30Z".parse().expect("a time");
    assert_eq!(Month::of(at), month("2026-12"));
    assert_eq!(Month::of(at).ends_in(at), 31);
}

#[test]
fn nothing_passes_over_the_limit_and_a_month_begins_at_zero() {
    let counter = Counter::default();
    let now = month("2026-11");
    assert!(counter.take(now, 3, 5));
    assert!(!counter.take(now, 3, 5));
    assert!(counter.take(now, 2, 5));
    counter.give_back(now, 2);
    assert_eq!(counter.used(now), 3);
    assert!(counter.take(month("2026-12"), 5, 5));
    assert!(!counter.take(now, 1, 5), "a clock set back does not reopen the month");
}

#[test]
fn totals_bring_in_the_fleet_and_take_out_what_was_ours() {
    let quotas = Quotas::default();
    let now = month("2026-11");
    let counter = quotas.counter("ws_1");
    for _ in 0..10 {
        assert!(counter.take(now, 1, 100));
    }
    // The fleet used 20, and our batch of 8 was applied on top: 28, with 2 still under way.
    quotas.confirm(&[total(28, 8)]);
    assert_eq!(counter.used(now), 30);
    // Somebody else's news, then the same again.
    quotas.confirm(&[total(40, 0)]);
    quotas.confirm(&[total(40, 0)]);
    assert_eq!(counter.used(now), 42);
    // The newer total (with our last 2) overtook the answer to our batch.
    quotas.confirm(&[total(50, 0)]);
    quotas.confirm(&[total(45, 2)]);
    assert_eq!(counter.used(now), 50);
}

#[test]
fn totals_of_another_month_do_not_mix() {
    let quotas = Quotas::default();
    let counter = quotas.counter("ws_1");
    assert!(counter.take(month("2026-12"), 4, 10));
    quotas.confirm(&[total(1_000, 7)]);
    assert_eq!(counter.used(month("2026-12")), 4);
    let december = Total { period: "2026-12".into(), ..total(6, 4) };
    quotas.confirm(&[december]);
    assert_eq!(counter.used(month("2026-12")), 6);
}

#[test]
fn a_restart_recounts_the_journal_on_top_of_the_confirmed_totals() {
    let before = Quotas::default();
    let held = before.counter("ws_1");
    before.confirm(&[total(90, 0)]);
    let kept = before.confirmed(month("2026-11"));
    drop(held);
    let after = Quotas::default();
    after.confirm(&kept);
    after.recount(&UsageRecord {
        at: "2026-11-05T00:00:00Z".parse::<DateTime<Utc>>().expect("a time").timestamp_millis(),
        workspace: "ws_1".parse().expect("an id"),
        application: "app_1".parse().expect("an id"),
        key: "key_2".parse().expect("an id"),
        bucket: Some("key_1".parse().expect("an id")),
        route: "*".into(),
        status: 200,
        latency_us: 1,
        bytes_in: 0,
        bytes_out: 0,
        units: 9,
        user: None,
    });
    let now = month("2026-11");
    assert_eq!(after.counter("ws_1").used(now), 99);
    assert_eq!(after.counter("key_1").used(now), 9);
    assert!(after.counter("ws_1").take(now, 1, 100));
    assert!(!after.counter("ws_1").take(now, 1, 100));
}

#[test]
fn what_one_process_hands_to_the_next_counts_on_there() {
    let now = month("2026-11");
    let before = Quotas::default();
    assert!(before.counter("ws_1").take(now, 10, 100));
    before.confirm(&[total(28, 8)]);
    let after = Quotas::default();
    after.take_over(&before.counts());
    assert_eq!(after.counter("ws_1").used(now), 30);
    // The last two of the process before, shipped by this one.
    assert!(after.counter("ws_1").take(now, 1, 100));
    after.confirm(&[total(30, 2)]);
    assert_eq!(after.counter("ws_1").used(now), 31);
}

#[test]
fn only_what_somebody_asks_for_is_remembered() {
    let quotas = Quotas::default();
    let held = quotas.counter("ws_1");
    let key = Total { subject: "key_1".into(), ..total(5, 0) };
    let other = Total { subject: "ws_2".into(), ..total(5, 0) };
    quotas.confirm(&[total(5, 0), key, other]);
    let kept = quotas.confirmed(month("2026-11"));
    assert_eq!(kept, [total(5, 0)], "only subjects with a quota are written to disk");
    drop(held);
    assert_eq!(quotas.confirmed(month("2026-12")).len(), 0);
    assert!(quotas.counters.read().is_empty());
}

#[test]
fn who_begins_to_count_begins_at_the_total_and_who_counts_goes_on() {
    let now = month("2026-11");
    let quotas = Quotas::default();
    quotas.begin(total(70, 0));
    let held = quotas.counter("ws_1");
    assert_eq!(held.used(now), 70);
    assert!(held.take(now, 10, 100));
    // It comes again with each change, with some of ours in it.
    quotas.begin(total(75, 0));
    assert_eq!(held.used(now), 80);
    quotas.confirm(&[total(80, 10)]);
    assert_eq!(held.used(now), 80);
}

proptest! {
    /// Two proxies and a control plane, with batches and totals arriving in any order.
    #[test]
    fn once_all_is_told_every_proxy_knows_the_sum(
        steps in prop::collection::vec((0_u8..4, 0_usize..2, 1_u64..5), 1..80),
    ) {
        let now = month("2026-11");
        let proxies = [Quotas::default(), Quotas::default()];
        let mut pending = [0_u64; 2];
        let mut fleet = 0_u64;
        let mut answers: Vec<(usize, Total)> = Vec::new();
        for (action, who, units) in steps {
            match action {
                0 => {
                    prop_assert!(proxies[who].counter("ws_1").take(now, units, u64::MAX));
                    pending[who] += units;
                }
                1 => {
                    let applied = std::mem::take(&mut pending[who]);
                    fleet += applied;
                    answers.push((who, total(fleet, applied)));
                    answers.push((1 - who, total(fleet, 0)));
                }
                // Late answers come in any order.
                _ if !answers.is_empty() => {
                    let at = usize::try_from(units).expect("small") % answers.len();
                    let (who, total) = answers.remove(at);
                    proxies[who].confirm(&[total]);
                }
                _ => {}
            }
        }
        for (who, total) in answers {
            proxies[who].confirm(&[total]);
        }
        for who in 0..2 {
            prop_assert_eq!(proxies[who].counter("ws_1").used(now), fleet + pending[who]);
        }
    }
}
