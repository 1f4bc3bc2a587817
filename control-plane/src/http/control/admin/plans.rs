//! Plans, as data that the platform's admins change while it runs.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::applications::config::RateLimitConfig;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{Page, PageParams};
use crate::workspaces::admin;
use crate::workspaces::api_limit::ApiLimit;
use crate::workspaces::plan::{self, Allowance, Limits, Plan, Tier};

/// A plan, and what it includes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "pro", "feeCents": 2500, "applications": null, "requestsPerMonth": null,
    "rateLimit": { "requests": 100, "windowMs": 1000, "burst": 100 },
    "api": { "perMinute": 1000, "perDay": 100_000 },
    "activeUsers": { "included": 10000, "tiers": [{ "upTo": null, "unitMicros": 20000 }] },
    "storageGb": { "included": 10, "tiers": [{ "upTo": null, "unitMicros": 100_000 }] },
}))]
#[serde(rename_all = "camelCase")]
pub struct PlanBody {
    name: Plan,
    /// Per month, in cents.
    fee_cents: i64,
    applications: Option<u64>,
    /// Request units per calendar month, over all applications.
    requests_per_month: Option<u64>,
    /// Per key.
    rate_limit: RateLimitConfig,
    /// Requests to this API.
    api: Option<ApiLimitBody>,
    /// End users per month.
    active_users: AllowanceBody,
    storage_gb: AllowanceBody,
}

impl PlanBody {
    fn new(name: Plan, limits: Limits) -> Self {
        // Unlike a request it may have fields that an older client does not know.
        let LimitsBody {
            fee_cents,
            applications,
            requests_per_month,
            rate_limit,
            api,
            active_users,
            storage_gb,
        } = limits.into();
        Self {
            name,
            fee_cents,
            applications,
            requests_per_month,
            rate_limit,
            api,
            active_users,
            storage_gb,
        }
    }
}

/// What a plan includes; `null` is unlimited.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "feeCents": 2500, "applications": null, "requestsPerMonth": null,
    "rateLimit": { "requests": 200, "windowMs": 1000, "burst": 400 },
    "api": { "perMinute": 1000, "perDay": 100_000 },
    "activeUsers": { "included": 10000, "tiers": [
        { "upTo": 100_000, "unitMicros": 20000 }, { "upTo": null, "unitMicros": 10000 },
    ] },
    "storageGb": { "included": 10, "tiers": [{ "upTo": null, "unitMicros": 100_000 }] },
}))]
pub struct LimitsBody {
    /// Per month, in cents.
    #[schema(minimum = 0, maximum = 100_000_000)]
    fee_cents: i64,
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, maximum = 9_007_199_254_740_991_u64)]
    applications: Option<u64>,
    /// Request units per calendar month, over all applications.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, maximum = 9_007_199_254_740_991_u64)]
    requests_per_month: Option<u64>,
    /// Per key.
    rate_limit: RateLimitConfig,
    /// Requests to this API, per workspace on its routes and per user elsewhere.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    api: Option<ApiLimitBody>,
    /// End users per month.
    active_users: AllowanceBody,
    storage_gb: AllowanceBody,
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
    /// Millionths of a dollar per unit.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    unit_micros: i64,
}

impl From<Limits> for LimitsBody {
    fn from(limits: Limits) -> Self {
        Self {
            fee_cents: limits.fee_cents,
            applications: limits.applications,
            requests_per_month: limits.requests_per_month,
            rate_limit: limits.rate_limit.into(),
            api: limits
                .api
                .map(|ApiLimit { per_minute, per_day }| ApiLimitBody { per_minute, per_day }),
            active_users: limits.active_users.into(),
            storage_gb: limits.storage_gb.into(),
        }
    }
}

impl From<LimitsBody> for Limits {
    fn from(body: LimitsBody) -> Self {
        Self {
            fee_cents: body.fee_cents,
            applications: body.applications,
            requests_per_month: body.requests_per_month,
            rate_limit: body.rate_limit.to_wire(),
            api: body
                .api
                .map(|ApiLimitBody { per_minute, per_day }| ApiLimit { per_minute, per_day }),
            active_users: body.active_users.into(),
            storage_gb: body.storage_gb.into(),
        }
    }
}

impl From<Allowance> for AllowanceBody {
    fn from(allowance: Allowance) -> Self {
        let tier = |Tier { up_to, unit_micros }| TierBody { up_to, unit_micros };
        Self {
            included: allowance.included,
            tiers: allowance.tiers.into_iter().map(tier).collect(),
        }
    }
}

impl From<AllowanceBody> for Allowance {
    fn from(body: AllowanceBody) -> Self {
        let tier = |TierBody { up_to, unit_micros }| Tier { up_to, unit_micros };
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
    Ok(Json(page.map(|(name, limits)| PlanBody::new(name, limits))))
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
    let limits = plan::limits(&mut tx, name).await?;
    Ok(Json(PlanBody::new(name, limits)))
}

/// Replace what a plan includes. It holds for every workspace of the plan at once, on all proxies.
#[utoipa::path(
    put, path = "/control/v1/admin/plans/{plan}", tag = "platform", security(("bearer" = [])),
    params(("plan" = Plan, Path)), request_body = LimitsBody,
    responses(
        (status = 200, description = "The plan as it is now", body = PlanBody),
        Failures, Refusals,
    ),
)]
pub async fn replace_plan(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(name): Path<Plan>,
    Json(input): Json<LimitsBody>,
) -> Result<Json<PlanBody>> {
    let limits = input.into();
    let mut tx = app.db.write().await?;
    admin::replace_plan(&mut tx, &access, name, &limits).await?;
    tx.commit().await?;
    Ok(Json(PlanBody::new(name, limits)))
}
