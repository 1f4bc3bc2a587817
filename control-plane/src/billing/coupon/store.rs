//! The coupons' SQL.

use authsome_shared::id::WorkspaceId;

use super::{Coupon, NOT_FOUND, Redeemed, normal};
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// By its code, however it is written.
pub async fn get(tx: &mut Tx, code: &str) -> Result<Coupon> {
    let code = normal(code);
    let row =
        fetch_optional!(tx, sqlx::query_as("select * from coupons where code = $1").bind(code))?;
    row.ok_or(NOT_FOUND)
}

/// The newest first.
pub async fn list(tx: &mut Tx, page: PageParams) -> Result<Page<Coupon>> {
    let (total,): (i64,) = fetch_one!(tx, sqlx::query_as("select count(*) from coupons"))?;
    let rows = fetch_all!(
        tx,
        sqlx::query_as("select * from coupons order by created_at desc, code limit $1 offset $2")
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

/// `false` when the code is taken.
pub(super) async fn insert(tx: &mut Tx, coupon: &Coupon) -> Result<bool> {
    let inserted = execute!(
        tx,
        sqlx::query(
            "insert into coupons (code, percent_micros, amount_minor, months, max_redemptions, \
             redemptions, redeem_by, plans, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (code) do nothing"
        )
        .bind(&coupon.code)
        .bind(coupon.percent_micros)
        .bind(coupon.amount_minor)
        .bind(coupon.months)
        .bind(coupon.max_redemptions)
        .bind(coupon.redemptions)
        .bind(coupon.redeem_by)
        .bind(&coupon.plans)
        .bind(coupon.created_at)
    )?;
    Ok(inserted == 1)
}

pub(super) async fn disable(tx: &mut Tx, code: &str) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query("update coupons set disabled_at = $2 where code = $1 and disabled_at is null")
            .bind(code)
            .bind(now)
    )?;
    Ok(())
}

/// Counts a redemption; `false` when there is none left. Looks again at the row as it is once others
/// have let go of it.
pub(super) async fn take(tx: &mut Tx, code: &str) -> Result<bool> {
    let taken = execute!(
        tx,
        sqlx::query(
            "update coupons set redemptions = redemptions + 1 \
             where code = $1 and disabled_at is null \
             and (max_redemptions is null or redemptions < max_redemptions)"
        )
        .bind(code)
    )?;
    Ok(taken == 1)
}

pub(super) async fn is_redeemed(tx: &mut Tx, workspace: &WorkspaceId, code: &str) -> Result<bool> {
    let row: Option<(String,)> = fetch_optional!(
        tx,
        sqlx::query_as("select code from redeemed_coupons where workspace_id = $1 and code = $2")
            .bind(workspace)
            .bind(code)
    )?;
    Ok(row.is_some())
}

pub(super) async fn add(tx: &mut Tx, workspace: &WorkspaceId, redeemed: &Redeemed) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into redeemed_coupons \
             (workspace_id, code, redeemed_at, first_period, end_period) \
             values ($1, $2, $3, $4, $5)"
        )
        .bind(workspace)
        .bind(&redeemed.coupon.code)
        .bind(redeemed.redeemed_at)
        .bind(&redeemed.first_period)
        .bind(&redeemed.end_period)
    )?;
    Ok(())
}

/// From `period` on it holds no more; `false` when it doesn't anyway.
pub(super) async fn end(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    code: &str,
    period: &str,
) -> Result<bool> {
    let now = tx.now();
    let ended = execute!(
        tx,
        sqlx::query(
            "update redeemed_coupons set end_period = $3, removed_at = $4 \
             where workspace_id = $1 and code = $2 and removed_at is null \
             and (end_period is null or end_period > $3)"
        )
        .bind(workspace)
        .bind(code)
        .bind(period)
        .bind(now)
    )?;
    Ok(ended == 1)
}

/// All that the workspace has redeemed, the newest first.
pub async fn of_workspace(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    page: PageParams,
) -> Result<Page<Redeemed>> {
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from redeemed_coupons where workspace_id = $1")
            .bind(workspace)
    )?;
    let rows = fetch_all!(
        tx,
        sqlx::query_as(
            "select coupons.*, redeemed_at, first_period, end_period, removed_at \
             from redeemed_coupons join coupons on coupons.code = redeemed_coupons.code \
             where workspace_id = $1 order by redeemed_at desc, coupons.code limit $2 offset $3"
        )
        .bind(workspace)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

/// Those that hold in a month or later, in the order of redemption.
pub async fn in_force(tx: &mut Tx, workspace: &WorkspaceId, period: &str) -> Result<Vec<Redeemed>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select coupons.*, redeemed_at, first_period, end_period, removed_at \
             from redeemed_coupons join coupons on coupons.code = redeemed_coupons.code \
             where workspace_id = $1 and (end_period is null or end_period > $2) \
             order by redeemed_at, coupons.code"
        )
        .bind(workspace)
        .bind(period)
    )?)
}

/// Those that hold in a month, in the order of redemption.
pub(super) async fn holding(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: &str,
) -> Result<Vec<Coupon>> {
    let redeemed = in_force(tx, workspace, period).await?;
    let held = redeemed.into_iter().filter(|it| it.first_period.as_str() <= period);
    Ok(held.map(|it| it.coupon).collect())
}
