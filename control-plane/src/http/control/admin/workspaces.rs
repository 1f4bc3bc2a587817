//! Workspaces, as the platform's admins see and change them.

use authsome_shared::id::{UserId, WorkspaceId};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::searched;
use crate::actor::PlatformAccess;
use crate::app::App;
use crate::applications::config::RateLimitConfig;
use crate::billing::change;
use crate::db::Tx;
use crate::error::{Error, Result, Violation};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::metering::usage;
use crate::page::{self, Page, PageParams};
use crate::workspaces::admin::{self, Filter, Owned, TermsChange};
use crate::workspaces::subscription::When;
use crate::workspaces::{Limits, Overrides, Plan, Status, SuspendedBy, limits, member};
use crate::{applications, keys};

/// A workspace, as the platform's admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "ws_0352BzK1sipBK5mYb5s0gv", "name": "Acme Corporation", "slug": "acme-corp",
    "plan": "pro", "planVersion": 1, "status": "active", "ownerId": "usr_0352BzK1sipBK5mYlLMDcU",
    "ownerEmail": "ada@example.com", "limits": { "requestsPerMonth": 5_000_000 },
    "createdAt": "2026-01-15T09:30:00Z", "updatedAt": "2026-01-15T09:30:00Z",
}))]
pub struct OverseenWorkspace {
    id: WorkspaceId,
    name: String,
    slug: String,
    plan: Plan,
    plan_version: i64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_by: Option<SuspendedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended_reason: Option<String>,
    owner_id: UserId,
    owner_email: String,
    /// What is agreed instead of the plan's.
    limits: OverridesBody,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_at: Option<DateTime<Utc>>,
}

impl From<Owned> for OverseenWorkspace {
    fn from(Owned { workspace, owner_email }: Owned) -> Self {
        Self {
            id: workspace.id,
            name: workspace.name,
            slug: workspace.slug,
            plan: workspace.plan,
            plan_version: workspace.plan_version,
            status: workspace.status,
            suspended_by: workspace.suspended_by,
            suspended_reason: workspace.suspended_reason,
            owner_id: workspace.owner_id,
            owner_email,
            limits: workspace.limits.0.into(),
            created_at: workspace.created_at,
            updated_at: workspace.updated_at,
            deleted_at: workspace.deleted_at,
            purge_at: workspace.purge_at,
        }
    }
}

/// Limits instead of the plan's. A field that is left out follows the plan; `null` is unlimited.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "requestsPerMonth": 5_000_000, "applications": null }))]
#[expect(clippy::option_option, reason = "absent, `null` and a number are three things")]
pub struct OverridesBody {
    /// Per key.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    #[schema(value_type = RateLimitConfig, required = false)]
    rate_limit: Option<RateLimitConfig>,
    /// Request units per calendar month.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "limits::given")]
    #[schema(value_type = Option<u64>, required = false, maximum = 9_007_199_254_740_991_u64)]
    requests_per_month: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "limits::given")]
    #[schema(value_type = Option<u64>, required = false, maximum = 9_007_199_254_740_991_u64)]
    applications: Option<Option<u64>>,
    /// End users per month that the fee includes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    #[schema(value_type = u64, required = false, maximum = 9_007_199_254_740_991_u64)]
    active_users: Option<u64>,
}

/// A field that may be left out and is never `null`.
fn some<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl From<Overrides> for OverridesBody {
    fn from(overrides: Overrides) -> Self {
        let Overrides { rate_limit, requests_per_month, applications, active_users } = overrides;
        let rate_limit = rate_limit.map(Into::into);
        Self { rate_limit, requests_per_month, applications, active_users }
    }
}

impl From<OverridesBody> for Overrides {
    fn from(body: OverridesBody) -> Self {
        let OverridesBody { rate_limit, requests_per_month, applications, active_users } = body;
        let rate_limit = rate_limit.map(RateLimitConfig::to_wire);
        Self { rate_limit, requests_per_month, applications, active_users }
    }
}

