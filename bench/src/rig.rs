//! Our proxy alone, in whatever number and with whatever settings a measurement wants, over one
//! ground and one control plane; and rounds of calls to it. What is called, and what the figures
//! mean, is for the measurements.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use authsome_shared::snapshot::Change;

use crate::ground::{Ground, free, is_open};
use crate::load::{Load, Outcome, Wire, closed};
use crate::machine;
use crate::process::{LOAD_CORE, Process, own_processor, pin};
use crate::round::{Limits, pollution};
use crate::statistics::{median, paired};
use crate::subject::authsome::{Plane, Proxy, program};
use crate::world::APPLICATION;

/// Before a round counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// What all of these measurements are told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The proxy's program, where another than the one built beside this is to be measured.
    #[arg(long, value_name = "FILE")]
    proxy: Option<PathBuf>,
    /// Rounds of each kind, which take turns.
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub rounds: usize,
    /// That a round is measured for.
    #[arg(long, value_name = "S", default_value_t = 1.5)]
    seconds: f64,
    /// A round in which others had more than this part of one core counts for nothing.
    #[arg(long, value_name = "PERCENT", default_value_t = 4.0)]
    others: f64,
}

impl Arguments {
    pub fn limits(&self) -> Limits {
        Limits { time: Duration::from_secs_f64(self.seconds), others: self.others / 100.0 }
    }
}

pub struct Rig {
    pub ground: Ground,
    plane: Plane,
    program: String,
    pub limits: Limits,
}

/// What one round came to; `None` where others disturbed it.
pub struct Round {
    /// What a call cost the proxies, in microseconds of processor time.
    pub cpu_us: Option<f64>,
    /// Answers a second.
    pub rate: Option<f64>,
    pub outcome: Outcome,
}

/// One figure of several kinds, in as many rounds.
pub type Figures<const KINDS: usize> = [Vec<Option<f64>>; KINDS];

impl Rig {
    /// `more` is what the proxies know beside the ground's world. Keeps this process on the load's
    /// core.
    pub fn start(arguments: &Arguments, ground: Ground, more: Vec<Change>) -> anyhow::Result<Self> {
        pin(LOAD_CORE)?;
        let program = match &arguments.proxy {
            Some(path) => path.canonicalize().context("--proxy")?.display().to_string(),
            None => program("authsome-proxy")?,
        };
        let mut changes = ground.world.changes.clone();
        changes.extend(more);
        let plane = Plane::start(changes)?;
        Ok(Self { ground, plane, program, limits: arguments.limits() })
    }

