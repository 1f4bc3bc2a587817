//! What is compared: a scenario is a load and the cases that bear it in turn, in rounds. The order
//! changes with each round, so that nobody always comes after the same one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::ground::Ground;
use crate::load::Wire;
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
    use Kind::{
        Authsome, AuthsomeLog, Bare, Direct, HaproxyKeys, HaproxyPlain, NginxKeys, NginxLua,
        NginxPlain, Pingap,
    };
    let everyone = [
        Direct,
        Authsome,
        Bare,
        NginxLua,
        HaproxyKeys,
        NginxKeys,
        NginxPlain,
        HaproxyPlain,
        Pingap,
        AuthsomeLog,
    ];
    let proxies = [Authsome, Bare, NginxLua, HaproxyKeys, NginxKeys, NginxPlain, HaproxyPlain];
    let closed = |wire, connections| Pace::Closed(wire, connections);
    let scenario = |name, title, pace, cases, view| Scenario {
        name,
        title,
        pace,
        cases,
        rounds: 9,
        limits: Limits { time: Duration::from_secs(2), others: 0.04 },
        view,
    };
    let floods = |what| {
        [Authsome, NginxLua, HaproxyKeys]
            .into_iter()
            .flat_map(move |kind| [What::Call, what].map(|what| Case { kind, what, keys: KEYS }))
    };
    let mut all = vec![
        scenario(
            "http1",
            "HTTP/1.1, 64 connections, as fast as it goes",
            closed(Wire::Http1, 64),
            cases(&everyone, What::Call),
            View::Calls,
        ),
        scenario(
            "rate",
            "HTTP/1.1 at 5,000 calls a second, 16 connections",
            Pace::Steady(5_000, 16),
            cases(&everyone, What::Call),
            View::Added,
        ),
        scenario(
            "connections",
            "HTTP/1.1, 800 connections",
            closed(Wire::Http1, 800),
            cases(&proxies, What::Call),
            View::Calls,
        ),
        scenario(
            "tls",
            "HTTP/1.1 over TLS, 64 connections",
            closed(Wire::Tls, 64),
            cases(&proxies, What::Call),
            View::Calls,
        ),
        scenario(
            "http2",
            "HTTP/2 over TLS, 8 connections of 8 calls at once",
            closed(Wire::Http2, 8),
            cases(&proxies, What::Call),
            View::Calls,
        ),
        scenario(
            "download",
            "Answers of 10 MiB, HTTP/1.1, 8 connections",
            closed(Wire::Http1, 8),
            cases(&proxies, What::Download),
            View::Bodies,
        ),
        scenario(
            "upload",
            "Requests of 10 MiB, HTTP/1.1, 8 connections",
            closed(Wire::Http1, 8),
            cases(&proxies, What::Upload),
            View::Bodies,
        ),
        scenario(
            "unknown",
            "A flood of unknown keys (401) beside calls that pass, HTTP/1.1, 64 connections",
            closed(Wire::Http1, 64),
            floods(What::Unknown).collect(),
            View::Calls,
        ),
        scenario(
            "limited",
            "A flood of one key over its limit (429) beside calls that pass, HTTP/1.1, 64 \
             connections",
            closed(Wire::Http1, 64),
            floods(What::Limited).collect(),
            View::Calls,
        ),
    ];
    let keys = [1, 1_000, KEYS, 1_000_000];
    all.push(scenario(
        "keys",
        "One key, and up to a million that calls take at random",
        closed(Wire::Http1, 64),
        keys.map(|keys| Case { kind: Authsome, what: What::Call, keys }).into(),
        View::Calls,
    ));
    all
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

    fn subject(&self, case: &Case) -> Option<&Subject> {
        let found =
            self.subjects.iter().find(|(keys, it)| (*keys, it.kind) == (case.keys, case.kind));
        found.map(|(_, subject)| subject)
    }
}

impl Scenario {
    /// Runs it. `look` is called with each subject when its last round is over.
    pub fn run(&self, mut look: impl FnMut(&Subject)) -> anyhow::Result<Rounds> {
        let stage = Stage::set(&self.cases)?;
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
