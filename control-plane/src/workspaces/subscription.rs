//! A workspace's subscription: which version of which plan holds, since when, and what it changes to
//! at the end of the month. Its past is kept as segments without gaps or overlaps, which is what a
//! month is charged by; this file moves them in step with the workspace's row and publishes what
//! holds to the proxies. What a month costs, and when one is closed: `billing`.
//!
//! A subscription ends with its workspace's deletion and begins anew with its restoration. What is
//! planned for the end of a month: `planned`; many subscriptions moved at once: `moving`.

mod moving;
pub mod planned;

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::limits::Overrides;
use super::plan::{Limits, Plan, VersionOf};
use super::{Workspace, publish, store};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::period::Period;
use crate::{execute, fetch_all, fetch_one, fetch_optional};
pub use moving::{Moved, move_all, move_one};
pub use planned::{Planned, schedule};

/// When a change of plan takes effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PlanChangeTime)]
pub enum When {
    /// At once; the month is prorated by the second.
    #[default]
    Now,
    /// At the end of the month.
    PeriodEnd,
}

/// What is to come.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Subscription {
    pub workspace_id: WorkspaceId,
    /// The end of the month that is closed next; `None`: it has ended, and every month is closed.
    pub next_close_at: Option<DateTime<Utc>>,
    pub trial_ends_at: Option<DateTime<Utc>>,
    /// The end of a trial that was told of.
    pub trial_told_for: Option<DateTime<Utc>>,
    next_plan: Option<Plan>,
    next_version: Option<i64>,
    next_at: Option<DateTime<Utc>>,
    next_by_customer: bool,
    next_fallback: Option<i64>,
}

impl Subscription {
    /// What it changes to at the end of a month.
    pub fn planned(&self) -> Option<Planned> {
        Some(Planned {
            to: VersionOf { plan: self.next_plan?, version: self.next_version? },
            at: self.next_at?,
            by_customer: self.next_by_customer,
            fallback: self.next_fallback,
        })
    }
}

/// What held from when to when.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Segment {
    pub starts_at: DateTime<Utc>,
    /// `None`: to this day.
    pub ends_at: Option<DateTime<Utc>>,
    pub plan: Plan,
    pub version: i64,
    pub overrides: Json<Overrides>,
    /// Free of charge before this.
    pub trial_until: Option<DateTime<Utc>>,
    pub limits: Json<Limits>,
}

impl Segment {
    /// What held: the plan's, with what was agreed put over it.
    pub fn terms(&self) -> Limits {
        self.limits.0.clone().with(&self.overrides.0)
    }
}

/// The workspace's subscription; held against changes in a writing transaction.
pub async fn of(tx: &mut Tx, id: &WorkspaceId) -> Result<Subscription> {
    let select = format!("select * from subscriptions where workspace_id = $1{}", tx.for_update());
    let row = fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(id))?;
    row.ok_or_else(|| Error::internal(anyhow::anyhow!("{id} has no subscription")))
}

/// Holds the workspace and its bills against whoever else would change them, until the transaction
/// ends: the workspace first, as everywhere. Those of one that is gone by now are nobody else's.
pub async fn hold(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    let held = tx.for_update();
    for select in [
        format!("select id from workspaces where id = $1{held}"),
        format!("select workspace_id from subscriptions where workspace_id = $1{held}"),
    ] {
        let _: Option<(WorkspaceId,)> =
            fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(id))?;
    }
    Ok(())
}

/// What held in any part of a time, oldest first.
pub async fn segments(
    tx: &mut Tx,
    id: &WorkspaceId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Segment>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select starts_at, ends_at, subscription_segments.plan, subscription_segments.version, \
             overrides, trial_until, limits from subscription_segments \
             join plan_versions on plan_versions.plan = subscription_segments.plan \
             and plan_versions.version = subscription_segments.version \
             where workspace_id = $1 and starts_at < $3 and (ends_at is null or ends_at > $2) \
             order by starts_at"
        )
        .bind(id)
        .bind(from)
        .bind(to)
    )?)
}

/// When the workspace first subscribed to anything.
pub async fn began(tx: &mut Tx, id: &WorkspaceId) -> Result<Option<DateTime<Utc>>> {
    let (began,): (Option<DateTime<Utc>>,) = fetch_one!(
        tx,
        sqlx::query_as("select min(starts_at) from subscription_segments where workspace_id = $1")
            .bind(id)
    )?;
    Ok(began)
}

/// Does anything hold after an instant?
pub async fn goes_on(tx: &mut Tx, id: &WorkspaceId, at: DateTime<Utc>) -> Result<bool> {
    let (segments,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from subscription_segments \
             where workspace_id = $1 and (ends_at is null or ends_at > $2)"
        )
        .bind(id)
        .bind(at)
    )?;
    Ok(segments > 0)
}

/// Begins the subscription of a new workspace, free of charge until `trial_until`.
pub(super) async fn begin(
    tx: &mut Tx,
    workspace: &Workspace,
    trial_until: Option<DateTime<Utc>>,
) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into subscriptions (workspace_id, next_close_at, trial_ends_at, \
             next_by_customer, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)"
        )
        .bind(&workspace.id)
        .bind(Period::containing(now).end())
        .bind(trial_until)
        .bind(false)
        .bind(now)
    )?;
    open(tx, workspace, now, trial_until).await
}

/// Ends it, with the workspace's deletion.
pub(super) async fn end(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    planned::put(tx, id, None).await?;
    let now = tx.now();
    let at = boundary(tx, id, now).await?;
    shut(tx, id, at).await
}

