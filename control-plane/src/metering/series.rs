//! An application's requests over time, in steps of a minute, five minutes and an hour: added to in
//! the transaction that applies a batch, so that each request is in all three once, and a late one
//! in the steps of its own time. A query reads the rows of its own step and nothing finer.

use std::collections::BTreeMap;

use authsome_shared::id::ApplicationId;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::histogram::Histogram;
use crate::db::Tx;
use crate::db::rows::{Column, Rows};
use crate::error::Result;
use crate::{fetch_all, fetch_one};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Minute,
    FiveMinutes,
    Hour,
}

impl Step {
    pub const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::Hour];

    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
        }
    }

    pub fn length(self) -> TimeDelta {
        TimeDelta::seconds(self.seconds())
    }

    /// The beginning of the step that an instant lies in.
    pub fn start_of(self, at: DateTime<Utc>) -> DateTime<Utc> {
        at.duration_trunc(self.length()).unwrap_or(at)
    }
}

/// What the requests of one step add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    pub requests: i64,
    /// Answers of 500 and above.
    pub errors: i64,
    /// Of all requests together, in microseconds.
    pub latency_us: i64,
    pub latencies: Histogram,
}

impl Sample {
    pub fn add(&mut self, status: u16, latency_us: u64) {
        self.requests += 1;
        self.errors += i64::from(status >= 500);
        let latency = i64::try_from(latency_us).unwrap_or(i64::MAX);
        self.latency_us = self.latency_us.saturating_add(latency);
        self.latencies.add(latency_us);
    }

    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.latency_us = self.latency_us.saturating_add(other.latency_us);
        self.latencies.merge(&other.latencies);
    }
}

/// A stored step.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Row {
    pub starts_at: DateTime<Utc>,
    pub requests: i64,
    pub errors: i64,
    pub latency_us: i64,
    latencies: String,
}

impl Row {
    pub fn latencies(&self) -> Histogram {
        Histogram::parse(&self.latencies)
    }
}

/// By application, step and its beginning.
type Samples<'a> = BTreeMap<(&'a str, Step, DateTime<Utc>), Sample>;

/// Adds to steps. Their rows are held from the first statement on, so that a parallel transaction
/// can't take away what this one adds to a histogram.
pub async fn add_all(tx: &mut Tx, samples: &Samples<'_>) -> Result<()> {
    let count = |of: fn(&Sample) -> i64| Column::Integer(samples.values().map(of).collect());
    let rows = Rows::new([
        ("application_id", Column::Text(samples.keys().map(|key| key.0).collect())),
        ("step_seconds", Column::Integer(samples.keys().map(|key| key.1.seconds()).collect())),
        ("starts_at", Column::Time(samples.keys().map(|key| key.2).collect())),
        ("requests", count(|it| it.requests)),
        ("errors", count(|it| it.errors)),
        ("latency_us", count(|it| it.latency_us)),
    ]);
    let before: Vec<(String, i64, DateTime<Utc>, String)> = rows
        .fetch_all(
            tx,
            "insert into usage_series (application_id, step_seconds, starts_at, requests, errors, \
             latency_us, latencies) \
             select application_id, step_seconds, starts_at, requests, errors, latency_us, '' \
             from {rows} where true \
             on conflict (application_id, step_seconds, starts_at) do update set \
             requests = usage_series.requests + excluded.requests, \
             errors = usage_series.errors + excluded.errors, \
             latency_us = usage_series.latency_us + excluded.latency_us \
             returning application_id, step_seconds, starts_at, latencies",
        )
        .await?;
    let merged: Vec<String> = before
        .iter()
        .map(|(application, seconds, start, latencies)| {
            let mut latencies = Histogram::parse(latencies);
            let step = Step::ALL.into_iter().find(|step| step.seconds() == *seconds);
            let sample = step.and_then(|step| samples.get(&(application.as_str(), step, *start)));
            latencies.merge(&sample.expect("a row of one given").latencies);
            latencies.to_string()
        })
        .collect();
    let rows = Rows::new([
        ("application_id", Column::Text(before.iter().map(|row| row.0.as_str()).collect())),
        ("step_seconds", Column::Integer(before.iter().map(|row| row.1).collect())),
        ("starts_at", Column::Time(before.iter().map(|row| row.2).collect())),
        ("latencies", Column::Text(merged.iter().map(String::as_str).collect())),
    ]);
    rows.execute(
        tx,
        "update usage_series set latencies = given.latencies from {rows} \
         where usage_series.application_id = given.application_id \
         and usage_series.step_seconds = given.step_seconds \
         and usage_series.starts_at = given.starts_at",
    )
    .await?;
    Ok(())
}

/// The steps from `from` until before `to` that have requests, in order.
pub async fn read(
    tx: &mut Tx,
    application: &ApplicationId,
    step: Step,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Row>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select starts_at, requests, errors, latency_us, latencies from usage_series \
             where application_id = $1 and step_seconds = $2 and starts_at >= $3 and starts_at < $4 \
             order by starts_at"
        )
        .bind(application)
        .bind(step.seconds())
        .bind(from)
        .bind(to)
    )?)
}

/// Minutes in which there were requests and every one of them failed.
pub async fn failed_minutes(
    tx: &mut Tx,
    application: &ApplicationId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        // Word by word as the index `usage_series_failed` has it.
        sqlx::query_as(
            "select count(*) from usage_series where application_id = $1 and step_seconds = 60 \
             and errors = requests and starts_at >= $2 and starts_at < $3"
        )
        .bind(application)
        .bind(from)
        .bind(to)
    )?;
    Ok(count.unsigned_abs())
}

/// Requests and their latencies in microseconds from `from` on, by whole hours.
pub async fn sums(
    tx: &mut Tx,
    application: &ApplicationId,
    from: DateTime<Utc>,
) -> Result<(i64, i64)> {
    Ok(fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(requests), 0) as bigint), \
             cast(coalesce(sum(latency_us), 0) as bigint) from usage_series \
             where application_id = $1 and step_seconds = 3600 and starts_at >= $2"
        )
        .bind(application)
        .bind(from)
    )?)
}
