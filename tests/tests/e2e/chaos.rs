//! `kill -9` of everything, again and again and in no order, under constant load: what was answered
//! is on the bill, and nothing twice. A short run with every test; a long one by hand:
//!
//! ```sh
//! cargo build --workspace --all-targets
//! CHAOS_KILLS=150 cargo test --workspace --test e2e -- --ignored --nocapture --test-threads=1 chaos
//! ```
//!
//! `CHAOS_SEED=…`, as an earlier run printed it, repeats that run's order. The long run on
//! PostgreSQL starts a server of its own and kills that too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use authsome_e2e::api::Api;
use authsome_e2e::database::Database;
use authsome_e2e::dice::Dice;
use authsome_e2e::env;
use authsome_e2e::load::{Load, Tally};
use authsome_e2e::postgres::Postgres;
use authsome_e2e::split::Split;
use authsome_e2e::upstream::Upstream;

use crate::crash::settled_usage;

const SHORT: u64 = 10;
const LONG: u64 = 120;

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_planes_in_any_order_loses_no_answered_call_and_doubles_none() {
    Chaos::start(None, Split::start().await).run(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; see the head of this file"]
async fn killing_the_planes_all_day_loses_no_answered_call_and_doubles_none() {
    let kills = env::number(env::CHAOS_KILLS).unwrap_or(LONG);
    Chaos::start(None, Split::start_on(None).await).run(kills).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; see the head of this file"]
async fn killing_postgres_too_all_day_loses_no_answered_call_and_doubles_none() {
    let kills = env::number(env::CHAOS_KILLS).unwrap_or(LONG);
    let Some(postgres) = Postgres::start().await else { return };
    let split = Split::start_on(Some(Database::create_on(postgres.url()))).await;
    Chaos::start(Some(postgres), split).run(kills).await;
}

/// In the order in which they are started: none needs one that comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Postgres,
    Control,
    Proxy,
}

struct Chaos {
    /// First: its database is dropped on a server that still runs.
    split: Split,
    postgres: Option<Postgres>,
    dice: Dice,
    kills: BTreeMap<Victim, u64>,
}

impl Chaos {
    fn start(postgres: Option<Postgres>, split: Split) -> Self {
        Self { split, postgres, dice: Dice::throw(), kills: BTreeMap::new() }
    }

    async fn run(mut self, kills: u64) {
        let began = Instant::now();
        let upstream = Upstream::start().await;
        let api = Api::register(&self.split.urls).await;
        let application = api.unlimited(&upstream.url).await;
        self.split.snapshots_written().await;

        let load = Load::start(&self.split.caller(&application), "/things", 16);
        while self.kills.values().sum::<u64>() < kills {
            load.more(self.dice.below(300)).await;
            self.round(&load).await;
        }
        load.more(200).await;
        let total = load.stop().await;
        let load_took = began.elapsed();

        self.split.shipped(Duration::from_secs(30)).await;
        // Sessions outlive a long run, access tokens don't.
        let api = api.sign_in_again().await;
        let billed = settled_usage(&api, &application.workspace, total.of(200)).await;
        eprintln!(
            "killed {:?} in {load_took:?}: answered {}, billed {billed}, sent {}, {total:?}",
            self.kills,
            total.of(200),
            total.sent(),
        );
        assert!(total.broken > 0, "the kills hit no call: {total:?}");
        assert_only_expected_answers(&total);
        assert!(billed <= total.of(200) + total.broken, "{billed} billed, {total:?}");
        let gaps = self.split.ask_database("select count(*) from ledger_gaps");
        assert_eq!(gaps, "0", "a record that was written never came");

        // From a new start of everything nothing is applied a second time.
        let all = self.victims();
        self.kill(&all);
        self.restart(&all).await;
        self.split.shipped(Duration::from_secs(30)).await;
        assert_eq!(settled_usage(&api, &application.workspace, billed).await, billed);
    }

    /// Kills one or several, for a while or for a moment, and starts them again.
    async fn round(&mut self, load: &Load) {
        let victims: Vec<_> = self.victims().into_iter().collect();
        let mut down = BTreeSet::from([self.dice.pick(&victims)]);
        if self.dice.once_in(4) {
            down.insert(self.dice.pick(&victims));
        }
        self.kill(&down);
        load.more(self.dice.below(200)).await;
        if self.dice.once_in(4) {
            // A start that does not get far.
            for victim in &down {
                self.spawn(*victim);
            }
            load.more(self.dice.below(1_000)).await;
            self.kill(&down);
        }
        self.restart(&down).await;
    }

    fn victims(&self) -> BTreeSet<Victim> {
        let postgres = self.postgres.as_ref().map(|_| Victim::Postgres);
        postgres.into_iter().chain([Victim::Control, Victim::Proxy]).collect()
    }

    fn kill(&mut self, victims: &BTreeSet<Victim>) {
        for victim in victims {
            match victim {
                Victim::Postgres => self.postgres.as_mut().expect("one of ours").kill_9(),
                Victim::Control => self.split.control().kill_9(),
                Victim::Proxy => self.split.proxy().kill_9(),
            }
            *self.kills.entry(*victim).or_default() += 1;
        }
    }

    /// Starts it and does not wait.
    fn spawn(&mut self, victim: Victim) {
        match victim {
            Victim::Postgres => self.postgres.as_mut().expect("one of ours").spawn(),
            Victim::Control => self.split.control = Some(self.split.spawn_control()),
            Victim::Proxy => self.split.proxy = Some(self.split.spawn_proxy()),
        }
    }

    async fn restart(&mut self, victims: &BTreeSet<Victim>) {
        for victim in victims {
            match victim {
                Victim::Postgres => {
                    let postgres = self.postgres.as_mut().expect("one of ours");
                    postgres.spawn();
                    postgres.ready().await;
                }
                Victim::Control => self.split.start_control().await,
                Victim::Proxy => self.split.start_proxy().await,
            }
        }
    }
}

/// A call is served, or refused for now with the reason.
fn assert_only_expected_answers(total: &Tally) {
    assert!(total.answered.keys().all(|status| matches!(status, 200 | 503)), "{total:?}");
    assert!(!total.unavailable.contains_key(""), "{total:?}");
}
