//! What is compared: a scenario is a load and the cases that bear it in turn, in rounds. The order
//! changes with each round, so that nobody always comes after the same one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::ground::Ground;
use crate::load::Wire;
use crate::process::urgent;
use crate::round::{Limits, Pace, Sample, What, measure};
use crate::subject::{Kind, Subject};

/// A round that is polluted is repeated so often.
const TRIES: usize = 3;

pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub pace: Pace,
    pub cases: Vec<Case>,
    pub rounds: usize,
    pub limits: Limits,
    /// What the table shows.
    pub view: View,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub kind: Kind,
    pub what: What,
    /// How many keys there are.
    pub keys: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Processor time a call, calls a second, latencies.
    Calls,
    /// What a constant rate takes beyond the upstream itself.
    Added,
    /// Processor time a GiB, MiB a second.
    Bodies,
}

/// What most scenarios have.
pub const KEYS: usize = 100_000;

fn cases(kinds: &[Kind], what: What) -> Vec<Case> {
    kinds.iter().map(|kind| Case { kind: *kind, what, keys: KEYS }).collect()
}

/// All of them, in the order in which they are run.
pub fn all() -> Vec<Scenario> {
    let mut all = calls();
    all.extend(bodies());
    all.extend(refusals());
    let keys = [1, 1_000, KEYS, 1_000_000];
    all.push(scenario(
        "keys",
        "One key, and up to a million that calls take at random",
        Pace::Closed(Wire::Http1, 64),
        keys.map(|keys| Case { kind: Kind::Authsome, what: What::Call, keys }).into(),
        View::Calls,
    ));
    all
}

fn scenario(
    name: &'static str,
    title: &'static str,
    pace: Pace,
    cases: Vec<Case>,
    view: View,
) -> Scenario {
    let limits = Limits { time: Duration::from_millis(1_500), others: 0.04 };
    Scenario { name, title, pace, cases, rounds: 7, limits, view }
}

/// Everyone who takes any call.
const PROXIES: [Kind; 7] = [
    Kind::Authsome,
    Kind::Bare,
    Kind::NginxLua,
    Kind::HaproxyKeys,
    Kind::NginxKeys,
    Kind::NginxPlain,
    Kind::HaproxyPlain,
];

fn calls() -> Vec<Scenario> {
    let others = [Kind::Direct, Kind::Pingap, Kind::AuthsomeLog];
    let everyone = cases(&[&PROXIES[..], &others].concat(), What::Call);
    let closed = |name, title, wire, connections, cases| {
        scenario(name, title, Pace::Closed(wire, connections), cases, View::Calls)
    };
    let proxies = cases(&PROXIES, What::Call);
    vec![
        closed(
            "http1",
            "HTTP/1.1, 64 connections, as fast as it goes",
            Wire::Http1,
            64,
            everyone.clone(),
        ),
        scenario(
            "rate",
            "HTTP/1.1 at 5,000 calls a second, 16 connections",
            Pace::Steady(5_000, 16),
            everyone,
            View::Added,
        ),
        closed("connections", "HTTP/1.1, 800 connections", Wire::Http1, 800, proxies.clone()),
        closed("tls", "HTTP/1.1 over TLS, 64 connections", Wire::Tls, 64, proxies.clone()),
        closed(
            "http2",
            "HTTP/2 over TLS, 8 connections of 8 calls at once",
            Wire::Http2,
            8,
            proxies,
        ),
    ]
}

fn bodies() -> Vec<Scenario> {
    let bodies = |name, title, what| {
        scenario(name, title, Pace::Closed(Wire::Http1, 8), cases(&PROXIES, what), View::Bodies)
    };
    vec![
        bodies("download", "Answers of 10 MiB, HTTP/1.1, 8 connections", What::Download),
        bodies("upload", "Requests of 10 MiB, HTTP/1.1, 8 connections", What::Upload),
    ]
}

