//! Coupons, as the platform's admins make them.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::billing::bill::{Off, parse_percent};
use crate::billing::coupon::{self, Coupon, NewCoupon};
use crate::billing::money::Currency;
use crate::error::{Error, Result};
use crate::http::control::coupons::CouponTerms;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{Page, PageParams};
use crate::workspaces::Plan;
use crate::workspaces::admin::By;

/// A coupon.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Coupon, example = json!({
    "code": "LAUNCH50", "percentOff": 50.0, "amountOff": null, "currency": "USD", "months": 3,
    "plans": ["pro"], "maxRedemptions": 100, "redemptions": 7, "redeemBy": "2026-06-30T00:00:00Z",
    "createdAt": "2026-01-15T09:30:00Z", "disabledAt": null,
}))]
pub struct CouponBody {
    #[serde(flatten)]
    terms: CouponTerms,
    /// `null`: without end.
    max_redemptions: Option<i64>,
    redemptions: i64,
    redeem_by: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// From then on nobody could redeem it.
    disabled_at: Option<DateTime<Utc>>,
}

impl CouponBody {
    pub fn new(coupon: &Coupon, currency: &Currency) -> Self {
        Self {
            terms: CouponTerms::new(coupon, currency),
            max_redemptions: coupon.max_redemptions,
            redemptions: coupon.redemptions,
            redeem_by: coupon.redeem_by,
            created_at: coupon.created_at,
            disabled_at: coupon.disabled_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "code": "LAUNCH50", "percentOff": 50, "months": 3, "maxRedemptions": 100, "plans": ["pro"],
}))]
pub struct CreateCoupon {
    /// Kept in capital letters.
    #[schema(example = "LAUNCH50", min_length = 1, max_length = 40, pattern = "^[A-Za-z0-9_-]+$")]
    code: String,
    /// At most 4 decimals. Either this or `amountOff`.
    #[schema(exclusive_minimum = 0, maximum = 100)]
    percent_off: Option<f64>,
    /// In the currency's major unit, of each month.
    #[schema(exclusive_minimum = 0)]
    amount_off: Option<f64>,
    /// From the month in which it is redeemed on; left out: for ever.
    #[schema(minimum = 1, maximum = 120)]
    months: Option<u32>,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    max_redemptions: Option<u64>,
    redeem_by: Option<DateTime<Utc>>,
    /// What is charged for the time under these plans; left out: under all.
    plans: Option<Vec<Plan>>,
}

impl CreateCoupon {
    /// The coupon, unless its amounts have more digits than they may.
    pub fn into_new(self, currency: &Currency) -> Result<NewCoupon> {
        let off = match (self.percent_off, self.amount_off) {
            (Some(percent), None) => percent_off(percent)?,
            (None, Some(amount)) => amount_off(amount, currency)?,
            _ => {
                let message = "Give either `percentOff` or `amountOff`";
                return Err(Error::invalid("percentOff", "invalid_value", message));
            }
        };
        Ok(NewCoupon {
            code: self.code,
            off,
            months: self.months,
            max_redemptions: self.max_redemptions,
            redeem_by: self.redeem_by,
            plans: self.plans.unwrap_or_default(),
        })
    }
}

/// Read as it is written, digit by digit: 0.1 is one tenth.
fn percent_off(percent: f64) -> Result<Off> {
    let message = "`percentOff` must be more than 0 and at most 100, with at most 4 decimals";
    let share = parse_percent(&percent.to_string());
    share.map(Off::Share).ok_or_else(|| Error::invalid("percentOff", "invalid_value", message))
}

fn amount_off(amount: f64, currency: &Currency) -> Result<Off> {
    let minor = currency.parse_minor(&amount.to_string());
    minor.map(Off::Amount).ok_or_else(|| {
        let decimals = currency.decimals();
        let message = format!("`amountOff` must be an amount with at most {decimals} decimals");
        Error::invalid("amountOff", "invalid_value", message)
    })
}

/// Make a coupon. It can't be changed later.
#[utoipa::path(
    post, path = "/control/v1/admin/coupons", tag = "platform", security(("bearer" = [])),
    request_body = CreateCoupon,
    responses(
        (status = 201, description = "The coupon", body = CouponBody),
        (status = 409, description = "The code is taken, or was", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn create_coupon(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Json(input): Json<CreateCoupon>,
) -> Result<Response> {
    let currency = &app.config.billing.currency;
    let new = input.into_new(currency)?;
    let mut tx = idempotency::begin(&app).await?;
    let coupon = coupon::create(&mut tx, &By::Admin(&access), new).await?;
    let body = CouponBody::new(&coupon, currency);
    idempotency::answer(tx, &app, StatusCode::CREATED, body).await
}

/// List the coupons, the newest first.
#[utoipa::path(
    get, path = "/control/v1/admin/coupons", tag = "platform", security(("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A page", body = Page<CouponBody>), Failures, Refusals),
)]
pub async fn list_coupons(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<CouponBody>>> {
    let mut tx = app.db.read().await?;
    let page = coupon::list(&mut tx, page).await?;
    let currency = &app.config.billing.currency;
    Ok(Json(page.map(|coupon| CouponBody::new(&coupon, currency))))
}

/// Get a coupon.
#[utoipa::path(
    get, path = "/control/v1/admin/coupons/{code}", tag = "platform", security(("bearer" = [])),
    params(("code" = String, Path)),
    responses((status = 200, description = "The coupon", body = CouponBody), Failures, Refusals),
)]
pub async fn get_coupon(
    State(app): State<App>,
    _: PlatformAdmin,
    Path(code): Path<String>,
) -> Result<Json<CouponBody>> {
    let mut tx = app.db.read().await?;
    let coupon = coupon::get(&mut tx, &code).await?;
    Ok(Json(CouponBody::new(&coupon, &app.config.billing.currency)))
}

/// Disable a coupon: nobody can redeem it any more. Those who have keep it.
#[utoipa::path(
    delete, path = "/control/v1/admin/coupons/{code}", tag = "platform", security(("bearer" = [])),
    params(("code" = String, Path)),
    responses((status = 204, description = "Disabled"), Failures, Refusals),
)]
pub async fn disable_coupon(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(code): Path<String>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    coupon::disable(&mut tx, &By::Admin(&access), &code).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a coupon away from a workspace, from this month on.
#[utoipa::path(
    delete, path = "/control/v1/admin/workspaces/{workspaceId}/coupons/{code}", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), ("code" = String, Path)),
    responses((status = 204, description = "It holds no more"), Failures, Refusals),
)]
pub async fn remove_coupon(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path((id, code)): Path<(WorkspaceId, String)>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    coupon::remove(&mut tx, &access, &id, &code).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
