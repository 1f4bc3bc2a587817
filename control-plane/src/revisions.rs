//! The revision log: every change to what a proxy must know, appended in the transaction that makes
//! it. Revisions are consecutive and commit in their order, because taking the next one locks the
//! platform's row until the commit. Bringing them to the proxies is for `distribution`.

use authsome_shared::snapshot::Change;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::db::{Topic, Tx};
use crate::{execute, fetch_all, fetch_one};

#[derive(Debug, Serialize, Deserialize)]
struct Entry<C> {
    changes: Vec<C>,
}

/// Appends the changes as one revision and returns its number. Do this late in a transaction:
/// other writers of configuration wait from here on.
pub async fn append(tx: &mut Tx, changes: Vec<Change>) -> sqlx::Result<i64> {
    let (revision,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("update platform set revision = revision + 1 returning revision")
    )?;
    let now = tx.now();
    execute!(
        tx,
        sqlx::query("insert into revisions (revision, changes, created_at) values ($1, $2, $3)")
            .bind(revision)
            .bind(Json(Entry { changes }))
            .bind(now)
    )?;
    tx.wake(Topic::Revisions);
    Ok(revision)
}

/// One revision as stored.
#[derive(Debug)]
pub struct Revision {
    pub revision: i64,
    pub changes: Vec<serde_json::Value>,
}

/// Up to `limit` revisions after `after`, in order.
pub async fn after(tx: &mut Tx, after: i64, limit: i64) -> sqlx::Result<Vec<Revision>> {
    let rows: Vec<(i64, Json<Entry<serde_json::Value>>)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select revision, changes from revisions where revision > $1 order by revision limit $2"
        )
        .bind(after)
        .bind(limit)
    )?;
    Ok(rows
        .into_iter()
        .map(|(revision, Json(entry))| Revision { revision, changes: entry.changes })
        .collect())
}

/// The oldest revision still in the log; `None` when it is empty.
pub async fn oldest(tx: &mut Tx) -> sqlx::Result<Option<i64>> {
    let (oldest,): (Option<i64>,) =
        fetch_one!(tx, sqlx::query_as("select min(revision) from revisions"))?;
    Ok(oldest)
}

/// Forgets revisions made before `before`, but for the newest.
pub async fn prune(tx: &mut Tx, before: chrono::DateTime<chrono::Utc>) -> sqlx::Result<u64> {
    execute!(
        tx,
        sqlx::query(
            "delete from revisions where created_at < $1 \
             and revision < (select revision from platform)"
        )
        .bind(before)
    )
}
