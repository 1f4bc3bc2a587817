//! Tables for people: medians of the clean rounds, and ratios paired within rounds.

use std::fmt::Write as _;

use crate::round::{Sample, What};
use crate::scenario::{Case, KEYS, Rounds, Scenario, View};
use crate::statistics::{FEWEST, median, paired};
use crate::subject::Kind;

/// A figure of a sample.
type Figure = fn(&Sample) -> f64;

/// A case's figures of all rounds; none of a polluted one.
fn clean(samples: &[Sample], figure: Figure) -> Vec<Option<f64>> {
    samples.iter().map(|it| it.polluted.is_none().then(|| figure(it))).collect()
}

fn middle(samples: &[Sample], figure: Figure) -> Option<f64> {
    let clean: Vec<f64> = clean(samples, figure).into_iter().flatten().collect();
    if clean.len() < FEWEST { None } else { median(clean) }
}

fn show(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn label(scenario: &Scenario, case: &Case) -> String {
    let what = match case.what {
        What::Unknown => ": 401",
        What::Limited => ": 429",
        What::Call if scenario.name == "unknown" || scenario.name == "limited" => ": passed on",
        _ => "",
    };
    let keys = match case.keys {
        KEYS => String::new(),
        1 => ", 1 key".to_owned(),
        keys => format!(", {keys} keys"),
    };
    format!("{}{what}{keys}", case.kind.name())
}

/// The scenario as a Markdown table.
pub fn table(scenario: &Scenario, rounds: &Rounds) -> String {
    let mut text = format!("### {}\n\n", scenario.title);
    let ours = scenario.cases.iter().position(|it| it.kind == Kind::Authsome);
    let direct = scenario.cases.iter().position(|it| it.kind == Kind::Direct);
    let columns: &[&str] = match scenario.view {
        View::Calls => &[
            "CPU µs/call",
            "AuthSome's ÷ it",
            "calls/s",
            "p50 ms",
            "p99 ms",
            "memory MiB",
            "closed",
            "clean rounds",
        ],
        View::Added => &[
            "CPU µs/call",
            "AuthSome's ÷ it",
            "p50 ms",
            "p99 ms",
            "added p50 ms",
            "added p99 ms",
            "clean rounds",
        ],
        View::Bodies => &[
            "CPU s/GiB",
            "AuthSome's ÷ it",
            "MiB/s",
            "p50 ms",
            "p99 ms",
            "memory MiB",
            "clean rounds",
        ],
    };
    let _ = writeln!(text, "| | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(columns.len()));
    for (case, samples) in scenario.cases.iter().zip(rounds) {
        let cost: Figure = match scenario.view {
            View::Bodies => |it| it.processor_s_per_gib,
            _ => |it| it.processor_us,
        };
        let ratio = ours
            .filter(|_| case.kind != Kind::Direct)
            .and_then(|ours| paired(&clean(&rounds[ours], cost), &clean(samples, cost)));
        let figure = |figure: Figure, digits| show(middle(samples, figure), digits);
        let added = |figure: Figure| {
            let difference = direct.map(|direct| {
                let direct = clean(&rounds[direct], figure);
                let pairs = clean(samples, figure).into_iter().zip(direct);
                pairs.filter_map(|(it, direct)| Some(it? - direct?)).collect::<Vec<f64>>()
            });
            let known = difference.filter(|it| it.len() >= FEWEST);
            show(known.and_then(median).map(|it| it / 1e3), 3)
        };
        let cost = if case.kind == Kind::Direct { "–".to_owned() } else { figure(cost, 2) };
        let ratio = show(ratio, 2);
        let p50 = figure(|it| it.p50_us / 1e3, 3);
        let p99 = figure(|it| it.p99_us / 1e3, 3);
        let memory = figure(|it| it.resident_mib, 0);
        let good = samples.iter().filter(|it| it.polluted.is_none()).count();
        let good = format!("{good}/{}", samples.len());
        let cells = match scenario.view {
            View::Calls => vec![
                cost,
                ratio,
                figure(|it| it.rate, 0),
                p50,
                p99,
                memory,
                figure(|it| it.closed, 3),
                good,
            ],
            View::Added => {
                vec![cost, ratio, p50, p99, added(|it| it.p50_us), added(|it| it.p99_us), good]
            }
            View::Bodies => {
                vec![cost, ratio, figure(|it| it.mib_rate, 0), p50, p99, memory, good]
            }
        };
        let _ = writeln!(text, "| {} | {} |", label(scenario, case), cells.join(" | "));
    }
    text
}
