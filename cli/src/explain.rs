//! `authsome explain REQUEST_ID`: which key, limit, configuration and upstream decided a request,
//! and why it was refused. It asks proxies, which remember their latest decisions, and searches
//! access logs for what they have forgotten. It changes nothing, and needs no key: the proxies'
//! admin listeners are for operators only.
//!
//! A request that nobody knows is an error that says where was looked, and how far back that
//! reached; exit code 1.

mod log;
mod proxy;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use authsome_proxy::decision::{Decision, explain};
use authsome_shared::id::RequestId;
use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use url::Url;

use crate::up::quickstart_admin;

#[derive(Debug, Args)]
pub struct Arguments {
    /// As in the X-AuthSome-Request-ID header and in error answers.
    request_id: String,
    /// Admin address of a proxy that may have answered; may be given several times. Default: that
    /// of the platform that `authsome up` runs in the data directory.
    #[arg(long, value_name = "URL")]
    admin: Vec<Url>,
    /// Access log to search as well, oldest first; `-` for standard input. With logs only, no proxy
    /// is asked unless --admin names it.
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Where `authsome up` keeps quickstart.json.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A decision, and who told it.
struct Told {
    /// A proxy's URL, or a file.
    source: String,
    node: Option<String>,
    /// As JSON.
    decision: String,
}

/// A place that was searched in vain.
struct Vain {
    source: String,
    outcome: String,
}

/// What a place answers.
type Answer = Result<Told, Vain>;

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.request_id.parse::<RequestId>().is_err() {
        bail!(
            "{:?} is not a request id: those begin with req_, and are in the \
             X-AuthSome-Request-ID header and the body of every refusal",
            arguments.request_id
        );
    }
    let mut vain = Vec::new();
    for answer in search(arguments)? {
        match answer {
            Ok(told) => {
                print(&told, arguments.json)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(nothing) => vain.push(nothing),
        }
    }
    if arguments.json {
        println!("{}", not_found_json(&arguments.request_id, &vain));
        return Ok(ExitCode::FAILURE);
    }
    bail!(not_found(&arguments.request_id, &vain))
}

/// Asks place after place, until one knows.
fn search(arguments: &Arguments) -> anyhow::Result<Vec<Answer>> {
    let mut admins = arguments.admin.clone();
    if admins.is_empty() && arguments.log.is_empty() {
        admins.push(quickstart_admin(&arguments.data_dir).with_context(|| {
            format!(
                "no proxy to ask: there is no platform of `authsome up` in {}; --admin URL names \
                 proxies, --log FILE access logs, --data-dir DIR another folder",
                arguments.data_dir.display()
            )
        })?);
    }
    let id = &arguments.request_id;
    let mut answers = Vec::new();
    if !admins.is_empty() {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("starting the async runtime")?;
        answers = runtime.block_on(proxy::ask_all(&admins, id))?;
    }
    if !answers.iter().any(Result::is_ok) {
        for file in &arguments.log {
            answers.push(log::search(file, id)?);
        }
    }
    // The one that knows first.
    answers.sort_by_key(Result::is_err);
    Ok(answers)
}

fn print(told: &Told, json: bool) -> anyhow::Result<()> {
    let decision: Decision = serde_json::from_str(&told.decision)
        .with_context(|| format!("{} told what can't be read", told.source))?;
    if json {
        let all = json!({
            "source": told.source,
            "node": told.node,
            "decision": serde_json::from_str::<Value>(&told.decision)?,
            "why": explain::why(&decision),
        });
        println!("{all}");
        return Ok(());
    }
    println!("{}", explain::text(&decision));
    match &told.node {
        Some(node) => println!("  told by      {node} at {}", told.source),
        None => println!("  told by      {}", told.source),
    }
    Ok(())
}

fn not_found(id: &str, vain: &[Vain]) -> String {
    let mut text = format!("no decision about {id} is known. Looked in:");
    for Vain { source, outcome } in vain {
        let _ = write!(text, "\n  {source}: {outcome}");
    }
    text.push_str(
        "\nProxies remember their latest requests only (explain.max_bytes); --log FILE searches an \
         access log. A call to the control plane is in that one's log.",
    );
    text
}

fn not_found_json(id: &str, vain: &[Vain]) -> Value {
    let looked: Vec<_> = vain
        .iter()
        .map(|Vain { source, outcome }| json!({ "source": source, "outcome": outcome }))
        .collect();
    json!({ "error": { "message": format!("no decision about {id} is known") }, "looked": looked })
}
