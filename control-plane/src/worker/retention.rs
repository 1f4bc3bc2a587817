//! The part of housekeeping that goes through many rows: applications' logs and usage that have had
//! their time. Batch by batch, each in a transaction of its own, so that nobody waits long and a
//! stop in the middle loses nothing.

use chrono::{DateTime, TimeDelta, Utc};

use crate::app::App;
use crate::applications::log::{self, Excess};
use crate::db::Tx;
use crate::error::Error;
use crate::metering::series::Step;
use crate::metering::{retention, storage};

/// Rows that one transaction goes through at most.
const BATCH: i64 = 5_000;

/// What is done in batches.
enum Chore<'a> {
    /// Log lines from before then.
    OldLines(DateTime<Utc>),
    /// Log lines over so many.
    Excess(&'a Excess, i64),
    /// Usage by the minute, to be added up to hours.
    Minutes(DateTime<Utc>),
    Series(Step, DateTime<Utc>),
    Hours(DateTime<Utc>),
    /// Reports of storage that none can come late before.
    Reports,
}

impl Chore<'_> {
    /// One batch; answers how many rows it went through.
    async fn batch(&self, tx: &mut Tx) -> Result<u64, Error> {
        match self {
            Self::OldLines(before) => log::prune_old(tx, *before, BATCH).await,
            Self::Excess(excess, most) => log::prune_excess(tx, excess, *most, BATCH).await,
            Self::Minutes(before) => retention::compact(tx, *before, BATCH).await,
            Self::Series(step, before) => retention::prune_series(tx, *step, *before, BATCH).await,
            Self::Hours(before) => retention::prune_hours(tx, *before, BATCH).await,
            Self::Reports => storage::prune(tx, BATCH).await,
        }
    }

    /// Batch after batch, until one finds less than a whole one to do.
    async fn finish(&self, app: &App) -> Result<(), Error> {
        loop {
            let mut tx = app.db.write().await?;
            let done = self.batch(&mut tx).await?;
            tx.commit().await?;
            if done < BATCH.unsigned_abs() {
                return Ok(());
            }
        }
    }
}

pub async fn run(app: &App) -> Result<(), Error> {
    let before = |days: u32| app.clock.now() - TimeDelta::days(days.into());
    let (logs, metering) = (&app.config.logs, &app.config.metering);
    Chore::OldLines(before(logs.keep_days)).finish(app).await?;
    let most = logs.max_lines.into();
    let mut tx = app.db.read().await?;
    let excesses = log::excesses(&mut tx, most).await?;
    drop(tx);
    for excess in &excesses {
        Chore::Excess(excess, most).finish(app).await?;
    }
    Chore::Minutes(before(metering.compact_after_days)).finish(app).await?;
    let (minutes, hours) = (before(metering.keep_minutes_days), before(metering.keep_hours_days));
    for step in [Step::Minute, Step::FiveMinutes] {
        Chore::Series(step, minutes).finish(app).await?;
    }
    Chore::Series(Step::Hour, hours).finish(app).await?;
    Chore::Hours(hours).finish(app).await?;
    Chore::Reports.finish(app).await
}
