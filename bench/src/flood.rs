//! What a flood of refused calls costs, and what others notice of it: a well-behaved caller's
//! latency at a steady rate, alone, and beside a flood of unknown keys (401) or of one key over its
//! limit (429). Controls say what of a difference is the measurement's own (the caller alone once
//! more), what the flood's connections do by merely being there, and what as many calls that are
//! good would do. The flood's callers yield to the well-behaved one on their common core, so that
//! what is seen is the proxy's doing.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::ground::Ground;
use crate::load::{Load, Outcome, closed, steady};
use crate::machine;
use crate::process::{own_processor, patient, urgent};
use crate::rig::{self, Figures, Rig, figures, turns};
use crate::round::pollution;
use crate::statistics::{median, percentile};
use crate::subject::authsome::Proxy;

/// The well-behaved caller's calls per second, and its connections. Not a divisor of a second's
/// milliseconds: the proxy's timers fire at whole ones, and calls that come in step with them would
/// all meet a held refusal's end, or none of them would, as the round happened to begin.
const RATE: u32 = 997;
const CALM: usize = 16;

/// Between a flood's refusals on one connection, by default. Calls of the control keep to it.
const HELD: Duration = Duration::from_millis(200);

/// Before anything is counted: what a flood is told at once has been told by then.
const WARM_UP: Duration = Duration::from_secs(1);

/// How much longer than a round of calls at full speed this one is, for as many latencies.
const LONGER: u32 = 2;

/// The answers of the calls that are compared, the good ones first.
const STATUSES: [u16; 3] = [200, 401, 429];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Of a flood.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[command(flatten)]
    all: rig::Arguments,
}

type Keys = [Arc<[String]>; 3];

/// What is beside the well-behaved caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// Connections that ask nothing.
    Silence,
    /// As many good calls as a flood that is held back has refusals.
    Good,
    /// Calls that are refused, each as soon as the one before it is answered; the index of their
    /// status.
    Flood(usize),
}

const AT_ONCE: [(&str, Beside); 3] =
    [("alone", Beside::Nothing), ("401 flood", Beside::Flood(1)), ("429 flood", Beside::Flood(2))];

const BY_DEFAULT: [(&str, Beside); 6] = [
    ("alone", Beside::Nothing),
    ("alone again", Beside::Nothing),
    ("silence", Beside::Silence),
    ("good calls", Beside::Good),
    ("401 flood", Beside::Flood(1)),
    ("429 flood", Beside::Flood(2)),
];

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let rounds = arguments.all.rounds;
    let rig = Rig::start(&arguments.all, Ground::new(1_000)?, vec![])?;
    let one = |text: &str| Arc::<[String]>::from([text.to_owned()]);
    let world = &rig.ground.world;
    let keys = [rig.ground.keys.clone(), one(&world.unknown), one(&world.limited)];
    let connections = arguments.connections;
    let title = format!("{RATE} good calls a second beside a flood from {connections} connections");
    let proxy = |name, settings| -> anyhow::Result<Proxy> {
        let proxy = rig.proxy(name, settings)?;
        // The one call that its limit has.
        let spend = rig.load(&proxy, &keys[2], 429, 1);
        closed::run(&spend, Duration::from_millis(100), Duration::ZERO, || {})?;
        Ok(proxy)
    };
    let at_once = proxy("at-once", "[connections]\nrefusals_per_second = 0\n")?;
    costs(&rig, &at_once, &keys, rounds)?;
    println!("{title}; every refusal at once:");
    others(&rig, &at_once, &keys, connections, rounds, AT_ONCE)?;
    drop(at_once);
    let default = proxy("default", "")?;
    if let Err(error) = default.urgent().and(rig.ground.upstream_urgent()).and_then(|()| urgent()) {
        println!("what else the machine does is in these figures: {error:#}");
    }
    println!("{title}; the default:");
    others(&rig, &default, &keys, connections, rounds, BY_DEFAULT)
}

