//! `bench proxies`: all scenarios, one after the other, and the report of them. Load and upstream
//! share one core, the subject has the other.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process::{LOAD_CORE, pin};
use crate::scenario::{self, Scenario};
use crate::subject::{self, Kind, Subject};
use crate::{machine, report};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Scenarios by name; all when none is named.
    scenarios: Vec<String>,
    /// Rounds of each.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds that each case is measured for in a round.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// A round in which others had more than this part of one core counts for nothing.
    #[arg(long, value_name = "PERCENT", default_value_t = 4.0)]
    others: f64,
    /// Only subjects whose name begins with this; may be given again.
    #[arg(long, value_name = "NAME")]
    subject: Vec<String>,
    /// Where the report goes, besides to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    pin(LOAD_CORE)?;
    let mut scenarios = scenario::all();
    for name in &arguments.scenarios {
        let known = scenarios.iter().any(|it| it.name == name);
        let names: Vec<_> = scenarios.iter().map(|it| it.name).collect();
        anyhow::ensure!(known, "there is no scenario {name}; there are: {}", names.join(", "));
    }
    if !arguments.scenarios.is_empty() {
        scenarios.retain(|it| arguments.scenarios.iter().any(|name| name == it.name));
    }
    let mut text = heading();
    println!("{text}");
    for scenario in &mut scenarios {
        scenario.rounds = arguments.rounds.unwrap_or(scenario.rounds);
        let limits = &mut scenario.limits;
        limits.time = arguments.seconds.map_or(limits.time, Duration::from_secs_f64);
        limits.others = arguments.others / 100.0;
        if !subject::has_pingap() {
            scenario.cases.retain(|case| case.kind != Kind::Pingap);
        }
        if !arguments.subject.is_empty() {
            scenario.cases.retain(|case| {
                arguments.subject.iter().any(|name| case.kind.name().starts_with(&**name))
            });
        }
        let part = one(scenario)?;
        println!("{part}");
        text += &part;
        text.push('\n');
    }
    if let Some(path) = &arguments.out {
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn one(scenario: &Scenario) -> anyhow::Result<String> {
    eprintln!("{}: {} rounds of {} cases", scenario.name, scenario.rounds, scenario.cases.len());
    let mut inside = String::new();
    let rounds = scenario.run(|subject| {
        if scenario.name == "rate" && subject.kind == Kind::Authsome {
            inside = phases(subject).unwrap_or_else(|error| format!("{error:#}\n"));
        }
    })?;
    Ok(format!("{}{inside}", report::table(scenario, &rounds)))
}

/// What our own phases took, as our own metrics tell.
fn phases(subject: &Subject) -> anyhow::Result<String> {
    let metrics = subject.authsome().context("it is ours")?.metrics()?;
    let mut text = "\nOf that, by its own metrics: ".to_owned();
    for (name, metric) in [
        ("admission (with the limit)", "authsome_proxy_admission_seconds"),
        ("limit", "authsome_proxy_rate_limit_seconds"),
        ("ledger", "authsome_proxy_ledger_append_seconds"),
    ] {
        let bound = quantile(&metrics, metric, 0.99).context("a histogram")?;
        let _ = write!(text, "{name} p99 ≤ {:.0} µs; ", bound * 1e6);
    }
    text.truncate(text.trim_end_matches("; ").len());
    text.push_str(".\n");
    Ok(text)
}

/// The upper bound of the bucket that a part of a histogram's values falls into, in seconds.
fn quantile(metrics: &str, name: &str, part: f64) -> Option<f64> {
    let prefix = format!("{name}_bucket{{le=\"");
    let buckets: Vec<(f64, f64)> = metrics
        .lines()
        .filter_map(|line| {
            let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, count.parse().ok()?))
        })
        .collect();
    let all = buckets.last()?.1;
    buckets.iter().find(|(_, count)| *count >= all * part).map(|(bound, _)| *bound)
}

fn heading() -> String {
    let version = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&said).lines().next()?.trim().to_owned();
        Some(line)
    };
    let versions: Vec<String> = [version("nginx", &["-v"]), version("haproxy", &["-v"])]
        .into_iter()
        .flatten()
        .chain(subject::pingap_version())
        .collect();
    format!("Machine: {}.\n\nPeers: {}.\n\n", machine::description(), versions.join("; "))
}
