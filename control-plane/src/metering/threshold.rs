//! Tells a workspace that it comes near to what its plan includes: at 80, 90 and 100 % of its
//! request units and of its monthly active users, each once a month. Judged in the transaction that
//! applies the usage, so that nothing is told twice or not at all; the event goes to webhooks, and
//! one mail for the highest threshold to those who look after the bill.

use std::collections::BTreeSet;

use authsome_shared::id::WorkspaceId;
use serde_json::json;
use sqlx::types::Json;

use crate::actor::Role;
use crate::db::Tx;
use crate::error::Result;
use crate::events::{self, EventType, Subject};
use crate::jobs::{self, Job};
use crate::workspaces::Limits;
use crate::workspaces::limits::Overrides;
use crate::{execute, fetch_all, fetch_optional};

/// In per cent of what the plan includes, rising.
const PERCENTS: [i64; 3] = [80, 90, 100];

const TOLD_BY_MAIL: [Role; 3] = [Role::Owner, Role::Admin, Role::Billing];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Requests,
    Mau,
}

impl Metric {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Mau => "mau",
        }
    }
}

/// A threshold that a month's usage has come to.
#[derive(Debug, Clone, Copy)]
struct Reached<'a> {
    workspace_id: &'a WorkspaceId,
    metric: Metric,
    period: &'a str,
    percent: i64,
    current: u64,
    limit: u64,
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

/// Is an end user whom one application has just met for the first time in a month new to the
/// workspace too?
pub async fn is_new_user(tx: &mut Tx, id: &WorkspaceId, period: &str, user: &str) -> Result<bool> {
    let known: Vec<(String,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select application_id from usage_users \
             where workspace_id = $1 and period = $2 and end_user = $3 limit 2"
        )
        .bind(id)
        .bind(period)
        .bind(user)
    )?;
    Ok(known.len() < 2)
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

/// Tells what a workspace's month has newly come to. Its totals are held since they were added to,
/// so that two batches can't tell the same.
pub async fn check(tx: &mut Tx, id: &WorkspaceId, period: &str) -> Result<()> {
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
    // Usage of a workspace that is gone.
    let Some(Month { name, limits, overrides, units, users }) = row else { return Ok(()) };
    let limits = limits.0.with(&overrides);
    let included = [
        (Metric::Requests, units.unsigned_abs(), limits.requests_per_month.unwrap_or(0)),
        (Metric::Mau, users.unsigned_abs(), limits.active_users.included),
    ];
    if included.iter().all(|(_, current, limit)| reached(*current, *limit).next().is_none()) {
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
    for (metric, current, limit) in included {
        let mut highest = None;
        for percent in reached(current, limit) {
            if told.contains(&(metric.as_str().to_owned(), percent)) {
                continue;
            }
            let reached = Reached { workspace_id: id, metric, period, percent, current, limit };
            if tell(tx, &reached).await? {
                highest = Some(reached);
            }
        }
        if let Some(reached) = highest {
            jobs::enqueue(tx, &mail(&reached, &name)).await?;
        }
    }
    Ok(())
}

/// Notes the threshold and writes its event; `false` when it was told already.
async fn tell(tx: &mut Tx, reached: &Reached<'_>) -> Result<bool> {
    let Reached { workspace_id, metric, period, percent, current, limit } = *reached;
    let now = tx.now();
    let noted = execute!(
        tx,
        sqlx::query(
            "insert into usage_thresholds (workspace_id, metric, period, percent, reached_at) \
             values ($1, $2, $3, $4, $5) \
             on conflict (workspace_id, metric, period, percent) do nothing"
        )
        .bind(workspace_id)
        .bind(metric.as_str())
        .bind(period)
        .bind(percent)
        .bind(now)
    )?;
    if noted == 0 {
        return Ok(false);
    }
    let threshold = format!("{}_{percent}_percent", metric.as_str());
    let data = json!({
        "workspaceId": workspace_id, "threshold": threshold, "current": current, "limit": limit,
        "period": period,
    });
    events::emit(tx, EventType::UsageThreshold, Subject::Workspace(workspace_id), data).await?;
    Ok(true)
}

/// The mail about a threshold.
fn mail(reached: &Reached<'_>, name: &str) -> Job {
    let name = name.replace(['\r', '\n'], " ");
    let Reached { workspace_id, metric, period, percent, current, limit } = reached;
    let (what, then) = match metric {
        Metric::Requests => (
            "requests",
            "Once they are used up, further requests are refused until the next month begins or \
             the plan is changed.",
        ),
        Metric::Mau => (
            "monthly active users",
            "What goes beyond them is charged by the plan's prices, if it has any.",
        ),
    };
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