    /// Starts a proxy with these settings beside those that all have, and waits until it serves.
    pub fn proxy(&self, name: &str, settings: &str) -> anyhow::Result<Proxy> {
        let settings = format!("[log]\naccess_log = \"off\"\n{settings}");
        self.plane.proxy(&self.ground, &self.program, name, &settings)
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, proxy: &Proxy, name: &str) -> anyhow::Result<f64> {
        let text = self.plane.metrics(proxy)?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with([' ', '{']));
        Ok(values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Waits until a metric has this value.
    pub fn until(&self, proxy: &Proxy, name: &str, value: f64) -> anyhow::Result<()> {
        for _ in 0..1_000 {
            if (self.metric(proxy, name)? - value).abs() < f64::EPSILON {
                return Ok(());
            }
            #[allow(clippy::disallowed_methods, reason = "another program gives no sign")]
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("{name} did not become {value}")
    }

    /// A Redis that keeps nothing on disk, and its URL.
    pub fn redis(&self) -> anyhow::Result<(Process, String)> {
        let address = free()?;
        let program = redis_server(&self.ground.path("redis-server"));
        let port = address.port().to_string();
        let command =
            [&program, "--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let log = self.ground.path("redis.log");
        let mut process = Process::start("redis-server", LOAD_CORE, &command, &log)?;
        process.wait_until(|| is_open(address))?;
        Ok((process, format!("redis://{address}/0")))
    }

    /// Calls to a proxy over plain HTTP/1.1 with any of these keys.
    pub fn load(
        &self,
        proxy: &Proxy,
        keys: &Arc<[String]>,
        status: u16,
        connections: usize,
    ) -> Load {
        Load {
            wire: Wire::Http1,
            address: proxy.address,
            tls: self.ground.tls.clone(),
            keys: keys.clone(),
            path: format!("/v1/{APPLICATION}/users/7?expand=teams"),
            body: 0,
            connections,
            pause: Duration::ZERO,
            status,
        }
    }

    /// One round of 64 callers at each of `proxies` at once. `beside` runs for them.
    pub fn round(
        &self,
        proxies: &[&Proxy],
        keys: &Arc<[String]>,
        status: u16,
        beside: Option<&Process>,
    ) -> anyhow::Result<Round> {
        let time = self.limits.time;
        let edge = || {
            let proxies: Duration = proxies.iter().map(|it| it.processor()).sum();
            let beside = beside.map_or(Duration::ZERO, Process::processor);
            let known = proxies + beside + own_processor() + self.ground.upstream_processor();
            (proxies, known, machine::Load::now())
        };
        let mut edges = Vec::new();
        let callers = 64 / proxies.len();
        let [first, others @ ..] = proxies else { anyhow::bail!("no proxy to call") };
        let load = |proxy: &Proxy| self.load(proxy, keys, status, callers);
        let outcome = std::thread::scope(|scope| -> anyhow::Result<Outcome> {
            let threads: Vec<_> = others
                .iter()
                .map(|proxy| {
                    let load = load(proxy);
                    scope.spawn(move || closed::run(&load, WARM_UP, time, || {}))
                })
                .collect();
            let mut outcome = closed::run(&load(first), WARM_UP, time, || edges.push(edge()))?;
            for thread in threads {
                outcome.add(thread.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
            }
            Ok(outcome)
        })?;
        if let Some(fault) = outcome.fault(status) {
            anyhow::bail!("a round went wrong: {fault}");
        }
        ensure!(outcome.closed == 0, "connections were closed");
        let [from, to] = &edges[..] else { anyhow::bail!("a round has two edges") };
        let clean = pollution(from.2, to.2, to.1.saturating_sub(from.1), self.limits).is_none();
        #[allow(clippy::cast_precision_loss, reason = "a count of what was seen")]
        let each = to.0.saturating_sub(from.0).as_secs_f64() * 1e6 / outcome.answers as f64;
        Ok(Round { cpu_us: clean.then_some(each), rate: clean.then_some(outcome.rate()), outcome })
    }
}

/// The median of a kind's rounds, and of their ratios to the first kind's.
pub fn figures<const KINDS: usize>(all: &Figures<KINDS>, kind: usize) -> (Shown, Shown) {
    let middle = median(all[kind].iter().flatten().copied());
    (Shown(middle), Shown(paired(&all[kind], &all[0])))
}

/// A figure, or a dash where too few rounds were clean.
#[derive(Debug, Clone, Copy)]
pub struct Shown(Option<f64>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(figure) => figure.fmt(f),
            None => write!(f, "{:>1$}", "–", f.width().unwrap_or(0)),
        }
    }
}

/// The kinds in an order that changes with each round.
pub fn turns<const KINDS: usize>(round: usize) -> impl Iterator<Item = usize> {
    (0..KINDS).map(move |n| (n + round) % KINDS)
}

/// Debian's package of the tools holds the server too, under another name.
fn redis_server(link: &Path) -> String {
    let tool = Path::new("/usr/bin/redis-check-rdb");
    let found = std::process::Command::new("redis-server").arg("--version").output().is_ok();
    if !found && tool.exists() && std::os::unix::fs::symlink(tool, link).is_ok() {
        return link.display().to_string();
    }
    "redis-server".to_owned()
}
