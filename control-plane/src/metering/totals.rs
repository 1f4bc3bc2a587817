//! Totals per calendar month of a workspace, an application or a line of keys: what quotas, usage
//! and invoices rest on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use authsome_shared::id::KeyId;
use authsome_shared::usage::Total;
use chrono::{DateTime, Utc};

use super::batch::Record;
use crate::db::Tx;
use crate::db::rows::{Column, Rows};
use crate::error::Result;
use crate::{fetch_all, fetch_optional, keys};

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

/// Of which subjects proxies are told: workspaces, applications, and lines of keys that hold a
/// quota. There may be a million of other keys.
#[derive(Debug)]
pub struct Told(HashSet<String>);

impl Told {
    /// As it is with these subjects now; each may come more than once.
    pub async fn among<'a>(tx: &mut Tx, subjects: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut lines: Vec<&str> = subjects.filter(|subject| is_line(subject)).collect();
        lines.sort_unstable();
        lines.dedup();
        Ok(Self(keys::lines_with_quota(tx, lines).await?))
    }

    pub fn contains(&self, subject: &str) -> bool {
        !is_line(subject) || self.0.contains(subject)
    }
}

fn is_line(subject: &str) -> bool {
    subject.starts_with(KeyId::PREFIX)
}

/// Adds to months, by subject and period, with the workspace of each.
pub async fn add_all(
    tx: &mut Tx,
    totals: &BTreeMap<(&str, &str), (&str, Increment)>,
    told: &Told,
) -> Result<()> {
    let now = tx.now();
    let count = |of: fn(&Increment) -> i64| {
        Column::Integer(totals.values().map(|(_, increment)| of(increment)).collect())
    };
    let told = totals.keys().map(|key| told.contains(key.0).into()).collect();
    let rows = Rows::new([
        ("subject", Column::Text(totals.keys().map(|key| key.0).collect())),
        ("period", Column::Text(totals.keys().map(|key| key.1).collect())),
        ("workspace_id", Column::Text(totals.values().map(|value| value.0).collect())),
        ("requests", count(|it| it.requests)),
        ("units", count(|it| it.units)),
        ("errors", count(|it| it.errors)),
        ("bytes_in", count(|it| it.bytes_in)),
        ("bytes_out", count(|it| it.bytes_out)),
        ("told", Column::Integer(told)),
        ("updated_at", Column::Time(vec![now; totals.len()])),
    ]);
    rows.execute(
        tx,
        "insert into usage_totals (subject, period, workspace_id, requests, units, errors, \
         bytes_in, bytes_out, told, updated_at) \
         select subject, period, workspace_id, requests, units, errors, bytes_in, bytes_out, \
         told = 1, updated_at from {rows} where true \
         on conflict (subject, period) do update set \
         requests = usage_totals.requests + excluded.requests, \
         units = usage_totals.units + excluded.units, \
         errors = usage_totals.errors + excluded.errors, \
         bytes_in = usage_totals.bytes_in + excluded.bytes_in, \
         bytes_out = usage_totals.bytes_out + excluded.bytes_out, \
         told = excluded.told, updated_at = excluded.updated_at",
    )
    .await?;
    Ok(())
}

/// The request units of subjects and periods that have any.
pub async fn used_by(
    tx: &mut Tx,
    of: &BTreeSet<(&str, &str)>,
) -> Result<HashMap<(String, String), u64>> {
    let rows = Rows::new([
        ("subject", Column::Text(of.iter().map(|(subject, _)| *subject).collect())),
        ("period", Column::Text(of.iter().map(|(_, period)| *period).collect())),
    ]);
    let used: Vec<(String, String, i64)> = rows
        .fetch_all(
            tx,
            "select usage_totals.subject, usage_totals.period, units from {rows} \
             join usage_totals on usage_totals.subject = given.subject \
             and usage_totals.period = given.period",
        )
        .await?;
    let used = used.into_iter();
    Ok(used.map(|(subject, period, used)| ((subject, period), used.unsigned_abs())).collect())
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

/// The month's totals that proxies are told of: those that changed since an instant, and all when
/// there is none.
pub async fn told(tx: &mut Tx, period: &str, since: Option<DateTime<Utc>>) -> Result<Vec<Total>> {
    let rows: Vec<(String, i64)> = match since {
        Some(since) => fetch_all!(
            tx,
            sqlx::query_as(
                "select subject, units from usage_totals \
                 where period = $1 and told = true and updated_at >= $2"
            )
            .bind(period)
            .bind(since)
        )?,
        // Quotas that were set after the last use are among them, too.
        None => fetch_all!(
            tx,
            sqlx::query_as(
                "select subject, units from usage_totals where period = $1 and told = true \
                 union \
                 select subject, units from keys \
                 join usage_totals on subject = bucket_id and period = $1 \
                 where (settings ->> 'quota') is not null and revoked_at is null"
            )
            .bind(period)
        )?,
    };
    let total = |(subject, units): (String, i64)| Total {
        subject,
        period: period.to_owned(),
        used: units.unsigned_abs(),
        applied: 0,
    };
    Ok(rows.into_iter().map(total).collect())
}
