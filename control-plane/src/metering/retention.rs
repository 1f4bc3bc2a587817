//! What becomes of usage as it grows old: usage by route and minute is added up to hours, and
//! series that nobody can ask for any more are removed. Totals, which are billed, are not touched.
//!
//! Each call does one batch in the caller's transaction: a row leaves the minutes in the same
//! transaction that adds it to its hour, so that a crash, a second run or a second replica changes
//! no sum; a record that comes late is moved by the next run.

use authsome_shared::id::{ApplicationId, WorkspaceId};
use chrono::{DateTime, Utc};

use super::routes::{self, HOURS, Routes};
use super::series::Step;
use super::totals::Increment;
use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_all};

#[derive(sqlx::FromRow)]
struct Row {
    application_id: ApplicationId,
    minute: DateTime<Utc>,
    route: String,
    workspace_id: WorkspaceId,
    #[sqlx(flatten)]
    usage: Increment,
}

/// Adds up to `limit` minutes from before `before` to their hours; answers how many.
pub async fn compact(tx: &mut Tx, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let rows: Vec<Row> = fetch_all!(
        tx,
        sqlx::query_as(
            "delete from usage_minutes where (application_id, minute, route) in \
             (select application_id, minute, route from usage_minutes where minute < $1 \
              order by minute limit $2) \
             returning application_id, minute, route, workspace_id, requests, units, errors, \
             bytes_in, bytes_out"
        )
        .bind(before)
        .bind(limit)
    )?;
    let mut hours = Routes::new();
    for row in &rows {
        let hour = Step::Hour.start_of(row.minute);
        let key = (row.application_id.as_str(), hour, row.route.as_str());
        let sum = hours.entry(key).or_insert((row.workspace_id.as_str(), Increment::default()));
        sum.1.add(row.usage);
    }
    routes::add(tx, HOURS, &hours).await?;
    Ok(rows.len() as u64)
}

/// Removes up to `limit` steps from before `before`; answers how many.
pub async fn prune_series(
    tx: &mut Tx,
    step: Step,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64> {
    Ok(execute!(
        tx,
        sqlx::query(
            "delete from usage_series where (application_id, step_seconds, starts_at) in \
             (select application_id, step_seconds, starts_at from usage_series \
              where step_seconds = $1 and starts_at < $2 limit $3)"
        )
        .bind(step.seconds())
        .bind(before)
        .bind(limit)
    )?)
}

/// The same of hours by key and route.
pub async fn prune_hours(tx: &mut Tx, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    Ok(execute!(
        tx,
        sqlx::query(
            "delete from usage_hours where (application_id, hour, route) in \
             (select application_id, hour, route from usage_hours \
              where hour < $1 limit $2)"
        )
        .bind(before)
        .bind(limit)
    )?)
}
