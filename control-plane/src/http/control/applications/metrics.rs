//! An application's metrics.

use authsome_shared::id::ApplicationId;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::applications;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::metrics::{self, Interval, Metrics, Month, Point, Span};

/// What was measured of an application, up to now. Every interval of the period has its point, in
/// order; the last one is the present interval, which is not over.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricsBody {
    period: Span,
    interval: Interval,
    metrics: Series,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsSeries)]
#[serde(rename_all = "camelCase")]
struct Series {
    requests: Requests,
    latency: Latency,
    errors: Errors,
    active_users: ActiveUsers,
    /// Percent of the period in which the application was able to serve, since it was first active;
    /// `null` before that.
    #[schema(example = 99.98)]
    uptime: Option<f64>,
}

/// Admitted requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsRequests)]
#[serde(rename_all = "camelCase")]
struct Requests {
    data_points: Vec<Count>,
    #[schema(example = 145_000)]
    total: u64,
    /// `total` by the minutes of the period, to one decimal.
    #[schema(example = 100.7)]
    avg_per_minute: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsCount)]
struct Count {
    /// When the interval begins.
    timestamp: DateTime<Utc>,
    #[schema(example = 1234)]
    value: u64,
}

/// Milliseconds from a request's head to the end of its response, as proxies see it; at most 19 %
/// above the truth. `null` where there were no requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsLatency)]
#[serde(rename_all = "camelCase")]
struct Latency {
    data_points: Vec<Quantiles>,
    /// Mean of the points' `p95`.
    #[schema(example = 75)]
    avg_p95: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsQuantiles)]
struct Quantiles {
    timestamp: DateTime<Utc>,
    #[schema(example = 25)]
    p50: Option<f64>,
    #[schema(example = 78)]
    p95: Option<f64>,
    #[schema(example = 142)]
    p99: Option<f64>,
}

/// Answers of 500 and above, the upstream's and the gateway's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsErrors)]
#[serde(rename_all = "camelCase")]
struct Errors {
    data_points: Vec<Count>,
    #[schema(example = 23)]
    total: u64,
    /// Percent of the requests, to three decimals.
    #[schema(example = 0.016)]
    rate: f64,
}

/// Distinct end users.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsActiveUsers)]
struct ActiveUsers {
    /// Seen within the period.
    #[schema(example = 145)]
    current: u64,
    /// Seen in the current calendar month.
    #[schema(example = 1250)]
    mau: u64,
}

impl MetricsBody {
    fn new(period: Span, interval: Interval, metrics: &Metrics) -> Self {
        let points = &metrics.points;
        let total = points.iter().map(|point| point.requests).sum();
        let errors = points.iter().map(|point| point.errors).sum();
        let count = |value: fn(&Point) -> u64| {
            let point = |it: &Point| Count { timestamp: it.starts_at, value: value(it) };
            points.iter().map(point).collect()
        };
        let p95: Vec<f64> = points.iter().filter_map(|point| point.p95).collect();
        let quantiles = |point: &Point| Quantiles {
            timestamp: point.starts_at,
            p50: point.p50.map(|ms| rounded(ms, 10.0)),
            p95: point.p95.map(|ms| rounded(ms, 10.0)),
            p99: point.p99.map(|ms| rounded(ms, 10.0)),
        };
        Self {
            period,
            interval,
            metrics: Series {
                requests: Requests {
                    data_points: count(|point| point.requests),
                    total,
                    avg_per_minute: rounded(part(total, period.minutes().unsigned_abs()), 10.0),
                },
                latency: Latency {
                    data_points: points.iter().map(quantiles).collect(),
                    avg_p95: mean(&p95).map(|ms| rounded(ms, 10.0)),
                },
                errors: Errors {
                    data_points: count(|point| point.errors),
                    total: errors,
                    rate: rounded(100.0 * part(errors, total), 1_000.0),
                },
                active_users: ActiveUsers { current: metrics.active_users, mau: metrics.mau },
                uptime: metrics.uptime,
            },
        }
    }
}

/// Zero of nothing.
#[expect(clippy::cast_precision_loss, reason = "it is rounded more coarsely")]
fn part(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "points are few")]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MetricsParams {
    /// `24h` unless said otherwise.
    #[serde(default)]
    #[param(inline)]
    period: Span,
    /// `5m` unless said otherwise.
    #[serde(default)]
    #[param(inline)]
    interval: Interval,
}

/// Get what was measured of an application.
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}/metrics", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path), MetricsParams),
    responses((status = 200, description = "The metrics", body = MetricsBody), Failures, Refusals),
)]
pub async fn get_application_metrics(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Query(params): Query<MetricsParams>,
) -> Result<Json<MetricsBody>> {
    let MetricsParams { period, interval } = params;
    let mut tx = app.db.read().await?;
    let (access, _) =
        applications::open_any(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let metrics = metrics::of(&mut tx, &access, &id, period, interval).await?;
    Ok(Json(MetricsBody::new(period, interval, &metrics)))
}

/// An application's figures of the current calendar month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApplicationMonth)]
#[serde(rename_all = "camelCase")]
pub struct MonthBody {
    /// Distinct end users.
    #[schema(example = 1250)]
    mau: u64,
    /// Admitted requests.
    #[schema(example = 145_000)]
    api_requests: u64,
    /// Milliseconds; `null` without requests.
    #[schema(example = 45)]
    avg_latency: Option<f64>,
    /// Percent of the month so far, since it was first active, in which it was able to serve.
    #[schema(example = 99.98)]
    uptime: Option<f64>,
}

impl From<Month> for MonthBody {
    fn from(month: Month) -> Self {
        let Month { mau, requests, latency_ms, uptime } = month;
        let avg_latency = latency_ms.map(|ms| rounded(ms, 10.0));
        Self { mau, api_requests: requests, avg_latency, uptime }
    }
}