/// Goes on after the workspace's restoration. Months that lie wholly between are not charged.
pub(super) async fn resume(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    let now = tx.now();
    let subscription = of(tx, &workspace.id).await?;
    if subscription.next_close_at.is_none() {
        close_next_at(tx, &workspace.id, Some(Period::containing(now).end())).await?;
    }
    let at = boundary(tx, &workspace.id, now).await?;
    open(tx, workspace, at, subscription.trial_ends_at).await
}

/// Moves it to what the workspace's row says by now: another version, or other limits of its own.
/// The past stays charged by what held then.
pub async fn move_to(tx: &mut Tx, workspace: &Workspace, at: DateTime<Utc>) -> Result<()> {
    let trial = of(tx, &workspace.id).await?.trial_ends_at;
    let at = boundary(tx, &workspace.id, at).await?;
    shut(tx, &workspace.id, at).await?;
    open(tx, workspace, at, trial).await
}

/// Gives the workspace another version from `at` on; proxies hold it at once.
pub async fn change(
    tx: &mut Tx,
    workspace: &mut Workspace,
    to: VersionOf,
    at: DateTime<Utc>,
) -> Result<()> {
    workspace.plan = to.plan;
    workspace.plan_version = to.version;
    workspace.updated_at = tx.now();
    store::update(tx, workspace).await?;
    schedule(tx, &workspace.id, None).await?;
    move_to(tx, workspace, at).await?;
    publish(tx, workspace).await
}

/// Free of charge until `until`, from now on; `None` ends a trial now.
pub async fn try_until(
    tx: &mut Tx,
    workspace: &Workspace,
    until: Option<DateTime<Utc>>,
) -> Result<()> {
    set_trial(tx, &workspace.id, until).await?;
    let now = tx.now();
    let at = boundary(tx, &workspace.id, now).await?;
    shut(tx, &workspace.id, at).await?;
    open(tx, workspace, at, until).await
}

/// Whatever it moves to from here on is free of charge until then.
pub async fn set_trial(tx: &mut Tx, id: &WorkspaceId, until: Option<DateTime<Utc>>) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update subscriptions set trial_ends_at = $2, updated_at = $3 where workspace_id = $1"
        )
        .bind(id)
        .bind(until)
        .bind(now)
    )?;
    Ok(())
}

/// Those whose trial ends after now and by `until`, and that were not told of it.
pub async fn trials_ending(
    tx: &mut Tx,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<WorkspaceId>> {
    let now = tx.now();
    let rows: Vec<(WorkspaceId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select workspace_id from subscriptions where trial_ends_at > $1 \
             and trial_ends_at <= $2 \
             and (trial_told_for is null or trial_told_for <> trial_ends_at) \
             order by trial_ends_at, workspace_id limit $3"
        )
        .bind(now)
        .bind(until)
        .bind(limit)
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// It was told of when its trial ends.
pub async fn note_trial_told(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "update subscriptions set trial_told_for = trial_ends_at where workspace_id = $1"
        )
        .bind(id)
    )?;
    Ok(())
}

/// Which month is closed next.
pub async fn close_next_at(tx: &mut Tx, id: &WorkspaceId, at: Option<DateTime<Utc>>) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update subscriptions set next_close_at = $2, updated_at = $3 where workspace_id = $1"
        )
        .bind(id)
        .bind(at)
        .bind(now)
    )?;
    Ok(())
}

/// Those with a month to be closed by now, the oldest first.
pub async fn due(tx: &mut Tx, limit: i64) -> Result<Vec<(WorkspaceId, DateTime<Utc>)>> {
    let now = tx.now();
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select workspace_id, next_close_at from subscriptions where next_close_at <= $1 \
             order by next_close_at, workspace_id limit $2"
        )
        .bind(now)
        .bind(limit)
    )?)
}

/// When the next month is to be closed.
pub async fn next_due(tx: &mut Tx) -> Result<Option<DateTime<Utc>>> {
    let (due,): (Option<DateTime<Utc>>,) =
        fetch_one!(tx, sqlx::query_as("select min(next_close_at) from subscriptions"))?;
    Ok(due)
}

/// `at`, or the latest instant that the past already speaks of: a clock that was set back changes no
/// segment that has ended.
async fn boundary(tx: &mut Tx, id: &WorkspaceId, at: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let (began, ended): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = fetch_one!(
        tx,
        sqlx::query_as(
            "select max(starts_at), max(ends_at) from subscription_segments where workspace_id = $1"
        )
        .bind(id)
    )?;
    Ok([began, ended].into_iter().flatten().fold(at, DateTime::max))
}

/// Ends the open segment; one that began at that very instant was never in force, and goes.
async fn shut(tx: &mut Tx, id: &WorkspaceId, at: DateTime<Utc>) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "delete from subscription_segments \
             where workspace_id = $1 and ends_at is null and starts_at >= $2"
        )
        .bind(id)
        .bind(at)
    )?;
    execute!(
        tx,
        sqlx::query(
            "update subscription_segments set ends_at = $2 \
             where workspace_id = $1 and ends_at is null"
        )
        .bind(id)
        .bind(at)
    )?;
    Ok(())
}

async fn open(
    tx: &mut Tx,
    workspace: &Workspace,
    at: DateTime<Utc>,
    trial_until: Option<DateTime<Utc>>,
) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into subscription_segments \
             (workspace_id, starts_at, plan, version, overrides, trial_until) \
             values ($1, $2, $3, $4, $5, $6)"
        )
        .bind(&workspace.id)
        .bind(at)
        .bind(workspace.plan)
        .bind(workspace.plan_version)
        .bind(&workspace.limits)
        .bind(trial_until.filter(|until| *until > at))
    )?;
    Ok(())
}
