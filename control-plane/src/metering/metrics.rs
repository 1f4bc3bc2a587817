//! An application's metrics over a period, in points of one interval each, and its figures of the
//! current month. Read from `series`; end users from what `apply` notes of them.

use authsome_shared::id::ApplicationId;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::series::{self, Row, Step};
use super::usage::Period;
use super::{totals, uptime};
use crate::actor::Access;
use crate::db::Tx;
use crate::error::Result;
use crate::fetch_one;

/// How far back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Span {
    #[serde(rename = "1h")]
    Hour,
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
}

impl Span {
    pub fn minutes(self) -> i64 {
        match self {
            Self::Hour => 60,
            Self::Day => 24 * 60,
            Self::Week => 7 * 24 * 60,
            Self::Month => 30 * 24 * 60,
        }
    }
}

/// The length of a point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Interval {
    #[serde(rename = "1m")]
    Minute,
    #[default]
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "1h")]
    Hour,
}

impl Interval {
    fn step(self) -> Step {
        match self {
            Self::Minute => Step::Minute,
            Self::FiveMinutes => Step::FiveMinutes,
            Self::Hour => Step::Hour,
        }
    }
}

/// One interval. Latencies are in milliseconds, and `None` where there were no requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub starts_at: DateTime<Utc>,
    pub requests: u64,
    pub errors: u64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Debug)]
pub struct Metrics {
    /// Every interval of the period, whether it had requests or not; the last is the present one.
    pub points: Vec<Point>,
    /// Distinct end users seen within the period.
    pub active_users: u64,
    /// Distinct end users of the calendar month.
    pub mau: u64,
    /// Percent; see `uptime`.
    pub uptime: Option<f64>,
}

/// The metrics of the period that ends now.
pub async fn of(
    tx: &mut Tx,
    _access: &Access,
    application: &ApplicationId,
    span: Span,
    interval: Interval,
) -> Result<Metrics> {
    let now = tx.now();
    let step = interval.step();
    let to = step.start_of(now) + step.length();
    let from = to - TimeDelta::minutes(span.minutes());
    let rows = series::read(tx, application, step, from, to).await?;
    Ok(Metrics {
        points: points(&rows, step, from, to),
        active_users: users_since(tx, application, from).await?,
        mau: users_of(tx, application, Period::containing(now)).await?,
        uptime: uptime::of(tx, application, from, now).await?,
    })
}

/// Every step between the two, with what its row says.
fn points(rows: &[Row], step: Step, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Point> {
    let mut rows = rows.iter().peekable();
    let mut points = Vec::new();
    let mut starts_at = from;
    while starts_at < to {
        let row = rows.next_if(|row| row.starts_at == starts_at);
        let latencies = row.map(|row| row.latencies().quantiles_ms([0.5, 0.95, 0.99]));
        let [p50, p95, p99] = latencies.unwrap_or_default();
        points.push(Point {
            starts_at,
            requests: row.map_or(0, |row| row.requests.unsigned_abs()),
            errors: row.map_or(0, |row| row.errors.unsigned_abs()),
            p50,
            p95,
            p99,
        });
        starts_at += step.length();
    }
    points
}

async fn users_since(
    tx: &mut Tx,
    application: &ApplicationId,
    since: DateTime<Utc>,
) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(distinct end_user) from usage_users \
             where application_id = $1 and last_seen_at >= $2"
        )
        .bind(application)
        .bind(since)
    )?;
    Ok(count.unsigned_abs())
}

async fn users_of(tx: &mut Tx, application: &ApplicationId, period: Period) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from usage_users where application_id = $1 and period = $2"
        )
        .bind(application)
        .bind(period.to_string())
    )?;
    Ok(count.unsigned_abs())
}

/// An application's figures of the current calendar month.
#[derive(Debug)]
pub struct Month {
    /// Distinct end users.
    pub mau: u64,
    /// Admitted requests.
    pub requests: u64,
    /// Mean latency in milliseconds.
    pub latency_ms: Option<f64>,
    /// Percent; see `uptime`.
    pub uptime: Option<f64>,
}

pub async fn month(tx: &mut Tx, _access: &Access, application: &ApplicationId) -> Result<Month> {
    let now = tx.now();
    let period = Period::containing(now);
    let total = totals::of(tx, application.as_str(), &period.to_string()).await?;
    let (requests, latency_us) = series::sums(tx, application, period.start()).await?;
    #[expect(clippy::cast_precision_loss, reason = "a mean is coarser than the loss")]
    let latency_ms = (requests > 0).then(|| latency_us as f64 / requests as f64 / 1_000.0);
    Ok(Month {
        mau: users_of(tx, application, period).await?,
        requests: total.requests.unsigned_abs(),
        latency_ms,
        uptime: uptime::of(tx, application, period.start(), now).await?,
    })
}
