//! `authsome reconcile PERIOD`: whether a month adds up, from the ledger to the invoices and what the
//! payment provider has of them, over all workspaces or for one. It reads the platform's database
//! itself and changes nothing; every difference is a line.
//!
//! Exit code 0 when all adds up, 1 when something does not.

use std::process::ExitCode;

use anyhow::Context;
use authsome_control_plane::app::App;
use authsome_control_plane::billing::reconciliation::{self, Difference, Report};
use authsome_control_plane::period::Period;
use authsome_shared::id::WorkspaceId;
use clap::Args;
use serde_json::json;

use crate::database::Platform;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The month, such as 2026-01.
    #[arg(value_name = "PERIOD")]
    period: String,
    /// One workspace only.
    #[arg(long, value_name = "ID")]
    workspace: Option<WorkspaceId>,
    /// For scripts: one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    platform: Platform,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let period = Period::parse(&arguments.period)
        .with_context(|| format!("{:?} is no month such as 2026-01", arguments.period))?;
    arguments.platform.with(async |app| reconcile(arguments, app, period).await)
}

async fn reconcile(arguments: &Arguments, app: &App, period: Period) -> anyhow::Result<ExitCode> {
    let only = arguments.workspace.as_ref();
    let reports = reconciliation::of_platform(app, period, only).await?;
    let mut tx = app.db.read().await?;
    let numbers = reconciliation::numbers(&mut tx, &app.config.billing).await?;
    drop(tx);
    let fine = numbers.is_empty() && reports.iter().all(|report| report.differences.is_empty());
    if arguments.json {
        println!("{}", as_json(period, &reports, &numbers));
    } else {
        print(app, period, &reports, &numbers);
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(app: &App, period: Period, reports: &[Report], numbers: &[Difference]) {
    for report in reports {
        for difference in &report.differences {
            println!("{} {}", report.workspace_id, difference.message);
        }
    }
    for difference in numbers {
        println!("platform {}", difference.message);
    }
    let invoices: Vec<_> = reports.iter().filter_map(|report| report.invoice.as_ref()).collect();
    let total: i64 = invoices.iter().map(|invoice| invoice.total).sum();
    let differences =
        numbers.len() + reports.iter().map(|report| report.differences.len()).sum::<usize>();
    let verdict = match differences {
        0 => "all add up".to_owned(),
        1 => "1 difference".to_owned(),
        n => format!("{n} differences"),
    };
    println!(
        "{period}: {} workspaces, {} invoices over {}: {verdict}",
        reports.len(),
        invoices.len(),
        app.config.billing.currency.format(total),
    );
}

fn as_json(period: Period, reports: &[Report], numbers: &[Difference]) -> serde_json::Value {
    let difference = |difference: &Difference| {
        json!({
            "what": difference.what, "stated": difference.stated, "found": difference.found,
            "message": difference.message,
        })
    };
    let reports: Vec<_> = reports
        .iter()
        .map(|report| {
            json!({
                "workspaceId": report.workspace_id,
                "invoice": report.invoice.as_ref().map(|invoice| &invoice.id),
                "differences": report.differences.iter().map(difference).collect::<Vec<_>>(),
            })
        })
        .collect();
    let numbers: Vec<_> = numbers.iter().map(difference).collect();
    json!({ "period": period.to_string(), "workspaces": reports, "platform": numbers })
}
