//! The jobs' table: enqueue, claim, finish, try again later.

use authsome_shared::id::JobId;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

use super::Job;
use crate::db::{Topic, Tx};
use crate::{execute, fetch_one, fetch_optional};

/// A claimed job belongs to its claimer for this long.
const LEASE: TimeDelta = TimeDelta::seconds(120);

/// A claimed job.
#[derive(Debug, sqlx::FromRow)]
pub struct Claimed {
    pub id: JobId,
    pub payload: Json<Job>,
    /// Attempts before this one.
    pub attempts: i64,
}

/// Adds a job to be run once the transaction has committed.
pub async fn enqueue(tx: &mut Tx, job: &Job) -> sqlx::Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into jobs (id, kind, payload, run_at, attempts, created_at) \
             values ($1, $2, $3, $4, 0, $4)"
        )
        .bind(JobId::new())
        .bind(job.kind())
        .bind(Json(job))
        .bind(now)
    )?;
    tx.wake(Topic::Jobs);
    Ok(())
}

/// Takes one job that is due and that nobody holds.
pub async fn claim(tx: &mut Tx) -> sqlx::Result<Option<Claimed>> {
    let now = tx.now();
    // The lease condition stands in the outer `where` too: on PostgreSQL the inner select may see
    // a row that another claimer has just taken.
    fetch_optional!(
        tx,
        sqlx::query_as(
            "update jobs set leased_until = $2 where id = \
               (select id from jobs where run_at <= $1 \
                and (leased_until is null or leased_until < $1) order by run_at, id limit 1) \
             and (leased_until is null or leased_until < $1) \
             returning id, payload, attempts"
        )
        .bind(now)
        .bind(now + LEASE)
    )
}

/// When the next job is due, by run time or by the end of a lost claim.
pub async fn next_due(tx: &mut Tx) -> sqlx::Result<Option<DateTime<Utc>>> {
    let (due,): (Option<DateTime<Utc>>,) =
        fetch_one!(tx, sqlx::query_as("select min(coalesce(leased_until, run_at)) from jobs"))?;
    Ok(due)
}

pub async fn finish(tx: &mut Tx, id: &JobId) -> sqlx::Result<()> {
    execute!(tx, sqlx::query("delete from jobs where id = $1").bind(id))?;
    Ok(())
}

/// Gives the job back, to be tried again after a pause.
pub async fn retry_after(
    tx: &mut Tx,
    id: &JobId,
    pause: TimeDelta,
    error: &str,
) -> sqlx::Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update jobs set attempts = attempts + 1, run_at = $1, leased_until = null, \
             last_error = $2 where id = $3"
        )
        .bind(now + pause)
        .bind(error)
        .bind(id)
    )?;
    tx.wake(Topic::Jobs);
    Ok(())
}
