//! Totals per calendar month of a workspace, an application or a line of keys: what quotas, usage
//! and invoices rest on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use authsome_shared::usage::Total;
use chrono::{DateTime, Utc};

use super::batch::Record;
use crate::db::Tx;
use crate::db::rows::{Column, Rows};
use crate::error::Result;
use crate::{fetch_all, fetch_optional};

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
    pub(super) fn of(record: &Record<'_>) -> Self {
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

/// Request units of a subject and a period.
type Used = ((String, String), i64);

/// Adds to months, by subject and period, with the workspace of each; answers what their request
/// units come to.
pub async fn add_all(
    tx: &mut Tx,
    totals: &BTreeMap<(&str, &str), (&str, Increment)>,
) -> Result<HashMap<(String, String), i64>> {
    let now = tx.now();
    let count = |of: fn(&Increment) -> i64| {
        Column::Integer(totals.values().map(|(_, increment)| of(increment)).collect())
    };
    let rows = Rows::new([
        ("subject", Column::Text(totals.keys().map(|key| key.0).collect())),
        ("period", Column::Text(totals.keys().map(|key| key.1).collect())),
        ("workspace_id", Column::Text(totals.values().map(|value| value.0).collect())),
        ("requests", count(|it| it.requests)),
        ("units", count(|it| it.units)),
        ("errors", count(|it| it.errors)),
        ("bytes_in", count(|it| it.bytes_in)),
        ("bytes_out", count(|it| it.bytes_out)),
        ("updated_at", Column::Time(vec![now; totals.len()])),
    ]);
    let used: Vec<(String, String, i64)> = rows
        .fetch_all(
            tx,
            "insert into usage_totals (subject, period, workspace_id, requests, units, errors, \
             bytes_in, bytes_out, updated_at) \
             select subject, period, workspace_id, requests, units, errors, bytes_in, bytes_out, \
             updated_at from {rows} where true \
             on conflict (subject, period) do update set \
             requests = usage_totals.requests + excluded.requests, \
             units = usage_totals.units + excluded.units, \
             errors = usage_totals.errors + excluded.errors, \
             bytes_in = usage_totals.bytes_in + excluded.bytes_in, \
             bytes_out = usage_totals.bytes_out + excluded.bytes_out, \
             updated_at = excluded.updated_at \
             returning subject, period, units",
        )
        .await?;
    Ok(used.into_iter().map(|(subject, period, units)| ((subject, period), units)).collect())
}

/// The request units of subjects and periods that have any.
pub async fn used_by(tx: &mut Tx, of: &BTreeSet<(String, String)>) -> Result<Vec<Used>> {
    let rows = Rows::new([
        ("subject", Column::Text(of.iter().map(|(subject, _)| subject.as_str()).collect())),
        ("period", Column::Text(of.iter().map(|(_, period)| period.as_str()).collect())),
    ]);
    let used: Vec<(String, String, i64)> = rows
        .fetch_all(
            tx,
            "select usage_totals.subject, usage_totals.period, units from {rows} \
             join usage_totals on usage_totals.subject = given.subject \
             and usage_totals.period = given.period",
        )
        .await?;
    Ok(used.into_iter().map(|(subject, period, units)| ((subject, period), units)).collect())
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
