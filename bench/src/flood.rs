//! What a flood of refused calls costs, and what others notice of it: a well-behaved caller's
//! latency at a steady rate, alone, beside a flood of unknown keys (401), and beside one of a key
//! over its limit (429). The flood's callers yield to the well-behaved one on their common core, so
//! that what is seen is the proxy's doing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::ground::Ground;
use crate::load::{Outcome, closed, steady};
use crate::machine;
use crate::process::own_processor;
use crate::rig::{self, Figures, Rig, figures, turns};
use crate::round::pollution;
use crate::statistics::{median, percentile};
use crate::subject::authsome::Proxy;

/// The well-behaved caller's calls per second, and its connections.
const RATE: u32 = 1_000;
const CALM: usize = 16;

/// Before anything is counted; a flood has shown itself by then.
const WARM_UP: Duration = Duration::from_millis(2_500);

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

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let rounds = arguments.all.rounds;
    let rig = Rig::start(&arguments.all, Ground::new(1_000)?, vec![])?;
    let one = |text: &str| Arc::<[String]>::from([text.to_owned()]);
    let world = &rig.ground.world;
    let keys = [rig.ground.keys.clone(), one(&world.unknown), one(&world.limited)];
    for (what, settings) in
        [("every refusal at once", "[connections]\nrefusals_per_second = 0\n"), ("the default", "")]
    {
        let name = if settings.is_empty() { "default" } else { "at-once" };
        let proxy = rig.proxy(name, settings)?;
        // The one call that its limit has.
        let spend = rig.load(&proxy, &keys[2], 429, 1);
        closed::run(&spend, Duration::from_millis(100), Duration::ZERO, || {})?;
        if !settings.is_empty() {
            costs(&rig, &proxy, &keys, rounds)?;
        }
        println!(
            "{RATE} good calls a second beside a flood from {} connections; {what}:",
            arguments.connections
        );
        others(&rig, &proxy, &keys, arguments.connections, rounds)?;
    }
    Ok(())
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

/// The well-behaved caller's latencies, alone and beside each kind of flood.
fn others(
    rig: &Rig,
    proxy: &Proxy,
    keys: &Keys,
    connections: usize,
    rounds: usize,
) -> anyhow::Result<()> {
    let (mut p50, mut p99): (Figures<3>, Figures<3>) = Default::default();
    let mut refused: [Vec<f64>; 3] = Default::default();
    for n in 0..rounds {
        for which in turns::<3>(n) {
            let flood =
                (which > 0).then(|| rig.load(proxy, &keys[which], STATUSES[which], connections));
            let mut edges = Vec::new();
            let edge = || {
                let known = proxy.processor() + own_processor() + rig.ground.upstream_processor();
                edges.push((known, machine::Load::now()));
            };
            let time = rig.limits.time;
            let calm = rig.load(proxy, &keys[0], 200, CALM);
            let (calm, flood) = std::thread::scope(|scope| {
                let flood = flood.map(|load| {
                    scope.spawn(move || -> anyhow::Result<Outcome> {
                        rustix::process::setpriority_process(None, 19)?;
                        closed::run(&load, WARM_UP, time, || {})
                    })
                });
                let calm = steady::run(&calm, RATE, WARM_UP, time, edge);
                (calm, flood.map(std::thread::ScopedJoinHandle::join))
            });
            let calm = calm?;
            if let Some(fault) = calm.fault(200) {
                anyhow::bail!("the well-behaved caller: {fault}");
            }
            if let Some(flood) = flood {
                let flood = flood.map_err(|_| anyhow::anyhow!("the flood panicked"))??;
                ensure!(flood.closed == 0, "a connection of the flood was closed");
                refused[which].push(flood.rate());
            }
            let [from, to] = &edges[..] else { anyhow::bail!("a round has two edges") };
            let known = to.0.saturating_sub(from.0);
            let clean = pollution(from.1, to.1, known, rig.limits).is_none();
            let at = |part| percentile(&calm.latencies, part).filter(|_| clean);
            p50[which].push(at(0.5).map(|ns| f64::from(ns) / 1e3));
            p99[which].push(at(0.99).map(|ns| f64::from(ns) / 1e3));
        }
    }
    for (which, name) in ["alone", "401 flood", "429 flood"].into_iter().enumerate() {
        let flood = median(refused[which].iter().copied()).unwrap_or(0.0);
        let ((p50, p50_ratio), (p99, p99_ratio)) = (figures(&p50, which), figures(&p99, which));
        println!(
            "  {name:10} {flood:8.0} refusals/s   p50 {p50:7.0} µs ({p50_ratio:.3})   \
             p99 {p99:7.0} µs ({p99_ratio:.3})"
        );
    }
    Ok(())
}
