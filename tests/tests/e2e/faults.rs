//! A network that fails between the planes, and between the control plane and PostgreSQL, under
//! constant load: no call fails for it, and each is on the bill once. A short run with every test
//! (with the database's side where that is PostgreSQL); a long one by hand:
//!
//! ```sh
//! cargo build --workspace --all-targets
//! FAULT_ROUNDS=60 cargo test --workspace --test e2e -- --ignored --nocapture --test-threads=1 faults
//! ```
//!
//! `CHAOS_SEED=…`, as an earlier run printed it, repeats that run's order. The long run starts a
//! PostgreSQL server of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use authsome_e2e::api::Api;
use authsome_e2e::database::Database;
use authsome_e2e::dice::Dice;
use authsome_e2e::env;
use authsome_e2e::fault::{Fault, Link};
use authsome_e2e::load::Load;
use authsome_e2e::postgres::Postgres;
use authsome_e2e::split::Split;
use authsome_e2e::upstream::Upstream;

use crate::crash::settled_usage;

const SHORT: u64 = 10;
const LONG: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_network_between_the_planes_fails_no_call_and_miscounts_none() {
    run(Database::create(), SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; see the head of this file"]
async fn a_network_that_fails_all_day_fails_no_call_and_miscounts_none() {
    let Some(postgres) = Postgres::start().await else { return };
    let rounds = env::number(env::FAULT_ROUNDS).unwrap_or(LONG);
    run(Some(Database::create_on(postgres.url())), rounds).await;
}

async fn run(database: Option<Database>, rounds: u64) {
    let mut dice = Dice::throw();
    let upstream = Upstream::start().await;
    let behind = match &database {
        Some(database) => Some(Link::to(database.address()).await),
        None => None,
    };
    let database = database.map(|database| match &behind {
        Some(link) => database.by_way_of(link.address()),
        None => database,
    });
    let split = Split::start_apart(database).await;
    let links: Vec<(&str, &Link)> =
        [("planes", split.link.as_ref()), ("database", behind.as_ref())]
            .into_iter()
            .filter_map(|(name, link)| Some((name, link?)))
            .collect();
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;

    let began = Instant::now();
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    let load = Load::start(&split.caller(&application), "/things", 16);
    for round in 0..rounds {
        load.more(dice.below(300)).await;
        let (name, link) = links[usize::try_from(round).expect("few") % links.len()];
        let fault = fault(&mut dice, round / links.len() as u64);
        let kind = format!("{fault:?}");
        let kind = kind.split('(').next().expect("a name");
        *faults.entry(format!("{name}: {kind}")).or_default() += 1;
        link.set(fault);
        load.more(300 + dice.below(1_500)).await;
        link.set(Fault::None);
    }
    load.more(200).await;
    let total = load.stop().await;
    let broken: u64 = links.iter().map(|(_, link)| link.broken()).sum();
    eprintln!("{faults:?} in {:?} broke {broken} connections; {total:?}", began.elapsed());
    assert!(broken >= rounds, "the faults hit nothing");

    assert_eq!(total.of(200), total.sent(), "{total:?}");
    assert_eq!(total.of(200), upstream.requests());
    split.shipped(Duration::from_mins(1)).await;
    let api = api.sign_in_again().await;
    let billed = settled_usage(&api, &application.workspace, total.sent()).await;
    assert_eq!(billed, total.sent(), "{total:?}");
    let gaps = split.ask_database("select count(*) from ledger_gaps");
    assert_eq!(gaps, "0", "a record that was written never came");
}

/// Every kind in turn, each time in another measure.
fn fault(dice: &mut Dice, number: u64) -> Fault {
    match number % 5 {
        // A batch is applied, and the answer that says so never comes whole.
        0 => Fault::AnsweredInPart(dice.below(200)),
        1 => Fault::AskedInPart(dice.below(20_000)),
        2 => Fault::Lost,
        3 => Fault::Late(Duration::from_millis(dice.below(300))),
        _ => Fault::Refused,
    }
}
