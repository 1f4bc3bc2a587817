//! Coupons, as customers redeem them.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actor::Permission;
use crate::app::App;
use crate::billing::bill::Off;
use crate::billing::coupon::{self, Coupon, Redeemed};
use crate::billing::money::Currency;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::page::{Page, PageParams};
use crate::workspaces::{self, Plan};

/// What a coupon gives.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CouponTerms {
    #[schema(example = "LAUNCH50")]
    code: String,
    /// Of what is charged; else there is an amount.
    #[schema(example = 50.0)]
    percent_off: Option<f64>,
    /// In the currency's major unit, of each month.
    amount_off: Option<f64>,
    #[schema(example = "USD")]
    currency: String,
    /// For so many months, from the one in which it is redeemed on; `null`: for ever.
    months: Option<i64>,
    /// What is charged for the time under these plans; `null`: all.
    plans: Option<Vec<Plan>>,
}

impl CouponTerms {
    pub fn new(coupon: &Coupon, currency: &Currency) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most a million")]
        let (percent_off, amount_off) = match coupon.off() {
            Off::Share(share) => (Some(share as f64 / 10_000.0), None),
            Off::Amount(amount) => (None, Some(currency.major(amount))),
        };
        let plans = coupon.plans();
        Self {
            code: coupon.code.clone(),
            percent_off,
            amount_off,
            currency: currency.to_string(),
            months: coupon.months,
            plans: (!plans.is_empty()).then(|| plans.to_vec()),
        }
    }
}

/// A coupon that a workspace has redeemed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "code": "LAUNCH50", "percentOff": 50.0, "amountOff": null, "currency": "USD", "months": 3,
    "plans": null, "redeemedAt": "2026-01-15T09:30:00Z", "firstPeriod": "2026-01",
    "endPeriod": "2026-04", "removedAt": null,
}))]
pub struct RedeemedCoupon {
    #[serde(flatten)]
    terms: CouponTerms,
    redeemed_at: DateTime<Utc>,
    /// The first month in which it holds.
    first_period: String,
    /// The first one in which it does not any more; `null`: it holds for ever.
    end_period: Option<String>,
    /// When the platform's operator took it away.
    removed_at: Option<DateTime<Utc>>,
}

impl RedeemedCoupon {
    pub fn new(redeemed: Redeemed, currency: &Currency) -> Self {
        Self {
            terms: CouponTerms::new(&redeemed.coupon, currency),
            redeemed_at: redeemed.redeemed_at,
            first_period: redeemed.first_period,
            end_period: redeemed.end_period,
            removed_at: redeemed.removed_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemCoupon {
    /// In capital or small letters.
    #[schema(example = "LAUNCH50", min_length = 1, max_length = 40)]
    code: String,
}

/// Redeem a coupon, from this month on. Each code once per workspace.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/coupons", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = RedeemCoupon,
    responses(
        (status = 201, description = "Redeemed", body = RedeemedCoupon),
        (
            status = 409,
            description = "It was redeemed here already or as often as it may be, has expired, or \
                is for other plans",
            body = ErrorBody,
        ),
        Failures, Refusals,
    ),
)]
pub async fn redeem_coupon(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<RedeemCoupon>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    let redeemed = coupon::redeem(&mut tx, &access, &workspace, &input.code).await?;
    let body = RedeemedCoupon::new(redeemed, &app.config.billing.currency);
    idempotency::answer(tx, &app, StatusCode::CREATED, body).await
}

/// List the coupons that the workspace has redeemed, the newest first.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/coupons", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), PageParams),
    responses((status = 200, description = "A page", body = Page<RedeemedCoupon>), Failures, Refusals),
)]
pub async fn list_redeemed_coupons(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<RedeemedCoupon>>> {
    let mut tx = app.db.read().await?;
    workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let page = coupon::of_workspace(&mut tx, &id, page).await?;
    let currency = &app.config.billing.currency;
    Ok(Json(page.map(|redeemed| RedeemedCoupon::new(redeemed, currency))))
}
