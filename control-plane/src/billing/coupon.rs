//! Coupons: what takes a share or an amount off the months of whoever redeems it. The platform's
//! admins make them; a coupon never changes, so that a month that is priced anew has the discount
//! that it had. Disabling one ends its redemption, not what it has given.
//!
//! A coupon holds from the month in which it is redeemed on, each code once per workspace. One that is
//! for certain plans takes off what is charged for the time under them. How it is taken off: `bill`.

mod store;

use authsome_shared::code::Code;
use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::types::Json;

use super::bill::{Discount, Off};
use crate::actor::{Access, PlatformAccess};
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::period::Period;
use crate::workspaces::Workspace;
use crate::workspaces::admin::{self, By};
use crate::workspaces::plan::Plan;
use crate::workspaces::subscription::{self, Segment};
pub use store::{get, in_force, list, of_workspace};

const NOT_FOUND: Error = Error::NotFound("coupon");

/// Ten years.
const MOST_MONTHS: u32 = 120;

/// A million of the major unit.
const MOST_MINOR: i64 = 100_000_000;

/// What JSON numbers hold exactly.
const MOST_REDEMPTIONS: u64 = (1 << 53) - 1;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Coupon {
    /// In capital letters.
    pub code: String,
    percent_micros: Option<i64>,
    amount_minor: Option<i64>,
    /// From the one in which it is redeemed on; `None`: for ever.
    pub months: Option<i64>,
    pub max_redemptions: Option<i64>,
    pub redemptions: i64,
    pub redeem_by: Option<DateTime<Utc>>,
    plans: Json<Plans>,
    pub created_at: DateTime<Utc>,
    pub disabled_at: Option<DateTime<Utc>>,
}

/// For which plans; all, when it is empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Plans {
    #[serde(default)]
    only: Vec<Plan>,
}

impl Coupon {
    pub fn off(&self) -> Off {
        match self.percent_micros {
            Some(share) => Off::Share(share),
            None => Off::Amount(self.amount_minor.unwrap_or_default()),
        }
    }

    /// The plans that it is for; all, when it is empty.
    pub fn plans(&self) -> &[Plan] {
        &self.plans.0.only
    }

    fn is_for(&self, plan: Plan) -> bool {
        self.plans().is_empty() || self.plans().contains(&plan)
    }
}

/// A coupon to be made.
#[derive(Debug)]
pub struct NewCoupon {
    pub code: String,
    pub off: Off,
    pub months: Option<u32>,
    pub max_redemptions: Option<u64>,
    pub redeem_by: Option<DateTime<Utc>>,
    /// Empty: all.
    pub plans: Vec<Plan>,
}

/// A coupon that a workspace has redeemed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Redeemed {
    #[sqlx(flatten)]
    pub coupon: Coupon,
    pub redeemed_at: DateTime<Utc>,
    /// The first month in which it holds: `YYYY-MM`.
    pub first_period: String,
    /// The first one in which it does not any more; `None`: it holds for ever.
    pub end_period: Option<String>,
    /// When an admin took it away.
    pub removed_at: Option<DateTime<Utc>>,
}

/// A code as it is compared: without spaces around it, in capital letters.
fn normal(code: &str) -> String {
    code.trim().to_ascii_uppercase()
}

fn is_code(code: &str) -> bool {
    let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=40).contains(&code.len()) && code.bytes().all(good)
}

/// Makes a coupon. A code is used once, also when its coupon is disabled.
pub async fn create(tx: &mut Tx, by: &By<'_>, new: NewCoupon) -> Result<Coupon> {
    let now = tx.now();
    let NewCoupon { code, off, months, max_redemptions, redeem_by, mut plans } = new;
    let code = normal(&code);
    plans.sort_unstable();
    plans.dedup();
    let mut checks = Checks::default();
    let rule = "`code` must have 1 to 40 letters, digits, hyphens and underscores";
    checks.check(is_code(&code), "code", rule);
    match off {
        Off::Share(share) => {
            let rule = "`percentOff` must be more than 0 and at most 100";
            checks.check((1..=1_000_000).contains(&share), "percentOff", rule);
        }
        Off::Amount(amount) => {
            let fine = (1..=MOST_MINOR).contains(&amount);
            checks.check(
                fine,
                "amountOff",
                "`amountOff` must be more than 0 and at most a million",
            );
        }
    }
    let fine = months.is_none_or(|months| (1..=MOST_MONTHS).contains(&months));
    checks.check(fine, "months", format!("`months` must be 1 to {MOST_MONTHS}, or left out"));
    let fine = max_redemptions.is_none_or(|most| (1..=MOST_REDEMPTIONS).contains(&most));
    checks.check(fine, "maxRedemptions", "`maxRedemptions` must be at least 1, or left out");
    let fine = redeem_by.is_none_or(|by| by > now);
    checks.check(fine, "redeemBy", "`redeemBy` must lie in the future");
    checks.finish()?;
    let coupon = Coupon {
        code,
        percent_micros: if let Off::Share(share) = off { Some(share) } else { None },
        amount_minor: if let Off::Amount(amount) = off { Some(amount) } else { None },
        months: months.map(Into::into),
        max_redemptions: max_redemptions.map(u64::cast_signed),
        redemptions: 0,
        redeem_by,
        plans: Json(Plans { only: plans }),
        created_at: now,
        disabled_at: None,
    };
    if !store::insert(tx, &coupon).await? {
        let message = format!("There is a coupon {} already, or was", coupon.code);
        return Err(Error::Conflict(Code::AlreadyExists, message));
    }
    let entry = by.audit("coupon.created").on("coupon", &coupon.code);
    tx.audit(entry.after(json!({
        "percentMicros": coupon.percent_micros, "amountMinor": coupon.amount_minor,
        "months": coupon.months, "maxRedemptions": coupon.max_redemptions,
        "redeemBy": coupon.redeem_by, "plans": coupon.plans(),
    })));
    Ok(coupon)
}

