//! What applications store, as it is reported: a level in bytes that holds from one report to the
//! next. A month is charged by its time-weighted average in GB (2^30 bytes), as if the last level
//! held until the month's end.
//!
//! Kept are each month's exact sum (bytes times microseconds) and the newest level, so that reading
//! a month costs a row or two for each application; single reports are kept for as long as another
//! may come late between them ([`LATEST`]), and until then their order of arrival does not matter.
//! A deleted application has a level of zero from its deletion to its restoration. Placing a report
//! among the others is for `ledger`, reading a batch for `report`.

mod ledger;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use authsome_shared::id::{ApplicationId, WorkspaceId};
use chrono::{DateTime, TimeDelta, Utc};

use super::late::Touched;
use super::usage::Period;
use super::{quantities, threshold};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::{execute, fetch_all};
use ledger::{Line, Placed};
pub use report::{MAX_REPORTS, Report};

/// How late a report may come.
pub const LATEST: TimeDelta = TimeDelta::days(35);

/// How far ahead of the clock a report's time may lie.
pub const EARLIEST: TimeDelta = TimeDelta::minutes(5);

/// What became of a batch of reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// New, or put in another's place.
    pub accepted: u64,
    /// Known already.
    pub unchanged: u64,
    /// Of applications that were deleted by then.
    pub ignored: u64,
    /// Of the accepted, those that took another's place.
    pub replaced: u64,
}

/// Takes all reports of a batch, or none. A report for an instant that another was given for is a
/// conflict, unless it shall `replace` that.
pub async fn take(tx: &mut Tx, reports: Vec<Report>, replace: bool) -> Result<Taken> {
    let batch = report::check(tx, reports).await?;
    let mut by_application: BTreeMap<ApplicationId, Vec<report::Checked>> = BTreeMap::new();
    for report in batch {
        by_application.entry(report.application_id.clone()).or_default().push(report);
    }
    let mut taken = Taken::default();
    let mut touched = Touched::default();
    let mut workspaces = BTreeSet::new();
    for (application, mut reports) in by_application {
        // Stable: of two for one instant the later in the batch comes later.
        reports.sort_by_key(|report| report.at);
        let mut line = Line::lock(tx, &application, &reports[0].workspace_id).await?;
        workspaces.insert(reports[0].workspace_id.clone());
        for report in reports {
            if report.gone_since.is_some_and(|gone| gone <= report.at) {
                taken.ignored += 1;
                continue;
            }
            match line.place(tx, report.at, report.bytes, replace, &mut touched).await? {
                Placed::New => taken.accepted += 1,
                Placed::Replaced => {
                    taken.accepted += 1;
                    taken.replaced += 1;
                }
                Placed::Unchanged => taken.unchanged += 1,
                Placed::Ignored => taken.ignored += 1,
                Placed::Contradicts(before) => return Err(report.contradicts(before)),
            }
        }
    }
    touched.note(tx).await?;
    if taken.accepted > 0 {
        for workspace in &workspaces {
            threshold::check_reported(tx, workspace).await?;
        }
    }
    Ok(taken)
}

/// Ends what an application stores: it is deleted.
pub async fn stop(tx: &mut Tx, workspace: &WorkspaceId, id: &ApplicationId) -> Result<()> {
    let mut line = Line::lock(tx, id, workspace).await?;
    line.stop(tx).await
}

/// It is restored, with the level that it had before.
pub async fn resume(tx: &mut Tx, workspace: &WorkspaceId, id: &ApplicationId) -> Result<()> {
    let mut line = Line::lock(tx, id, workspace).await?;
    line.resume(tx).await
}

/// As [`stop`], of all of a workspace that is deleted.
pub async fn stop_all(tx: &mut Tx, workspace: &WorkspaceId) -> Result<()> {
    for id in standing(tx, workspace).await? {
        stop(tx, workspace, &id).await?;
    }
    Ok(())
}

/// As [`resume`], of all of a workspace that is restored, but for those that were deleted before.
pub async fn resume_all(tx: &mut Tx, workspace: &WorkspaceId) -> Result<()> {
    for id in standing(tx, workspace).await? {
        resume(tx, workspace, &id).await?;
    }
    Ok(())
}