/// A workspace with what holds for it, what is in it, and what it has used this month.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "ws_0352BzK1sipBK5mYb5s0gv", "name": "Acme Corporation", "slug": "acme-corp",
    "plan": "pro", "planVersion": 1, "status": "active", "ownerId": "usr_0352BzK1sipBK5mYlLMDcU",
    "ownerEmail": "ada@example.com", "limits": {},
    "createdAt": "2026-01-15T09:30:00Z", "updatedAt": "2026-01-15T09:30:00Z",
    "effectiveLimits": {
        "rateLimit": { "requests": 100, "windowMs": 1000, "burst": 100 },
        "requestsPerMonth": null, "applications": null, "activeUsers": 10000,
    },
    "counts": { "members": 4, "applications": 3, "keys": 9 },
    "usage": { "period": "2026-01", "requests": 145_000, "errors": 23, "activeUsers": 1250 },
}))]
pub struct InspectedWorkspace {
    #[serde(flatten)]
    workspace: OverseenWorkspace,
    effective_limits: EffectiveLimits,
    counts: Counts,
    usage: MonthBody,
}

/// What holds: the plan's limits, with the workspace's own over them. `null` is unlimited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EffectiveLimits {
    rate_limit: RateLimitConfig,
    requests_per_month: Option<u64>,
    applications: Option<u64>,
    active_users: u64,
}

impl From<&Limits> for EffectiveLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            rate_limit: limits.rate_limit.into(),
            requests_per_month: limits.requests_per_month,
            applications: limits.applications,
            active_users: limits.active_users.included,
        }
    }
}

/// What is not deleted or revoked.
#[derive(Debug, Serialize, ToSchema)]
struct Counts {
    /// Invitations among them.
    members: u64,
    applications: u64,
    keys: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MonthBody {
    #[schema(example = "2026-01")]
    period: String,
    /// Request units.
    requests: u64,
    /// Answers of 500 and above.
    errors: u64,
    active_users: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct SearchWorkspaces {
    /// Part of name or slug, or of the owner's address or name; or the id of either.
    #[param(max_length = 200, example = "acme")]
    search: Option<String>,
    plan: Option<Plan>,
    status: Option<Status>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

/// Search workspaces, deleted ones among them.
#[utoipa::path(
    get, path = "/control/v1/admin/workspaces", tag = "platform", security(("bearer" = [])),
    params(SearchWorkspaces),
    responses(
        (status = 200, description = "A page", body = Page<OverseenWorkspace>),
        Failures, Refusals,
    ),
)]
pub async fn search_workspaces(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Query(params): Query<SearchWorkspaces>,
) -> Result<Json<Page<OverseenWorkspace>>> {
    let SearchWorkspaces { search, plan, status, page, page_size } = params;
    let filter = Filter { search: searched(search)?, plan, status };
    let mut tx = app.db.read().await?;
    let page = admin::search(&mut tx, &access, &filter, PageParams { page, page_size }).await?;
    Ok(Json(page.map(Into::into)))
}

/// Get a workspace with its limits, counts and this month's usage.
#[utoipa::path(
    get, path = "/control/v1/admin/workspaces/{workspaceId}", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "The workspace", body = InspectedWorkspace),
        Failures, Refusals,
    ),
)]
pub async fn inspect_workspace(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
) -> Result<Json<InspectedWorkspace>> {
    let mut tx = app.db.read().await?;
    let owned = admin::get(&mut tx, &access, &id).await?;
    Ok(Json(inspected(&mut tx, &access, owned).await?))
}