/// Nobody can redeem it any more; those who have keep it. Doing it twice changes nothing.
pub async fn disable(tx: &mut Tx, by: &By<'_>, code: &str) -> Result<Coupon> {
    let coupon = get(tx, code).await?;
    if coupon.disabled_at.is_some() {
        return Ok(coupon);
    }
    let disabled_at = Some(tx.now());
    store::disable(tx, &coupon.code).await?;
    tx.audit(by.audit("coupon.disabled").on("coupon", &coupon.code));
    Ok(Coupon { disabled_at, ..coupon })
}

/// Redeems a coupon for the workspace, from this month on.
pub async fn redeem(
    tx: &mut Tx,
    access: &Access,
    workspace: &Workspace,
    code: &str,
) -> Result<Redeemed> {
    let now = tx.now();
    let coupon = get(tx, code).await?;
    let refuse = |code, message| Err(Error::Conflict(code, message));
    // One that is disabled is none.
    if coupon.disabled_at.is_some() {
        return Err(NOT_FOUND);
    }
    if coupon.redeem_by.is_some_and(|by| by < now) {
        return refuse(Code::InvalidState, format!("The coupon {} has expired", coupon.code));
    }
    let planned = subscription::of(tx, &workspace.id).await?.planned();
    let comes_to = planned.map(|planned| planned.to.plan);
    if ![Some(workspace.plan), comes_to].into_iter().flatten().any(|plan| coupon.is_for(plan)) {
        let plans: Vec<&str> = coupon.plans().iter().map(|plan| plan.as_str()).collect();
        let (plans, has) = (plans.join(" and "), workspace.plan.as_str());
        let message = format!(
            "The coupon {} is for the {plans} plan, and the workspace is on {has}: change the \
             plan first",
            coupon.code
        );
        return refuse(Code::InvalidState, message);
    }
    if store::is_redeemed(tx, &workspace.id, &coupon.code).await? {
        let message = format!("The workspace has redeemed the coupon {} already", coupon.code);
        return refuse(Code::AlreadyExists, message);
    }
    if !store::take(tx, &coupon.code).await? {
        let message = format!("The coupon {} has been redeemed as often as it may be", coupon.code);
        return refuse(Code::InvalidState, message);
    }
    let first = Period::containing(now);
    let months = coupon.months.and_then(|months| u32::try_from(months).ok());
    let redeemed = Redeemed {
        redeemed_at: now,
        first_period: first.to_string(),
        end_period: months.map(|months| first.after(months).to_string()),
        removed_at: None,
        coupon,
    };
    store::add(tx, &workspace.id, &redeemed).await?;
    let entry = access.audit("coupon.redeemed").on("coupon", &redeemed.coupon.code);
    tx.audit(entry.after(json!({
        "firstPeriod": redeemed.first_period, "endPeriod": redeemed.end_period,
    })));
    Ok(redeemed)
}

/// Takes a coupon away from a workspace: this month and those to come have it no more. Its code stays
/// redeemed.
pub async fn remove(
    tx: &mut Tx,
    access: &PlatformAccess,
    workspace: &WorkspaceId,
    code: &str,
) -> Result<()> {
    admin::get(tx, access, workspace).await?;
    let code = normal(code);
    let period = Period::containing(tx.now()).to_string();
    if !store::end(tx, workspace, &code, &period).await? {
        return Err(NOT_FOUND);
    }
    let entry = access.audit("coupon.removed").in_workspace(workspace).on("coupon", &code);
    tx.audit(entry.after(json!({ "endPeriod": period })));
    Ok(())
}

/// What takes something off a workspace's month, in the order of redemption.
pub async fn of(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
    segments: &[Segment],
) -> Result<Vec<Discount>> {
    let coupons = store::holding(tx, workspace, &period.to_string()).await?;
    Ok(coupons.into_iter().map(|coupon| discount(&coupon, segments)).collect())
}

fn discount(coupon: &Coupon, segments: &[Segment]) -> Discount {
    let times = || {
        let under = segments.iter().filter(|segment| coupon.is_for(segment.plan));
        let end = DateTime::<Utc>::MAX_UTC;
        under.map(|segment| (segment.starts_at, segment.ends_at.unwrap_or(end))).collect()
    };
    let during = (!coupon.plans().is_empty()).then(times);
    Discount { code: coupon.code.clone(), off: coupon.off(), during }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_by_more_than_their_case() {
        assert_eq!(normal("  launch-50 "), "LAUNCH-50");
        for (code, good) in [("A", true), ("LAUNCH_50-X", true), ("", false), ("A B", false)] {
            assert_eq!(is_code(code), good, "{code}");
        }
        assert!(!is_code(&"A".repeat(41)) && is_code(&"A".repeat(40)));
        assert!(!is_code("É"));
    }
}
