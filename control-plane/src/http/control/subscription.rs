//! A workspace's plan: what it is on, what it changes to, and what a change would cost.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::workspaces::OverridesBody;
use super::coupons::RedeemedCoupon;
use crate::actor::Permission;
use crate::app::App;
use crate::billing::bill::Bill;
use crate::billing::change::{self, Obstacle};
use crate::billing::coupon;
use crate::billing::money::{Currency, MICROS};
use crate::billing::preview::{self, Compared, Preview};
use crate::billing::price::{Kind, Line};
use crate::db::Tx;
use crate::error::Result;
use crate::http::extract::{Json, Path};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::period::Period;
use crate::workspaces::plan::{self, Plan};
use crate::workspaces::subscription::{self, When};
use crate::workspaces::{self, Workspace};

/// What a workspace is on, and what is to come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Subscription, example = json!({
    "workspaceId": "ws_0352BzK1sipBK5mYb5s0gv", "plan": "pro", "version": 1,
    "currentPeriod": {
        "period": "2026-01", "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z",
    },
    "plannedChange": {
        "plan": "free", "version": 1, "at": "2026-02-01T00:00:00Z", "plannedBy": "customer",
        "obstacle": { "resource": "applications", "count": 5, "limit": 3 },
    },
    "trialEndsAt": null,
    "coupons": [{
        "code": "LAUNCH50", "percentOff": 50.0, "amountOff": null, "currency": "USD", "months": 3,
        "plans": null, "redeemedAt": "2026-01-15T09:30:00Z", "firstPeriod": "2026-01",
        "endPeriod": "2026-04", "removedAt": null,
    }],
    "overrides": {}, "nextInvoiceAt": "2026-02-01T00:00:00Z",
}))]
pub struct SubscriptionBody {
    workspace_id: WorkspaceId,
    plan: Plan,
    version: i64,
    current_period: PeriodBody,
    planned_change: Option<PlannedChange>,
    /// Free of charge until then; `null` when it is no trial.
    trial_ends_at: Option<DateTime<Utc>>,
    /// Those that hold this month or later, in the order in which they are taken off.
    coupons: Vec<RedeemedCoupon>,
    /// What is agreed instead of the plan's.
    overrides: OverridesBody,
    /// When this month's invoice is made; `null` once the subscription has ended.
    next_invoice_at: Option<DateTime<Utc>>,
}

