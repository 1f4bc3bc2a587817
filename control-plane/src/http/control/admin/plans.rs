//! Plans, as data that the platform's admins change while it runs.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::applications::config::RateLimitConfig;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{Page, PageParams};
use crate::workspaces::admin::{self, By, Existing};
use crate::workspaces::api_limit::ApiLimit;
use crate::workspaces::plan::{self, Allowance, Limits, Plan, Strictness, Tier};

/// A plan, and what it includes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "pro", "version": 1, "private": false, "note": "",
    "createdAt": "2026-01-15T09:30:00Z",
    "feeMinor": 2500, "applications": null, "requestsPerMonth": null, "requestsLimit": "hard",
    "rateLimit": { "requests": 100, "windowMs": 1000, "burst": 100 },
    "api": { "perMinute": 1000, "perDay": 100_000 },
    "activeUsers": { "included": 10000, "tiers": [{ "upTo": null, "unitMicros": 20000, "flatMinor": 0 }] },
    "storageGb": {
        "included": 10, "tiers": [{ "upTo": null, "unitMicros": 100_000, "flatMinor": 0 }],
    },
    "requests": null, "bandwidthGb": null, "meters": {},
}))]
#[serde(rename_all = "camelCase")]
pub struct PlanBody {
    name: Plan,
    #[schema(minimum = 1)]
    version: i64,
    /// Agreed with particular workspaces.
    private: bool,
    note: String,
    created_at: DateTime<Utc>,
    /// Per month, in the currency's minor unit.
    fee_minor: i64,
    applications: Option<u64>,
    /// Request units per calendar month, over all applications.
    requests_per_month: Option<u64>,
    requests_limit: Strictness,
    /// Per key.
    rate_limit: RateLimitConfig,
    /// Requests to this API.
    api: Option<ApiLimitBody>,
    /// End users per month.
    active_users: AllowanceBody,
    storage_gb: AllowanceBody,
    /// Request units; `null` is free of charge.
    requests: Option<AllowanceBody>,
    /// Of bodies, both ways; `null` is free of charge.
    bandwidth_gb: Option<AllowanceBody>,
    /// By the meter's name; one that is not in it is free of charge.
    meters: BTreeMap<String, AllowanceBody>,
}

impl PlanBody {
    pub fn new(version: plan::Version) -> Self {
        // Unlike a request it may have fields that an older client does not know.
        let LimitsBody {
            fee_minor,
            applications,
            requests_per_month,
            requests_limit,
            rate_limit,
            api,
            active_users,
            storage_gb,
            requests,
            bandwidth_gb,
            meters,
        } = version.limits.0.into();
        Self {
            name: version.plan,
            version: version.version,
            private: version.private,
            note: version.note,
            created_at: version.created_at,
            fee_minor,
            applications,
            requests_per_month,
            requests_limit,
            rate_limit,
            api,
            active_users,
            storage_gb,
            requests,
            bandwidth_gb,
            meters,
        }
    }
}

/// What a plan includes; `null` is unlimited.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "feeMinor": 2500, "applications": null, "requestsPerMonth": null,
    "rateLimit": { "requests": 200, "windowMs": 1000, "burst": 400 },
    "api": { "perMinute": 1000, "perDay": 100_000 },
    "activeUsers": { "included": 10000, "tiers": [
        { "upTo": 100_000, "unitMicros": 20000 }, { "upTo": null, "unitMicros": 10000 },
    ] },
    "storageGb": { "included": 10, "tiers": [{ "upTo": null, "unitMicros": 100_000 }] },
}))]
pub struct LimitsBody {
    /// Per month, in the currency's minor unit.
    #[schema(minimum = 0, maximum = 100_000_000)]
    fee_minor: i64,
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, maximum = 9_007_199_254_740_991_u64)]
    applications: Option<u64>,
    /// Request units per calendar month, over all applications.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, maximum = 9_007_199_254_740_991_u64)]
    requests_per_month: Option<u64>,
    /// What becomes of requests beyond them: `hard` refuses, `soft` serves and tells.
    #[serde(default)]
    requests_limit: Strictness,
    /// Per key.
    rate_limit: RateLimitConfig,
    /// Requests to this API, per workspace on its routes and per user elsewhere.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    api: Option<ApiLimitBody>,
    /// End users per month.
    active_users: AllowanceBody,
    storage_gb: AllowanceBody,
    /// Request units; left out or `null`: free of charge.
    #[serde(default)]
    requests: Option<AllowanceBody>,
    /// Of bodies, both ways; left out or `null`: free of charge.
    #[serde(default)]
    bandwidth_gb: Option<AllowanceBody>,
    /// By the meter's name; one that is not in it is free of charge.
    #[serde(default)]
    meters: BTreeMap<String, AllowanceBody>,
}

/// So many requests a minute and a day.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApiLimitBody {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    per_minute: u64,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    per_day: u64,
}

/// An included quantity, and the graduated price of more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AllowanceBody {
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    included: u64,
    /// In rising order; each unit costs what its own tier says.
    #[schema(max_items = 20)]
    tiers: Vec<TierBody>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TierBody {
    /// Counted from zero, the included quantity with it; `null`: without end.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    up_to: Option<u64>,
    /// Millionths of the currency's major unit per unit.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    unit_micros: i64,
    /// Once, when the quantity comes into this tier; in minor units.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000_000)]
    flat_minor: i64,
}

