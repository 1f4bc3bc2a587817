//! One case measured once: its load, what that cost the subject, and whether anything else ran on
//! the machine meanwhile. Polluted figures are told with why, and used for nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::ground::{BIG, Ground};
use crate::load::{Load, Outcome, Wire, closed, steady};
use crate::machine;
use crate::process::own_processor;
use crate::statistics::percentile;
use crate::subject::{Kind, Subject};
use crate::world::APPLICATION;

/// At most this part of the time may be taken by the host.
const STOLEN: f64 = 0.02;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A small answer of the upstream's, with a known key.
    Call,
    /// 10 MiB from the upstream.
    Download,
    /// 10 MiB to the upstream.
    Upload,
    /// A well-formed key that nobody has.
    Unknown,
    /// A known key that is over its limit.
    Limited,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as this many callers can over the wire.
    Closed(Wire, usize),
    /// Calls a second over plain HTTP/1.1, from this many callers.
    Steady(u32, usize),
}

/// How long a round is, and what makes it polluted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub time: Duration,
    /// Work of others, as a part of one core.
    pub others: f64,
}

/// Figures of one round.
#[derive(Debug, Clone)]
pub struct Sample {
    pub rate: f64,
    /// Of the subject's processor, in microseconds.
    pub processor_us: f64,
    /// In microseconds.
    pub p50_us: f64,
    pub p99_us: f64,
    /// MiB of bodies a second.
    pub mib_rate: f64,
    /// Seconds of the subject's processor per GiB of bodies.
    pub processor_s_per_gib: f64,
    pub resident_mib: f64,
    /// Connections that were closed, per answer.
    pub closed: f64,
    pub polluted: Option<String>,
}

pub fn measure(
    subject: &Subject,
    ground: &Ground,
    what: What,
    pace: Pace,
    limits: Limits,
) -> anyhow::Result<Sample> {
    let time = limits.time;
    let warm_up = Duration::from_millis(300);
    let mut edges = Vec::new();
    let edge = || {
        let upstream = ground.upstream_processor();
        edges.push((subject.processor(), own_processor() + upstream, machine::Load::now()));
    };
    let load = load(subject, ground, what, pace);
    let outcome = match pace {
        Pace::Closed(..) => closed::run(&load, warm_up, time, edge)?,
        Pace::Steady(rate, _) => steady::run(&load, rate, warm_up, time, edge)?,
    };
    let [from, to] = &edges[..] else { anyhow::bail!("a round has two edges") };
    let subject_time = to.0.saturating_sub(from.0);
    let known = subject_time + to.1.saturating_sub(from.1);
    let polluted = outcome.fault(load.status).or_else(|| pollution(from.2, to.2, known, limits));
    Ok(sample(subject, &outcome, subject_time, polluted))
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn sample(
    subject: &Subject,
    outcome: &Outcome,
    processor: Duration,
    polluted: Option<String>,
) -> Sample {
    let latency = |part| percentile(&outcome.latencies, part).map_or(f64::NAN, f64::from) / 1e3;
    let gib = outcome.body_bytes as f64 / f64::from(1 << 30);
    Sample {
        rate: outcome.rate(),
        processor_us: processor.as_secs_f64() * 1e6 / outcome.answers as f64,
        p50_us: latency(0.5),
        p99_us: latency(0.99),
        mib_rate: gib * 1024.0 / outcome.time.as_secs_f64(),
        processor_s_per_gib: processor.as_secs_f64() / gib,
        resident_mib: subject.resident() as f64 / f64::from(1 << 20),
        closed: outcome.closed as f64 / outcome.answers as f64,
        polluted,
    }
}

/// What ran on the machine that is neither load nor upstream nor subject.
pub fn pollution(
    from: machine::Load,
    to: machine::Load,
    known: Duration,
    limits: Limits,
) -> Option<String> {
    let time = limits.time.as_secs_f64();
    let others = to.busy.saturating_sub(from.busy).as_secs_f64() - known.as_secs_f64();
    let stolen = to.stolen.saturating_sub(from.stolen).as_secs_f64();
    if others > limits.others * time {
        return Some(format!("others took {:.0} % of a core", 100.0 * others / time));
    }
    (stolen > STOLEN * time).then(|| format!("the host took {:.0} %", 100.0 * stolen / time))
}

fn load(subject: &Subject, ground: &Ground, what: What, pace: Pace) -> Load {
    let (wire, connections) = match pace {
        Pace::Closed(wire, connections) => (wire, connections),
        Pace::Steady(_, callers) => (Wire::Http1, callers),
    };
    let path = match what {
        What::Download => "users/big",
        What::Upload => "users/upload",
        _ => "users/7?expand=teams",
    };
    let one = || Arc::from([ground.keys.first().cloned().unwrap_or_default()]);
    Load {
        wire,
        address: if wire == Wire::Http1 { subject.plain } else { subject.tls },
        tls: ground.tls.clone(),
        keys: match what {
            What::Unknown => Arc::from([ground.world.unknown.clone()]),
            What::Limited => Arc::from([ground.world.limited.clone()]),
            _ if subject.kind == Kind::Pingap => one(),
            _ => ground.keys.clone(),
        },
        path: format!("/v1/{APPLICATION}/{path}"),
        body: if what == What::Upload { BIG } else { 0 },
        connections,
        pause: Duration::ZERO,
        status: match what {
            What::Unknown => 401,
            What::Limited => 429,
            _ => 200,
        },
    }
}