/// A calendar month, UTC.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillingPeriod)]
struct PeriodBody {
    #[schema(example = "2026-01")]
    period: String,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl From<Period> for PeriodBody {
    fn from(period: Period) -> Self {
        Self { period: period.to_string(), start: period.start(), end: period.end() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlannedChange {
    plan: Plan,
    version: i64,
    at: DateTime<Utc>,
    planned_by: Planner,
    /// What has to go until then: with it the workspace stays on its plan.
    obstacle: Option<ObstacleBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Planner {
    /// Who can take it back.
    Customer,
    Operator,
}

/// More than the plan includes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlanObstacle)]
struct ObstacleBody {
    #[schema(example = "applications")]
    resource: &'static str,
    count: u64,
    limit: u64,
}

impl From<Obstacle> for ObstacleBody {
    fn from(Obstacle { applications, limit }: Obstacle) -> Self {
        Self { resource: "applications", count: applications, limit }
    }
}

pub async fn described(
    tx: &mut Tx,
    currency: &Currency,
    workspace: Workspace,
) -> Result<SubscriptionBody> {
    let now = tx.now();
    let period = Period::containing(now);
    let subscription = subscription::of(tx, &workspace.id).await?;
    let planned_change = match subscription.planned() {
        Some(planned) => {
            let version = plan::version_of(tx, planned.to).await?;
            let obstacle = if planned.by_customer {
                change::obstacle(tx, &workspace, &version).await?
            } else {
                None
            };
            Some(PlannedChange {
                plan: planned.to.plan,
                version: planned.to.version,
                at: planned.at,
                planned_by: if planned.by_customer { Planner::Customer } else { Planner::Operator },
                obstacle: obstacle.map(Into::into),
            })
        }
        None => None,
    };
    let coupons = coupon::in_force(tx, &workspace.id, &period.to_string()).await?;
    Ok(SubscriptionBody {
        plan: workspace.plan,
        version: workspace.plan_version,
        current_period: period.into(),
        planned_change,
        trial_ends_at: subscription.trial_ends_at.filter(|until| *until > now),
        coupons: coupons.into_iter().map(|it| RedeemedCoupon::new(it, currency)).collect(),
        overrides: workspace.limits.0.into(),
        next_invoice_at: subscription.next_close_at,
        workspace_id: workspace.id,
    })
}

/// Get a workspace's subscription: its plan, and what is to come.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/subscription", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "The subscription", body = SubscriptionBody),
        Failures, Refusals,
    ),
)]
pub async fn get_subscription(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<Json<SubscriptionBody>> {
    let mut tx = app.db.read().await?;
    let (_, workspace) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    Ok(Json(described(&mut tx, &app.config.billing.currency, workspace).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "plan": "pro", "when": "now" }))]
pub struct ChangePlan {
    /// Enterprise is set by the platform's operator. The plan that it is on takes back a change that
    /// is planned.
    plan: Plan,
    #[serde(default)]
    when: When,
}

/// Change the plan, at once or at the end of the month, to the plan's current version. A change at
/// once is prorated by the second. One for the end of the month is carried out then if the workspace
/// has no more applications than the plan includes; `plannedChange.obstacle` says if it has.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/plan", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = ChangePlan,
    responses(
        (status = 200, description = "The subscription as it is now", body = SubscriptionBody),
        (status = 402, description = "There are more applications than the plan includes", body = ErrorBody),
        (status = 409, description = "It is on the plan, and nothing is planned", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn change_plan(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<ChangePlan>,
) -> Result<Response> {
    let ChangePlan { plan, when } = input;
    let settings = &app.config.billing;
    let mut tx = idempotency::begin(&app).await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    let workspace = change::request(&mut tx, settings, &access, workspace, plan, when).await?;
    let body = described(&mut tx, &settings.currency, workspace).await?;
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}

/// Take back the change of plan that is planned for the end of the month.
#[utoipa::path(
    delete, path = "/control/v1/workspaces/{workspaceId}/plan/change", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 204, description = "The workspace stays on its plan"),
        (status = 409, description = "The platform's operator planned it", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn cancel_plan_change(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    change::take_back(&mut tx, &app.config.billing, &access, workspace).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a change of plan would come to. Amounts are in the currency's major unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanPreview {
    plan: Plan,
    version: i64,
    /// From when on.
    at: DateTime<Utc>,
    #[schema(example = "USD")]
    currency: String,
    /// Why it can't be changed as things stand.
    obstacle: Option<ObstacleBody>,
    /// It would begin with a trial, free of charge until then.
    trial_ends_at: Option<DateTime<Utc>>,
    this_month: ComparedMonth,
    /// With the usage that this month has so far.
    next_month: ComparedMonth,
}

#[derive(Debug, Serialize, ToSchema)]
struct ComparedMonth {
    #[schema(example = "2026-01")]
    period: String,
    /// As things stand.
    before: PreviewedBill,
    /// With the change.
    after: PreviewedBill,
}

#[derive(Debug, Serialize, ToSchema)]
struct PreviewedBill {
    lines: Vec<PreviewedLine>,
    subtotal: f64,
    discount: f64,
    tax: f64,
    total: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PreviewedLine {
    #[schema(value_type = String, example = "usage")]
    kind: Kind,
    #[schema(example = "mau")]
    item: String,
    description: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    quantity: Option<f64>,
    unit_price: Option<f64>,
    amount: f64,
}

#[expect(clippy::cast_precision_loss, reason = "for the wire, once everything is summed")]
fn units(micros: i64) -> f64 {
    micros as f64 / MICROS as f64
}

impl PreviewedLine {
    fn new(line: Line, currency: &Currency) -> Self {
        Self {
            kind: line.kind,
            item: line.item,
            description: line.description,
            starts_at: line.starts_at,
            ends_at: line.ends_at,
            quantity: line.quantity.map(units),
            unit_price: line.unit_micros.map(units),
            amount: currency.major(line.amount),
        }
    }
}

impl PreviewedBill {
    fn new(bill: Bill, currency: &Currency) -> Self {
        Self {
            lines: bill.lines.into_iter().map(|line| PreviewedLine::new(line, currency)).collect(),
            subtotal: currency.major(bill.subtotal),
            discount: currency.major(bill.discount),
            tax: currency.major(bill.tax),
            total: currency.major(bill.total),
        }
    }
}

impl ComparedMonth {
    fn new(month: Compared, currency: &Currency) -> Self {
        Self {
            period: month.period.to_string(),
            before: PreviewedBill::new(month.before, currency),
            after: PreviewedBill::new(month.after, currency),
        }
    }
}

impl PlanPreview {
    fn new(preview: Preview, currency: &Currency) -> Self {
        Self {
            plan: preview.to.plan,
            version: preview.to.version,
            at: preview.at,
            currency: currency.to_string(),
            obstacle: preview.obstacle.map(Into::into),
            trial_ends_at: preview.trial_ends_at,
            this_month: ComparedMonth::new(preview.this_month, currency),
            next_month: ComparedMonth::new(preview.next_month, currency),
        }
    }
}

/// See what a change of plan would come to, this month and the next. Changes nothing.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/plan/preview", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = ChangePlan,
    responses(
        (status = 200, description = "Both months, with the change and without", body = PlanPreview),
        (status = 409, description = "It is on the plan, and nothing is planned", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn preview_plan(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<ChangePlan>,
) -> Result<Response> {
    let ChangePlan { plan, when } = input;
    let settings = &app.config.billing;
    let mut tx = idempotency::begin(&app).await?;
    let (_, workspace) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let preview = preview::of(&mut tx, settings, &workspace, plan, when).await?;
    let body = PlanPreview::new(preview, &settings.currency);
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}