async fn standing(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Vec<ApplicationId>> {
    let rows: Vec<(ApplicationId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select id from applications where workspace_id = $1 and status <> 'deleted' \
             order by id"
        )
        .bind(workspace)
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What a workspace stores in a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// The newest level, or that at the end of a month that is over.
    pub bytes: i64,
    /// Millionths of a GB over the whole month: what is charged.
    pub gb_months: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    application_id: String,
    bytes: i64,
    at: DateTime<Utc>,
    byte_micros: Option<String>,
    last_bytes: Option<i64>,
}

impl Row {
    /// The level, and bytes times microseconds.
    fn in_month(&self, period: Period) -> Result<(i64, i128)> {
        let known = match &self.byte_micros {
            Some(text) => text.parse::<i128>().map_err(Error::internal)?,
            None => 0,
        };
        if self.at >= period.end() {
            return Ok((self.last_bytes.unwrap_or_default(), known));
        }
        let rest = micros(self.at.max(period.start()), period.end());
        Ok((self.bytes, known + i128::from(self.bytes) * rest))
    }
}

/// A workspace's storage in a month; none in one that has not begun.
pub async fn of(tx: &mut Tx, workspace: &WorkspaceId, period: Period) -> Result<Stored> {
    let (mut bytes, mut sum) = (0_i64, 0_i128);
    for row in rows(tx, workspace, period).await? {
        let (level, byte_micros) = row.in_month(period)?;
        bytes = bytes.saturating_add(level);
        sum = sum.saturating_add(byte_micros);
    }
    Ok(Stored { bytes, gb_months: gb_months(sum, period) })
}

/// The same of each application by its id, rounded by itself.
pub async fn by_application(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<HashMap<String, Stored>> {
    rows(tx, workspace, period)
        .await?
        .into_iter()
        .map(|row| {
            let (bytes, sum) = row.in_month(period)?;
            Ok((row.application_id, Stored { bytes, gb_months: gb_months(sum, period) }))
        })
        .collect()
}

async fn rows(tx: &mut Tx, workspace: &WorkspaceId, period: Period) -> Result<Vec<Row>> {
    if period.start() > tx.now() {
        return Ok(vec![]);
    }
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select lines.application_id, lines.bytes, lines.at, months.byte_micros, \
             months.bytes as last_bytes \
             from storage_applications as lines left join storage_months as months \
             on months.application_id = lines.application_id and months.period = $2 \
             where lines.workspace_id = $1"
        )
        .bind(workspace)
        .bind(period.to_string())
    )?)
}

/// Millionths of a GB-month of bytes times microseconds, rounded half up.
fn gb_months(byte_micros: i128, period: Period) -> i64 {
    quantities::gb(byte_micros, micros(period.start(), period.end()))
}

fn micros(from: DateTime<Utc>, to: DateTime<Utc>) -> i128 {
    i128::from((to - from).num_microseconds().unwrap_or(i64::MAX))
}

/// Removes up to `limit` reports that none can come late before any more; answers how many. The
/// newest of them stays: it says what held from there on.
pub async fn prune(tx: &mut Tx, limit: i64) -> Result<u64> {
    // Later than what is refused, by far more than a transaction lasts.
    let before = tx.now() - LATEST - TimeDelta::days(1);
    Ok(execute!(
        tx,
        sqlx::query(
            "delete from storage_reports where (application_id, at) in \
             (select application_id, at from storage_reports as older where at < $1 and exists \
              (select 1 from storage_reports as newer \
               where newer.application_id = older.application_id \
               and newer.at > older.at and newer.at < $1) limit $2)"
        )
        .bind(before)
        .bind(limit)
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gb_all_month_is_one_gb_month_in_every_month() {
        for period in ["2026-02", "2028-02", "2026-03", "2026-04"] {
            let period = Period::parse(period).unwrap();
            let whole = micros(period.start(), period.end()) * quantities::GB;
            assert_eq!(gb_months(whole, period), 1_000_000);
            assert_eq!(gb_months(0, period), 0);
            // Half a millionth rounds up, less of it down.
            assert_eq!(gb_months(whole / 2_000_000, period), 1);
            assert_eq!(gb_months(whole / 2_000_000 - 1, period), 0);
        }
    }
}
