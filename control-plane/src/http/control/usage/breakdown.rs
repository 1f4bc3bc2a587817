//! A month's usage in parts.

use authsome_shared::id::{ApplicationId, WorkspaceId};
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::quantity;
use crate::actor::Permission;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::breakdown::{self, Asked, Breakdown, By, Part};
use crate::metering::totals::Increment;
use crate::metering::usage::Period;
use crate::page::{self, Page, PageParams};
use crate::workspaces;

/// A page of a month's parts, those with most requests first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakdownBody {
    #[schema(example = "2026-01")]
    period: String,
    workspace_id: WorkspaceId,
    by: By,
    data: Vec<PartBody>,
    /// Over all pages.
    #[schema(example = 1)]
    total: i64,
    page: u32,
    page_size: u32,
    /// Of all parts, on whatever page.
    sum: SumBody,
    /// Routes are known from then on; absent when that is the whole month.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_from: Option<DateTime<Utc>>,
}

/// What one part comes to. Only fields that mean something for the way of parting are there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BreakdownPart, example = json!({
    "applicationId": "app_0352BzK1sipBK5mYlLMDcU", "applicationName": "Production",
    "requests": 1200, "units": 1250, "errors": 3, "bytesIn": 40960, "bytesOut": 819_200,
    "activeUsers": 87, "storageBytes": 5_368_709_120_u64, "storageGbMonths": 5.0,
}))]
struct PartBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
    /// Also of one that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    application_name: Option<String>,
    /// The first of its line: keys that were rotated count together.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(flatten)]
    usage: SumBody,
    /// Distinct end users of the application; the workspace counts those of several once.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_users: Option<i64>,
    /// As last reported, or at the end of a month that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_bytes: Option<i64>,
    /// Rounded by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_gb_months: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BreakdownSum)]
struct SumBody {
    requests: i64,
    /// Request units: what quotas and plans count.
    units: i64,
    errors: i64,
    bytes_in: i64,
    bytes_out: i64,
}

impl From<Increment> for SumBody {
    fn from(sum: Increment) -> Self {
        let Increment { requests, units, errors, bytes_in, bytes_out } = sum;
        Self { requests, units, errors, bytes_in, bytes_out }
    }
}

impl From<Part> for PartBody {
    fn from(part: Part) -> Self {
        Self {
            application_id: part.application_id,
            application_name: part.application_name,
            key_id: part.key_id,
            key_name: part.key_name,
            route: part.route,
            usage: part.usage.into(),
            active_users: part.active_users,
            storage_bytes: part.storage.map(|stored| stored.bytes),
            storage_gb_months: part.storage.map(|stored| quantity(stored.gb_months)),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct BreakdownParams {
    /// `YYYY-MM`; the current month when absent.
    #[param(example = "2026-01", pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    period: Option<String>,
    #[serde(default)]
    #[param(inline)]
    by: By,
    /// Only this application's.
    application_id: Option<ApplicationId>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

/// What is asked for, in the month that is meant.
pub(super) fn asked(period: Period, by: By, application: Option<ApplicationId>) -> Result<Asked> {
    if let Some(id) = &application
        && id.as_str().parse::<ApplicationId>().is_err()
    {
        let message = "`applicationId` must be the id of an application";
        return Err(Error::invalid("applicationId", "invalid_value", message));
    }
    Ok(Asked { period, by, application })
}

/// Since when usage by route is kept.
pub(super) fn kept_since(app: &App, now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::days(app.config.metering.keep_hours_days.into())
}

/// Get a month's usage by application, key or route.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/usage/breakdown", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), BreakdownParams),
    responses(
        (status = 200, description = "A page of the parts", body = BreakdownBody),
        Failures, Refusals,
    ),
)]
pub async fn get_usage_breakdown(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<BreakdownParams>,
) -> Result<Json<BreakdownBody>> {
    let BreakdownParams { period, by, application_id, page, page_size } = params;
    let mut tx = app.db.read().await?;
    let now = tx.now();
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let period = Period::asked(period.as_deref(), now)?;
    let asked = asked(period, by, application_id)?;
    let params = PageParams { page, page_size };
    let Breakdown { parts, sum } = breakdown::page(&mut tx, &access, &asked, params).await?;
    let known_from = (by == By::Route)
        .then(|| breakdown::routes_known_from(period, kept_since(&app, now)))
        .flatten();
    let Page { data, total, page, page_size } = parts.map(PartBody::from);
    Ok(Json(BreakdownBody {
        period: period.to_string(),
        workspace_id: id,
        by,
        data,
        total,
        page,
        page_size,
        sum: sum.into(),
        known_from,
    }))
}