/// Floods, each beside calls that pass.
fn refusals() -> Vec<Scenario> {
    let flood = |name, title, what| {
        let kinds = [Kind::Authsome, Kind::NginxLua, Kind::HaproxyKeys].into_iter();
        let cases =
            kinds.flat_map(|kind| [What::Call, what].map(|what| Case { kind, what, keys: KEYS }));
        scenario(name, title, Pace::Closed(Wire::Http1, 64), cases.collect(), View::Calls)
    };
    vec![
        flood(
            "unknown",
            "A flood of unknown keys (401) beside calls that pass, HTTP/1.1, 64 connections",
            What::Unknown,
        ),
        flood(
            "limited",
            "A flood of one key over its limit (429) beside calls that pass, HTTP/1.1, 64 \
             connections",
            What::Limited,
        ),
    ]
}

/// What the rounds of each case gave, clean or not, in the order of the scenario's cases.
pub type Rounds = Vec<Vec<Sample>>;

/// What is running, by the number of keys; started when it is needed, gone with the scenario.
struct Stage {
    grounds: HashMap<usize, Ground>,
    subjects: Vec<(usize, Subject)>,
}

impl Stage {
    fn set(cases: &[Case]) -> anyhow::Result<Self> {
        let mut stage = Self { grounds: HashMap::new(), subjects: vec![] };
        for case in cases {
            let ground = match stage.grounds.entry(case.keys) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Ground::new(case.keys)?),
            };
            let known =
                stage.subjects.iter().any(|(keys, it)| (*keys, it.kind) == (case.keys, case.kind));
            if !known {
                let subject = Subject::start(case.kind, ground)?;
                stage.subjects.push((case.keys, subject));
            }
        }
        Ok(stage)
    }

    /// Lets load, upstreams and subjects run before whatever else there is on the machine.
    fn urgent(&self) -> anyhow::Result<()> {
        self.grounds.values().try_for_each(Ground::upstream_urgent)?;
        self.subjects.iter().try_for_each(|(_, subject)| subject.urgent())?;
        urgent()
    }

    fn subject(&self, case: &Case) -> Option<&Subject> {
        let found =
            self.subjects.iter().find(|(keys, it)| (*keys, it.kind) == (case.keys, case.kind));
        found.map(|(_, subject)| subject)
    }
}

impl Scenario {
    /// Runs it. `look` is called with each subject when its last round is over.
    pub fn run(&self, look: impl FnMut(&Subject) + Send) -> anyhow::Result<Rounds> {
        // What makes a thread urgent makes those that it starts so, and ends with it.
        let rounds = std::thread::scope(|scope| scope.spawn(|| self.all_rounds(look)).join());
        rounds.map_err(|_| anyhow::anyhow!("{} panicked", self.name))?
    }

    fn all_rounds(&self, mut look: impl FnMut(&Subject)) -> anyhow::Result<Rounds> {
        let stage = Stage::set(&self.cases)?;
        if matches!(self.pace, Pace::Steady(..))
            && let Err(error) = stage.urgent()
        {
            eprintln!("  what else the machine does is in these latencies: {error:#}");
        }
        let mut rounds: Rounds = vec![vec![]; self.cases.len()];
        for round in 0..self.rounds {
            for n in 0..self.cases.len() {
                let n = (n + round) % self.cases.len();
                let case = &self.cases[n];
                let Some(subject) = stage.subject(case) else { continue };
                let ground = &stage.grounds[&case.keys];
                let mut sample = measure(subject, ground, case.what, self.pace, self.limits)?;
                for _ in 1..TRIES {
                    if sample.polluted.is_none() {
                        break;
                    }
                    sample = measure(subject, ground, case.what, self.pace, self.limits)?;
                }
                if let Some(why) = &sample.polluted {
                    eprintln!("  round {}: {}: {why}", round + 1, case.kind.name());
                }
                rounds[n].push(sample);
            }
        }
        for (_, subject) in &stage.subjects {
            look(subject);
        }
        Ok(rounds)
    }
}