impl From<Limits> for LimitsBody {
    fn from(limits: Limits) -> Self {
        Self {
            fee_minor: limits.fee_minor,
            applications: limits.applications,
            requests_per_month: limits.requests_per_month,
            requests_limit: limits.requests_limit,
            rate_limit: limits.rate_limit.into(),
            api: limits
                .api
                .map(|ApiLimit { per_minute, per_day }| ApiLimitBody { per_minute, per_day }),
            active_users: limits.active_users.into(),
            storage_gb: limits.storage_gb.into(),
            requests: limits.requests.map(Into::into),
            bandwidth_gb: limits.bandwidth_gb.map(Into::into),
            meters: limits.meters.into_iter().map(|(name, meter)| (name, meter.into())).collect(),
        }
    }
}

impl From<LimitsBody> for Limits {
    fn from(body: LimitsBody) -> Self {
        Self {
            fee_minor: body.fee_minor,
            applications: body.applications,
            requests_per_month: body.requests_per_month,
            requests_limit: body.requests_limit,
            rate_limit: body.rate_limit.to_wire(),
            api: body
                .api
                .map(|ApiLimitBody { per_minute, per_day }| ApiLimit { per_minute, per_day }),
            active_users: body.active_users.into(),
            storage_gb: body.storage_gb.into(),
            requests: body.requests.map(Into::into),
            bandwidth_gb: body.bandwidth_gb.map(Into::into),
            meters: body.meters.into_iter().map(|(name, meter)| (name, meter.into())).collect(),
        }
    }
}

impl From<Allowance> for AllowanceBody {
    fn from(allowance: Allowance) -> Self {
        let tier =
            |Tier { up_to, unit_micros, flat_minor }| TierBody { up_to, unit_micros, flat_minor };
        Self {
            included: allowance.included,
            tiers: allowance.tiers.into_iter().map(tier).collect(),
        }
    }
}

impl From<AllowanceBody> for Allowance {
    fn from(body: AllowanceBody) -> Self {
        let tier =
            |TierBody { up_to, unit_micros, flat_minor }| Tier { up_to, unit_micros, flat_minor };
        Self { included: body.included, tiers: body.tiers.into_iter().map(tier).collect() }
    }
}

/// List the plans.
#[utoipa::path(
    get, path = "/control/v1/admin/plans", tag = "platform", security(("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A page", body = Page<PlanBody>), Failures, Refusals),
)]
pub async fn list_plans(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<PlanBody>>> {
    let mut tx = app.db.read().await?;
    let page = plan::list(&mut tx, page).await?;
    Ok(Json(page.map(PlanBody::new)))
}

/// Get a plan.
#[utoipa::path(
    get, path = "/control/v1/admin/plans/{plan}", tag = "platform", security(("bearer" = [])),
    params(("plan" = Plan, Path)),
    responses((status = 200, description = "The plan", body = PlanBody), Failures, Refusals),
)]
pub async fn get_plan(
    State(app): State<App>,
    _: PlatformAdmin,
    Path(name): Path<Plan>,
) -> Result<Json<PlanBody>> {
    let mut tx = app.db.read().await?;
    Ok(Json(PlanBody::new(plan::current(&mut tx, name).await?)))
}

/// What becomes of a plan's new version.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct VersionParams {
    /// What becomes of those who have an older version.
    #[serde(default)]
    #[param(inline)]
    existing: ExistingBody,
    /// Agreed with particular workspaces: not for new subscriptions.
    #[serde(default)]
    private: bool,
    /// For the platform's admins.
    #[serde(default)]
    #[param(max_length = 500, example = "Prices from April on")]
    note: String,
}

/// What becomes of those who have an older version.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExistingSubscriptions)]
enum ExistingBody {
    /// They keep it.
    #[default]
    Keep,
    /// They have the new one from now on; the month is prorated.
    MoveNow,
    /// They have it from the end of the month.
    MoveAtPeriodEnd,
}

/// Give a plan another version. New subscriptions get it, unless it is private; those that exist
/// keep theirs, or are moved.
#[utoipa::path(
    put, path = "/control/v1/admin/plans/{plan}", tag = "platform", security(("bearer" = [])),
    params(("plan" = Plan, Path), VersionParams), request_body = LimitsBody,
    responses(
        (status = 200, description = "The new version", body = PlanBody),
        Failures, Refusals,
    ),
)]
pub async fn replace_plan(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(name): Path<Plan>,
    Query(params): Query<VersionParams>,
    Json(limits): Json<LimitsBody>,
) -> Result<Json<PlanBody>> {
    let VersionParams { existing, private, note } = params;
    let existing = match existing {
        ExistingBody::Keep => Existing::Keep,
        ExistingBody::MoveNow => Existing::MoveNow,
        ExistingBody::MoveAtPeriodEnd => Existing::MoveAtPeriodEnd,
    };
    let by = By::Admin(&access);
    let mut tx = app.db.write().await?;
    let added =
        admin::publish_version(&mut tx, &by, name, &limits.into(), (private, &note), existing)
            .await?;
    tx.commit().await?;
    Ok(Json(PlanBody::new(added)))
}
