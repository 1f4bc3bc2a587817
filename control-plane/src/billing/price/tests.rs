//! Prices against exact rationals: another calculation of the same months, without a shared line.

use std::collections::BTreeMap;

use authsome_shared::snapshot::RateLimit;
use chrono::{TimeDelta, TimeZone};
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::workspaces::plan::{Strictness, Tier};

/// Of each property.
const CASES: u32 = 100_000;

fn terms(fee_minor: i64, users: Allowance) -> Limits {
    Limits {
        fee_minor,
        applications: None,
        requests_per_month: None,
        requests_limit: Strictness::Hard,
        rate_limit: RateLimit::fast(1, 1, 1),
        api: None,
        active_users: users,
        storage_gb: Allowance { included: 0, tiers: vec![] },
        requests: None,
        bandwidth_gb: None,
        meters: BTreeMap::new(),
    }
}

fn tier(up_to: Option<u64>, unit_micros: i64) -> Tier {
    Tier { up_to, unit_micros, flat_minor: 0 }
}

/// The pro plan as it is delivered.
fn pro() -> Limits {
    let tiers =
        vec![tier(Some(100_000), 20_000), tier(Some(1_000_000), 15_000), tier(None, 10_000)];
    let mut pro = terms(2_500, Allowance { included: 10_000, tiers });
    pro.storage_gb = Allowance { included: 10, tiers: vec![tier(None, 100_000)] };
    pro
}

fn month() -> (DateTime<Utc>, DateTime<Utc>) {
    let at = |month| Utc.with_ymd_and_hms(2026, month, 1, 0, 0, 0).unwrap();
    (at(3), at(4))
}

fn span(from: DateTime<Utc>, to: DateTime<Utc>, terms: Limits) -> Span {
    Span { from, to, label: "Pro plan".into(), terms, free: false }
}

fn priced(spans: &[Span], quantities: &[(&str, i64)]) -> Vec<Line> {
    let quantities = quantities.iter().map(|(item, n)| ((*item).to_owned(), *n)).collect();
    lines(&Currency::default(), month(), spans, &quantities)
}

fn total(lines: &[Line], item: &str) -> i64 {
    lines.iter().filter(|line| line.item == item).map(|line| line.amount).sum()
}

#[test]
fn a_month_of_150_000_users_on_pro_is_2_575_dollars() {
    let (from, to) = month();
    let lines = priced(&[span(from, to, pro())], &[("mau", 150_000 * MICROS)]);
    let said: Vec<(&str, Option<i64>, Option<i64>, i64)> = lines
        .iter()
        .map(|line| {
            let units = line.quantity.map(|micros| micros / MICROS);
            (line.description.as_str(), units, line.unit_micros, line.amount)
        })
        .collect();
    assert_eq!(
        said,
        [
            ("Pro plan", None, None, 2_500),
            ("Monthly active users, included", Some(10_000), Some(0), 0),
            ("Monthly active users", Some(90_000), Some(20_000), 180_000),
            ("Monthly active users", Some(50_000), Some(15_000), 75_000),
        ]
    );
    assert_eq!(lines.iter().map(|line| line.amount).sum::<i64>(), 257_500);
}

#[test]
fn the_edges_of_tiers_have_no_cliff() {
    let (from, to) = month();
    for (users, dollars) in [
        (0, 0),
        (10_000, 0),
        (100_000, 1_800),
        (150_000, 2_550),
        (1_000_000, 15_300),
        (2_000_000, 25_300),
    ] {
        let lines = priced(&[span(from, to, pro())], &[("mau", users * MICROS)]);
        assert_eq!(total(&lines, "mau"), dollars * 100, "{users}");
    }
    for (users, cents) in [(10_001, 2), (100_001, 180_002), (1_000_001, 1_530_001)] {
        let lines = priced(&[span(from, to, pro())], &[("mau", users * MICROS)]);
        assert_eq!(total(&lines, "mau"), cents, "{users}");
    }
}

#[test]
fn fractions_of_units_are_charged() {
    let (from, to) = month();
    for (micros, cents) in [(10_000_000, 0), (10_049_999, 0), (10_050_000, 1), (12_500_000, 25)] {
        let lines = priced(&[span(from, to, pro())], &[("storage", micros)]);
        assert_eq!(total(&lines, "storage"), cents, "{micros}");
    }
}

#[test]
fn a_trial_is_on_the_invoice_and_free() {
    let (from, to) = month();
    let middle = from + (to - from) / 2;
    let trial = Span { free: true, ..span(from, middle, pro()) };
    let lines = priced(&[trial, span(middle, to, pro())], &[("mau", 150_000 * MICROS)]);
    assert_eq!(lines[0].description, "Pro plan (trial)");
    assert_eq!((lines[0].amount, lines[1].amount), (0, 1_250));
    assert_eq!(total(&lines, "mau"), 127_500);
}

#[test]
fn one_thousand_changes_of_plan_cost_what_none_does() {
    let (from, to) = month();
    let spans: Vec<Span> = (0..1_000)
        .map(|i| {
            let at = |i: i32| from + (to - from) * i / 1_000;
            span(at(i), at(i + 1), pro())
        })
        .collect();
    let lines = priced(&spans, &[("mau", 123_457 * MICROS), ("storage", 17_345_678)]);
    let whole =
        priced(&[span(from, to, pro())], &[("mau", 123_457 * MICROS), ("storage", 17_345_678)]);
    for item in [FEE, "mau", "storage"] {
        assert_eq!(total(&lines, item), total(&whole, item), "{item}");
    }
}

/// A month to be priced.
#[derive(Debug, Clone)]
struct Case {
    currency: Currency,
    spans: Vec<Span>,
    quantity: i64,
}

