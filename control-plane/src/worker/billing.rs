//! Closes months, issues drafts, charges late usage, reminds, and tells of trials that end, as each
//! falls due: every workspace in a transaction of its own, so that one that fails holds up no other,
//! and a crash in the middle leaves the rest for the next run. Any number of replicas may run it at
//! once.

use std::collections::BTreeSet;
use std::time::Duration;

use authsome_shared::id::InvoiceId;
use tokio_util::sync::CancellationToken;

use super::LONGEST_SLEEP;
use crate::app::App;
use crate::billing::invoice::{Collector, store};
use crate::billing::stripe::collect;
use crate::billing::{closing, dunning, late, trial};
use crate::error::{Error, Result};
use crate::period::Period;
use crate::workspaces::subscription;

/// Taken up at once.
const BATCH: i64 = 200;

pub async fn keep(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // Dropped in the middle, what it has committed stands, and the rest is for the next.
        let ran = tokio::select! {
            () = stop.cancelled() => return,
            ran = run(&app) => ran,
        };
        if let Err(error) = ran {
            tracing::warn!(%error, "billing could not run; it will be tried again");
        }
        let pause = until_due(&app).await.unwrap_or(LONGEST_SLEEP);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn until_due(app: &App) -> Result<Duration> {
    let mut tx = app.db.read().await?;
    let (month, invoice) =
        (subscription::next_due(&mut tx).await?, store::next_due(&mut tx).await?);
    let due = [month, invoice].into_iter().flatten().min();
    let pause = due.map(|due| (due - tx.now()).to_std().unwrap_or_default());
    // What failed is due already, and is not tried all the time.
    Ok(pause.unwrap_or(LONGEST_SLEEP).clamp(Duration::from_secs(1), LONGEST_SLEEP))
}

/// Everything that is due by now; answers how many steps were taken.
pub async fn run(app: &App) -> Result<usize> {
    let mut steps = 0;
    let mut failed = BTreeSet::new();
    loop {
        let before = steps;
        // Before the month is closed whose invoice it comes onto.
        steps += charge_late(app, &mut failed).await?;
        steps += close_months(app, &mut failed).await?;
        steps += issue_drafts(app, &mut failed).await?;
        steps += remind(app, &mut failed).await?;
        steps += tell_of_trials(app, &mut failed).await?;
        if steps == before {
            return Ok(steps);
        }
    }
}

fn collector(app: &App) -> Collector {
    if app.stripe().is_ok() { Collector::Stripe } else { Collector::Manual }
}

async fn close_months(app: &App, failed: &mut BTreeSet<String>) -> Result<usize> {
    let mut tx = app.db.read().await?;
    let due = subscription::due(&mut tx, BATCH).await?;
    drop(tx);
    let mut steps = 0;
    for (workspace, at) in due {
        let mut tx = app.db.write().await?;
        let done = async {
            let (settings, collector) = (&app.config.billing, collector(app));
            closing::close(&mut tx, settings, collector, &workspace, at).await?;
            Ok(tx.commit().await?)
        };
        steps += count(done.await, format!("close {workspace}"), failed);
    }
    Ok(steps)
}

async fn issue_drafts(app: &App, failed: &mut BTreeSet<String>) -> Result<usize> {
    let mut tx = app.db.read().await?;
    let due = store::drafts_due(&mut tx, BATCH).await?;
    drop(tx);
    let mut steps = 0;
    for id in due {
        let mut tx = app.db.write().await?;
        let done = async {
            closing::finalize(&mut tx, &app.config.billing, collector(app), &id).await?;
            Ok(tx.commit().await?)
        };
        steps += count(done.await, format!("issue {id}"), failed);
    }
    Ok(steps)
}

async fn charge_late(app: &App, failed: &mut BTreeSet<String>) -> Result<usize> {
    let mut tx = app.db.read().await?;
    let due = late::due(&mut tx, BATCH).await?;
    drop(tx);
    let mut steps = 0;
    for (workspace, period) in due {
        let Some(month) = Period::parse(&period) else { continue };
        let mut tx = app.db.write().await?;
        let done = async {
            late::settle(&mut tx, &app.config.billing, &workspace, month).await?;
            Ok(tx.commit().await?)
        };
        steps += count(done.await, format!("late {workspace} {period}"), failed);
    }
    Ok(steps)
}

async fn remind(app: &App, failed: &mut BTreeSet<String>) -> Result<usize> {
    let mut tx = app.db.read().await?;
    let due = store::dunning_due(&mut tx, BATCH).await?;
    drop(tx);
    let mut steps = 0;
    for id in due {
        let mut tx = app.db.write().await?;
        let done = async {
            dunning::run(&mut tx, &app.config.billing, &id).await?;
            Ok(tx.commit().await?)
        };
        steps += count(done.await, format!("remind {id}"), failed);
    }
    Ok(steps)
}

async fn tell_of_trials(app: &App, failed: &mut BTreeSet<String>) -> Result<usize> {
    let mut tx = app.db.read().await?;
    let due = trial::due(&mut tx, BATCH).await?;
    drop(tx);
    let mut steps = 0;
    for workspace in due {
        let mut tx = app.db.write().await?;
        let done = async {
            trial::tell(&mut tx, &workspace).await?;
            Ok(tx.commit().await?)
        };
        steps += count(done.await, format!("trial {workspace}"), failed);
    }
    Ok(steps)
}

/// One step, or none when it failed now or before: what fails is tried again by the next run.
fn count(done: Result<(), Error>, what: String, failed: &mut BTreeSet<String>) -> usize {
    match done {
        Ok(()) => usize::from(!failed.contains(&what)),
        Err(error) => {
            tracing::error!(%error, what, "a step of billing failed");
            failed.insert(what);
            0
        }
    }
}

/// Brings an invoice to its collector.
pub async fn collect(app: &App, id: &InvoiceId) -> anyhow::Result<()> {
    // Of invoices for Stripe only. Without its key they wait until it is there again.
    Ok(collect::run(app, app.stripe()?, id).await?)
}
