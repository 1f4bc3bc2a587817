//! Tells a workspace that it comes near to what its plan includes: at 80, 90 and 100 % of its
//! request units, monthly active users, storage and meters, each once a month. Judged in the
//! transaction that applies the usage, so that nothing is told twice or not at all; the event goes to
//! webhooks, and one mail for the highest threshold to those who look after the bill.

use std::collections::BTreeSet;

use authsome_shared::id::WorkspaceId;
use serde_json::{Value, json};
use sqlx::types::Json;

use super::meter::{self, Used};
use super::storage;
use super::usage::Period;
use crate::actor::Role;
use crate::db::Tx;
use crate::error::Result;
use crate::events::{self, EventType, Subject};
use crate::jobs::{self, Job};
use crate::workspaces::Limits;
use crate::workspaces::limits::Overrides;
use crate::workspaces::plan::Strictness;
use crate::{execute, fetch_all, fetch_optional};

/// In per cent of what the plan includes, rising.
const PERCENTS: [i64; 3] = [80, 90, 100];

const TOLD_BY_MAIL: [Role; 3] = [Role::Owner, Role::Admin, Role::Billing];

/// What is counted, and what of it is included.
#[derive(Debug, Clone)]
struct Metric {
    /// As events call it.
    name: String,
    /// As a mail calls it.
    what: String,
    /// What becomes of more.
    then: &'static str,
    current: u64,
    /// Nothing: it is not limited.
    limit: u64,
    /// `current` and `limit` count in so many parts of a unit.
    parts: u64,
}

const REFUSED: &str = "Once they are used up, further requests are refused until the next month \
     begins or the plan is changed.";
const CHARGED: &str = "What goes beyond them is charged by the plan's prices, if it has any.";

impl Metric {
    fn whole(name: &str, what: &str, then: &'static str, current: i64, limit: u64) -> Self {
        let current = current.unsigned_abs();
        Self { name: name.into(), what: what.into(), then, current, limit, parts: 1 }
    }

    /// Of a quantity in millionths.
    fn micros(name: String, what: String, current: i64, included: u64) -> Self {
        let limit = included.saturating_mul(MICROS);
        let current = current.max(0).unsigned_abs();
        Self { name, what, then: CHARGED, current, limit, parts: MICROS }
    }

    /// A quantity of it, for people and on the wire; whole where it is.
    fn shown(&self, quantity: u64) -> Value {
        if quantity.is_multiple_of(self.parts) {
            return (quantity / self.parts).into();
        }
        #[expect(clippy::cast_precision_loss, reason = "exact to nine billion units")]
        let (quantity, parts) = (quantity as f64, self.parts as f64);
        (quantity / parts).into()
    }
}

const MICROS: u64 = 1_000_000;

/// A threshold that a month's usage has come to.
#[derive(Debug, Clone, Copy)]
struct Reached<'a> {
    workspace_id: &'a WorkspaceId,
    metric: &'a Metric,
    period: &'a str,
    percent: i64,
}

/// The thresholds that `current` has come to; none of a limit of nothing.
fn reached(current: u64, limit: u64) -> impl Iterator<Item = i64> {
    PERCENTS.into_iter().filter(move |percent| {
        let percent = u128::from(percent.unsigned_abs());
        limit > 0 && u128::from(current) * 100 >= u128::from(limit) * percent
    })
}

/// Adds end users that are new to the workspace's month.
pub async fn add_users(tx: &mut Tx, id: &WorkspaceId, period: &str, users: i64) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into usage_active_users (workspace_id, period, users) values ($1, $2, $3) \
             on conflict (workspace_id, period) \
             do update set users = usage_active_users.users + excluded.users"
        )
        .bind(id)
        .bind(period)
        .bind(users)
    )?;
    Ok(())
}

/// A workspace's month.
#[derive(sqlx::FromRow)]
struct Month {
    name: String,
    limits: Json<Limits>,
    overrides: Json<Overrides>,
    units: i64,
    users: i64,
}

/// The month as it is counted, and what holds; `None` of a workspace that is gone.
async fn month(tx: &mut Tx, id: &WorkspaceId, period: &str) -> Result<Option<(Month, Limits)>> {
    let row: Option<Month> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select workspaces.name, plan_versions.limits, workspaces.limits as overrides, \
             coalesce((select units from usage_totals \
                where subject = workspaces.id and period = $2), 0) as units, \
             coalesce((select users from usage_active_users \
                where workspace_id = workspaces.id and period = $2), 0) as users \
             from workspaces join plan_versions on plan_versions.plan = workspaces.plan \
             and plan_versions.version = workspaces.plan_version where workspaces.id = $1"
        )
        .bind(id)
        .bind(period)
    )?;
    Ok(row.map(|month| {
        let limits = month.limits.0.clone().with(&month.overrides);
        (month, limits)
    }))
}