fn allowances() -> impl Strategy<Value = Allowance> {
    let step = (1_u64..2_000_000, price(), prop_oneof![3 => Just(0), 1 => 0_i64..100_000]);
    let steps = proptest::collection::vec(step, 0..6);
    (prop_oneof![Just(0), 0_u64..1_000_000], steps, any::<bool>()).prop_map(
        |(included, steps, endless)| {
            let mut at = included;
            let last = steps.len().saturating_sub(1);
            let tiers =
                steps.into_iter().enumerate().map(|(i, (width, unit_micros, flat_minor))| {
                    at += width;
                    let up_to = (!endless || i < last).then_some(at);
                    Tier { up_to, unit_micros, flat_minor }
                });
            Allowance { included, tiers: tiers.collect() }
        },
    )
}

fn price() -> impl Strategy<Value = i64> {
    prop_oneof![0_i64..100, 0_i64..100_000, 0_i64..=1_000_000_000]
}

fn quantity() -> impl Strategy<Value = i64> {
    prop_oneof![
        (0_i64..10_000_000).prop_map(|units| units * MICROS),
        0_i64..20_000_000_000_000,
        0_i64..9_000_000_000_000_000_000,
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let held = (0_i64..2_678_400, 0_i64..=100_000_000, allowances());
    let currency = prop_oneof![Just("USD"), Just("JPY"), Just("KWD")];
    (currency, proptest::collection::vec(held, 1..5), quantity()).prop_map(
        |(currency, mut held, quantity)| {
            held.sort_by_key(|(at, ..)| *at);
            held.dedup_by_key(|(at, ..)| *at);
            let (from, to) = month();
            let ends: Vec<i64> = held.iter().skip(1).map(|(at, ..)| *at).collect();
            let spans = held.into_iter().enumerate().map(|(i, (at, fee, users))| {
                let end = ends.get(i).map_or(to, |end| from + TimeDelta::seconds(*end));
                span(from + TimeDelta::seconds(at), end, terms(fee, users))
            });
            Case { currency: currency.parse().unwrap(), spans: spans.collect(), quantity }
        },
    )
}

impl Case {
    fn lines(&self) -> Vec<Line> {
        let quantities = BTreeMap::from([("mau".to_owned(), self.quantity)]);
        lines(&self.currency, month(), &self.spans, &quantities)
    }

    /// The fee and the users' price, exactly, in minor units.
    fn exact(&self) -> (BigRational, BigRational) {
        let ratio = |n: i64, d: i64| BigRational::new(BigInt::from(n), BigInt::from(d));
        let minor = ratio(self.currency.minor_units(), 1);
        let seconds = |span: &Span| (span.to - span.from).num_seconds();
        let held: i64 = self.spans.iter().map(seconds).sum();
        let whole = (month().1 - month().0).num_seconds();
        let mut fee = ratio(0, 1);
        let mut users = ratio(0, 1);
        for span in &self.spans {
            fee += ratio(span.terms.fee_minor, 1) * ratio(seconds(span), whole);
            let quantity = ratio(self.quantity, MICROS);
            let mut price = ratio(0, 1);
            let mut below = BigRational::from(BigInt::from(span.terms.active_users.included));
            for tier in &span.terms.active_users.tiers {
                let above = match tier.up_to {
                    Some(to) => quantity.clone().min(BigRational::from(BigInt::from(to))),
                    None => quantity.clone(),
                };
                if above > below {
                    price += (above.clone() - &below) * ratio(tier.unit_micros, MICROS) * &minor;
                    price += ratio(tier.flat_minor, 1);
                    below = above;
                }
            }
            users += price * ratio(seconds(span), held);
        }
        (fee, users)
    }
}

/// Rounded half up.
fn rounded(exact: &BigRational) -> BigInt {
    (exact + BigRational::new(BigInt::from(1), BigInt::from(2))).floor().to_integer()
}

fn check(property: impl Fn(Case) -> Result<(), TestCaseError>) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&cases(), property).unwrap();
}

#[test]
fn an_items_lines_add_to_its_exact_price_rounded_once() {
    check(|case| {
        let lines = case.lines();
        let (fee, users) = case.exact();
        prop_assert_eq!(BigInt::from(total(&lines, FEE)), rounded(&fee));
        prop_assert_eq!(BigInt::from(total(&lines, "mau")), rounded(&users));
        prop_assert!(lines.iter().all(|line| line.amount >= 0), "{:?}", lines);
        Ok(())
    });
}

#[test]
fn more_is_never_cheaper() {
    check(|case| {
        let more = case.quantity.saturating_add(case.quantity / 7 + 1);
        let dearer = Case { quantity: more, ..case.clone() };
        let (less, more) = (case.lines(), dearer.lines());
        prop_assert!(total(&less, "mau") <= total(&more, "mau"));
        prop_assert_eq!(total(&less, FEE), total(&more, FEE));
        Ok(())
    });
}

#[test]
fn a_span_that_is_split_costs_what_it_costs_whole() {
    check(|case| {
        let mut split = case.clone();
        let at = usize::try_from(case.quantity % 97).unwrap() % case.spans.len();
        let whole = split.spans.remove(at);
        let seconds = (whole.to - whole.from).num_seconds();
        let middle = whole.from + TimeDelta::seconds(seconds * (case.quantity % 13) / 13);
        let parts = [Span { to: middle, ..whole.clone() }, Span { from: middle, ..whole }];
        split.spans.splice(at..at, parts);
        let (before, after) = (case.lines(), split.lines());
        for item in [FEE, "mau"] {
            prop_assert_eq!(total(&before, item), total(&after, item));
        }
        Ok(())
    });
}