async fn inspected(
    tx: &mut Tx,
    access: &PlatformAccess,
    owned: Owned,
) -> Result<InspectedWorkspace> {
    let workspace = &owned.workspace;
    let usage = usage::overseen(tx, access, workspace).await?;
    Ok(InspectedWorkspace {
        effective_limits: (&usage.limits).into(),
        counts: Counts {
            members: member::count(tx, &workspace.id).await?,
            applications: applications::count(tx, &workspace.id).await?,
            keys: keys::count(tx, &workspace.id).await?,
        },
        usage: MonthBody {
            period: usage.period.to_string(),
            requests: usage.request_units,
            errors: usage.errors,
            active_users: usage.active_users,
        },
        workspace: owned.into(),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "plan": "enterprise", "limits": { "requestsPerMonth": 5_000_000 } }))]
pub struct UpdateTerms {
    plan: Option<Plan>,
    /// Of the plan; its current one when the plan changes.
    #[schema(minimum = 1)]
    version: Option<i64>,
    /// When plan and version change; limits change at once, in a request without it.
    when: Option<When>,
    /// Replaces all limits of its own; `{}` takes them away.
    #[schema(value_type = Option<OverridesBody>)]
    limits: Option<Map<String, Value>>,
}

/// Read apart: a list would pass for an object all of whose fields may be left out.
fn overrides(given: Map<String, Value>) -> Result<Overrides> {
    let body: OverridesBody =
        serde_path_to_error::deserialize(Value::Object(given)).map_err(|error| {
            let path = match error.path().to_string().as_str() {
                "." => "limits".to_owned(),
                path => format!("limits.{path}"),
            };
            Error::Invalid(vec![Violation::from_serde(&path, &error.inner().to_string())])
        })?;
    Ok(body.into())
}

/// Change a workspace's plan, or give it limits of its own. All proxies hold them at once, unless the
/// plan is to change at the end of the month.
#[utoipa::path(
    patch, path = "/control/v1/admin/workspaces/{workspaceId}", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = UpdateTerms,
    responses(
        (status = 200, description = "The workspace as it is now", body = InspectedWorkspace),
        (status = 409, description = "It is deleted, and nothing can be planned", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn update_terms(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<UpdateTerms>,
) -> Result<Json<InspectedWorkspace>> {
    let UpdateTerms { plan, version, when, limits } = input;
    let limits = limits.map(overrides).transpose()?;
    let change = TermsChange { plan, version, when: when.unwrap_or_default(), limits };
    let mut tx = app.db.write().await?;
    change::catch_up(&mut tx, &app.config.billing, &id).await?;
    let owned = admin::change(&mut tx, &access, &id, change).await?;
    let body = inspected(&mut tx, &access, owned).await?;
    tx.commit().await?;
    Ok(Json(body))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendWorkspace {
    /// Its members see it.
    #[schema(
        example = "Unusual traffic: please write to support",
        min_length = 1,
        max_length = 500
    )]
    reason: String,
}

/// Suspend a workspace: proxies answer 503 `suspended` for all its applications.
#[utoipa::path(
    post, path = "/control/v1/admin/workspaces/{workspaceId}/suspend", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = SuspendWorkspace,
    responses(
        (status = 200, description = "The workspace, suspended", body = OverseenWorkspace),
        (status = 409, description = "It is suspended or deleted", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn suspend_workspace(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<SuspendWorkspace>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let owned = admin::suspend(&mut tx, &access, &id, &input.reason).await?;
    applications::tell_suspended(&mut tx, &id, input.reason.trim()).await?;
    idempotency::answer(tx, &app, StatusCode::OK, OverseenWorkspace::from(owned)).await
}

/// End a workspace's suspension.
#[utoipa::path(
    post, path = "/control/v1/admin/workspaces/{workspaceId}/unsuspend", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "The workspace, as before", body = OverseenWorkspace),
        (status = 409, description = "It is not suspended", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn unsuspend_workspace(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let owned = admin::unsuspend(&mut tx, &access, &id).await?;
    idempotency::answer(tx, &app, StatusCode::OK, OverseenWorkspace::from(owned)).await
}