/// Tells what a workspace's month has newly come to by its requests. Its totals are held since they
/// were added to, so that two batches can't tell the same.
pub async fn check(tx: &mut Tx, id: &WorkspaceId, period: &str) -> Result<()> {
    let Some((month, limits)) = month(tx, id, period).await? else { return Ok(()) };
    let requests = limits.requests_per_month.unwrap_or(0);
    let then = match limits.requests_limit {
        Strictness::Hard => REFUSED,
        Strictness::Soft => CHARGED,
    };
    let metrics = [
        Metric::whole("requests", "requests", then, month.units, requests),
        Metric::whole(
            "mau",
            "monthly active users",
            CHARGED,
            month.users,
            limits.active_users.included,
        ),
    ];
    judge(tx, id, &month.name, period, &metrics).await
}

/// The same of the current month's storage and meters.
pub async fn check_reported(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    let period = Period::containing(tx.now());
    let name = period.to_string();
    let Some((month, limits)) = month(tx, id, &name).await? else { return Ok(()) };
    let stored = storage::of(tx, id, period).await?.gb_months;
    let mut metrics = vec![Metric::micros(
        "storage".into(),
        "GB-months of storage".into(),
        stored,
        limits.storage_gb.included,
    )];
    for Used { meter, value, .. } in meter::used(tx, id, period).await? {
        if let Some(allowance) = limits.meters.get(&meter.name) {
            let (name, what) = (format!("meter_{}", meter.name), meter.label);
            metrics.push(Metric::micros(name, what, value, allowance.included));
        }
    }
    judge(tx, id, &month.name, &name, &metrics).await
}

/// Tells what is new, each threshold once.
async fn judge(
    tx: &mut Tx,
    id: &WorkspaceId,
    name: &str,
    period: &str,
    metrics: &[Metric],
) -> Result<()> {
    if metrics.iter().all(|metric| reached(metric.current, metric.limit).next().is_none()) {
        return Ok(());
    }
    let told: Vec<(String, i64)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select metric, percent from usage_thresholds where workspace_id = $1 and period = $2"
        )
        .bind(id)
        .bind(period)
    )?;
    let told: BTreeSet<(String, i64)> = told.into_iter().collect();
    for metric in metrics {
        let mut highest = None;
        for percent in reached(metric.current, metric.limit) {
            if told.contains(&(metric.name.clone(), percent)) {
                continue;
            }
            let reached = Reached { workspace_id: id, metric, period, percent };
            if tell(tx, &reached).await? {
                highest = Some(reached);
            }
        }
        if let Some(reached) = highest {
            jobs::enqueue(tx, &mail(&reached, name)).await?;
        }
    }
    Ok(())
}

/// Notes the threshold and writes its event; `false` when it was told already.
async fn tell(tx: &mut Tx, reached: &Reached<'_>) -> Result<bool> {
    let Reached { workspace_id, metric, period, percent } = *reached;
    let now = tx.now();
    let noted = execute!(
        tx,
        sqlx::query(
            "insert into usage_thresholds (workspace_id, metric, period, percent, reached_at) \
             values ($1, $2, $3, $4, $5) \
             on conflict (workspace_id, metric, period, percent) do nothing"
        )
        .bind(workspace_id)
        .bind(&metric.name)
        .bind(period)
        .bind(percent)
        .bind(now)
    )?;
    if noted == 0 {
        return Ok(false);
    }
    let threshold = format!("{}_{percent}_percent", metric.name);
    let data = json!({
        "workspaceId": workspace_id, "threshold": threshold,
        "current": metric.shown(metric.current), "limit": metric.shown(metric.limit),
        "period": period,
    });
    events::emit(tx, EventType::UsageThreshold, Subject::Workspace(workspace_id), data).await?;
    Ok(true)
}

/// The mail about a threshold.
fn mail(reached: &Reached<'_>, name: &str) -> Job {
    let name = name.replace(['\r', '\n'], " ");
    let Reached { workspace_id, metric, period, percent } = reached;
    let Metric { what, then, .. } = metric;
    let (current, limit) = (metric.shown(metric.current), metric.shown(metric.limit));
    Job::MailMembers {
        workspace_id: (*workspace_id).clone(),
        roles: TOLD_BY_MAIL.to_vec(),
        subject: format!("{name} has used {percent} % of its {what}"),
        text: format!(
            "The workspace \"{name}\" has used {current} of the {limit} {what} that its plan \
             includes in {period}.\n\n{then}\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_reached_at_their_very_unit() {
        for (current, limit, percents) in [
            (0, 10_000, &[] as &[i64]),
            (7_999, 10_000, &[]),
            (8_000, 10_000, &[80]),
            (9_999, 10_000, &[80, 90]),
            (10_000, 10_000, &[80, 90, 100]),
            (u64::MAX, u64::MAX, &[80, 90, 100]),
            (1, 0, &[]),
            // Four fifths of seven are 5.6.
            (5, 7, &[]),
            (6, 7, &[80]),
        ] {
            assert_eq!(reached(current, limit).collect::<Vec<_>>(), percents, "{current}/{limit}");
        }
    }
}