/// Processor time of a call that is proxied, and of refused ones, each alone.
fn costs(rig: &Rig, proxy: &Proxy, keys: &Keys, rounds: usize) -> anyhow::Result<()> {
    let mut cpu: Figures<3> = Default::default();
    for n in 0..rounds {
        for which in turns::<3>(n) {
            let round = rig.round(&[proxy], &keys[which], STATUSES[which], None)?;
            cpu[which].push(round.cpu_us);
        }
    }
    println!("µs of processor time per call on 64 connections, every refusal at once:");
    for (which, status) in STATUSES.into_iter().enumerate() {
        let (each, ratio) = figures(&cpu, which);
        println!("  {status}   {each:6.1} ({ratio:.3})");
    }
    Ok(())
}

/// The well-behaved caller's latencies, beside each of `sides` in turn.
fn others<const SIDES: usize>(
    rig: &Rig,
    proxy: &Proxy,
    keys: &Keys,
    connections: usize,
    rounds: usize,
    sides: [(&str, Beside); SIDES],
) -> anyhow::Result<()> {
    let none = || [const { Vec::new() }; SIDES];
    let (mut p50, mut p99): (Figures<SIDES>, Figures<SIDES>) = (none(), none());
    let mut rate = [const { Vec::new() }; SIDES];
    for n in 0..rounds {
        for which in turns::<SIDES>(n) {
            let (calm, beside) = one(rig, proxy, keys, connections, sides[which].1)?;
            let at =
                |part| percentile(&calm.as_ref()?.latencies, part).map(|ns| f64::from(ns) / 1e3);
            p50[which].push(at(0.5));
            p99[which].push(at(0.99));
            rate[which].push(beside);
        }
    }
    for (which, (name, _)) in sides.into_iter().enumerate() {
        let beside = median(rate[which].iter().copied()).unwrap_or(0.0);
        let ((p50, p50_ratio), (p99, p99_ratio)) = (figures(&p50, which), figures(&p99, which));
        println!(
            "  {name:11} {beside:8.0} beside/s   p50 {p50:7.0} µs ({p50_ratio:.3})   \
             p99 {p99:7.0} µs ({p99_ratio:.3})"
        );
    }
    Ok(())
}

/// What came of the well-behaved caller, if others left the machine alone, and how many calls a
/// second there were beside it.
fn one(
    rig: &Rig,
    proxy: &Proxy,
    keys: &Keys,
    connections: usize,
    beside: Beside,
) -> anyhow::Result<(Option<Outcome>, f64)> {
    let time = rig.limits.time * LONGER;
    let mut silence = vec![];
    let load = match beside {
        Beside::Nothing => None,
        Beside::Silence => {
            for _ in 0..connections {
                silence.push(TcpStream::connect(proxy.address)?);
            }
            None
        }
        Beside::Good => {
            let load = rig.load(proxy, &keys[0], STATUSES[0], connections);
            Some(Load { pause: HELD, ..load })
        }
        Beside::Flood(which) => Some(rig.load(proxy, &keys[which], STATUSES[which], connections)),
    };
    let mut edges = Vec::new();
    let edge = || {
        let known = proxy.processor() + own_processor() + rig.ground.upstream_processor();
        edges.push((known, machine::Load::now()));
    };
    let calm = rig.load(proxy, &keys[0], STATUSES[0], CALM);
    let (calm, beside) = std::thread::scope(|scope| {
        let beside = load.map(|load| {
            scope.spawn(move || -> anyhow::Result<(Outcome, u16)> {
                patient()?;
                Ok((closed::run(&load, WARM_UP, time, || {})?, load.status))
            })
        });
        let calm = steady::run(&calm, RATE, WARM_UP, time, edge);
        (calm, beside.map(std::thread::ScopedJoinHandle::join))
    });
    let calm = calm?;
    if let Some(fault) = calm.fault(STATUSES[0]) {
        anyhow::bail!("the well-behaved caller: {fault}");
    }
    let mut rate = 0.0;
    if let Some(beside) = beside {
        let (outcome, status) = beside.map_err(|_| anyhow::anyhow!("the flood panicked"))??;
        if let Some(fault) = outcome.fault(status) {
            anyhow::bail!("the flood: {fault}");
        }
        ensure!(outcome.closed == 0, "a connection of the flood was closed");
        rate = outcome.rate();
    }
    let [from, to] = &edges[..] else { anyhow::bail!("a round has two edges") };
    let known = to.0.saturating_sub(from.0);
    let limits = crate::round::Limits { time, ..rig.limits };
    let clean = pollution(from.1, to.1, known, limits).is_none();
    Ok((clean.then_some(calm), rate))
}
