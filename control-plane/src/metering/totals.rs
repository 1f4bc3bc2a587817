//! Totals per calendar month of a workspace, an application or a line of keys: what quotas, usage
//! and invoices rest on.

use authsome_shared::id::WorkspaceId;
use authsome_shared::usage::{Total, UsageRecord};
use chrono::{DateTime, Utc};

use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_all, fetch_optional};

/// What a number of records add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Increment {
    pub requests: i64,
    pub units: i64,
    /// Answers of 500 and above.
    pub errors: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

impl Increment {
    pub fn of(record: &UsageRecord) -> Self {
        Self {
            requests: 1,
            units: record.units.into(),
            errors: i64::from(record.status >= 500),
            bytes_in: i64::try_from(record.bytes_in).unwrap_or(i64::MAX),
            bytes_out: i64::try_from(record.bytes_out).unwrap_or(i64::MAX),
        }
    }

    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.units += other.units;
        self.errors += other.errors;
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

/// Adds to a subject's month.
pub async fn add(
    tx: &mut Tx,
    subject: &str,
    period: &str,
    workspace: &WorkspaceId,
    increment: Increment,
) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into usage_totals (subject, period, workspace_id, requests, units, errors, \
             bytes_in, bytes_out, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             on conflict (subject, period) do update set \
             requests = usage_totals.requests + excluded.requests, \
             units = usage_totals.units + excluded.units, \
             errors = usage_totals.errors + excluded.errors, \
             bytes_in = usage_totals.bytes_in + excluded.bytes_in, \
             bytes_out = usage_totals.bytes_out + excluded.bytes_out, \
             updated_at = excluded.updated_at"
        )
        .bind(subject)
        .bind(period)
        .bind(workspace)
        .bind(increment.requests)
        .bind(increment.units)
        .bind(increment.errors)
        .bind(increment.bytes_in)
        .bind(increment.bytes_out)
        .bind(now)
    )?;
    Ok(())
}

/// A subject's month; zeros when nothing was counted.
pub async fn of(tx: &mut Tx, subject: &str, period: &str) -> Result<Increment> {
    let row: Option<Increment> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select requests, units, errors, bytes_in, bytes_out from usage_totals \
             where subject = $1 and period = $2"
        )
        .bind(subject)
        .bind(period)
    )?;
    Ok(row.unwrap_or_default())
}

/// The month's totals that changed since an instant; all of them when there is none.
pub async fn changed(
    tx: &mut Tx,
    period: &str,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<Total>> {
    let rows: Vec<(String, i64)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select subject, units from usage_totals where period = $1 and updated_at >= $2"
        )
        .bind(period)
        .bind(since.unwrap_or(DateTime::UNIX_EPOCH))
    )?;
    Ok(rows
        .into_iter()
        .map(|(subject, units)| Total {
            subject,
            period: period.to_owned(),
            used: units.unsigned_abs(),
            applied: 0,
        })
        .collect())
}
