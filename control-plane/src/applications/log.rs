//! An application's log, for its owner: lines about its life, written in the transaction of what
//! they tell, and lines about requests, which proxies ship. Bounded by age and by number. No line
//! holds a secret, a query or a body: who writes one sees to that.

use std::collections::BTreeSet;

use authsome_shared::id::{ApplicationId, LogId};
use authsome_shared::log::{Level, LogBatch, LogLine, MAX_BATCH_LINES, MAX_MESSAGE};
use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};
use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;

use crate::actor::Access;
use crate::db::{Tx, placeholders};
use crate::error::{Error, Result};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// Lines that are answered at most, and unless said otherwise.
pub const MAX_TAIL: u64 = 1_000;
pub const DEFAULT_TAIL: u64 = 100;

/// Longest fields of a line from a proxy, as JSON.
const MAX_FIELDS_BYTES: usize = 8 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Line {
    pub at: DateTime<Utc>,
    pub level: Level,
    pub message: String,
    pub fields: Json<Map<String, Value>>,
}

/// Which lines.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Not older than this.
    pub since: Option<DateTime<Utc>>,
    /// Of exactly this level.
    pub level: Option<Level>,
    /// The newest so many, cut to [`MAX_TAIL`].
    pub tail: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// Lines that match, whether answered or not.
    pub total: i64,
}

/// Writes a line, at this transaction's time. `fields` is an object.
pub async fn write(
    tx: &mut Tx,
    application: &ApplicationId,
    level: Level,
    message: &str,
    fields: Value,
) -> Result<()> {
    let Value::Object(fields) = fields else {
        return Err(Error::internal(anyhow::anyhow!("a log line's fields are an object")));
    };
    let line = Line { at: tx.now(), level, message: clean(message), fields: Json(fields) };
    insert(tx, application, LogId::new().as_str(), &line).await
}

async fn insert(tx: &mut Tx, application: &ApplicationId, id: &str, line: &Line) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into application_logs (application_id, at, id, level, message, fields) \
             values ($1, $2, $3, $4, $5, $6) on conflict (application_id, at, id) do nothing"
        )
        .bind(application)
        .bind(line.at)
        .bind(id)
        .bind(line.level)
        .bind(&line.message)
        .bind(&line.fields)
    )?;
    Ok(())
}

/// A message in one line of bounded length, without what a database can't hold.
fn clean(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect()
}

/// The newest lines that match, oldest first.
pub async fn read(
    tx: &mut Tx,
    _access: &Access,
    application: &ApplicationId,
    wanted: Wanted,
) -> Result<Found> {
    const WHERE: &str = "application_id = $1 and at >= $2 \
         and (cast($3 as text) is null or level = $3)";
    let since = wanted.since.unwrap_or(DateTime::UNIX_EPOCH);
    // Later than what databases can keep is later than every line.
    let since = since.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(since);
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(AssertSqlSafe(format!(
            "select count(*) from application_logs where {WHERE}"
        )))
        .bind(application)
        .bind(since)
        .bind(wanted.level)
    )?;
    let mut lines: Vec<Line> = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(format!(
            "select at, level, message, fields from application_logs where {WHERE} \
             order by at desc, id desc limit $4"
        )))
        .bind(application)
        .bind(since)
        .bind(wanted.level)
        .bind(wanted.tail.min(MAX_TAIL).cast_signed())
    )?;
    lines.reverse();
    Ok(Found { lines, total })
}

/// Stores what a proxy ships. Lines of applications that are gone are dropped.
pub async fn take(tx: &mut Tx, batch: &LogBatch) -> Result<()> {
    let bad = |field: String, message: &str| Error::invalid(field, "invalid_value", message);
    if batch.id.as_str().parse::<LogId>().is_err() {
        return Err(bad("id".into(), "`id` must be a log's id"));
    }
    if batch.lines.len() > MAX_BATCH_LINES {
        return Err(bad("lines".into(), "there are too many lines"));
    }
    let mut lines = Vec::with_capacity(batch.lines.len());
    for (n, line) in batch.lines.iter().enumerate() {
        let read = checked(line).map_err(|message| bad(format!("lines[{n}]"), message))?;
        lines.push((&line.application, format!("{}_{n:03}", batch.id), read));
    }
    let ids: BTreeSet<&ApplicationId> = lines.iter().map(|(id, ..)| *id).collect();
    let known = known(tx, &ids).await?;
    for (application, id, line) in &lines {
        if known.contains(*application) {
            insert(tx, application, id, line).await?;
        }
    }
    Ok(())
}

/// What no proxy of ours writes, and no database could store.
fn checked(line: &LogLine) -> Result<Line, &'static str> {
    if line.application.as_str().parse::<ApplicationId>().is_err() {
        return Err("its application is none");
    }
    let at = DateTime::from_timestamp_micros(line.at)
        .filter(|at| (1970..=9999).contains(&at.year()))
        .ok_or("its time is none")?;
    let text = serde_json::to_string(&line.fields).map_err(|_| "its fields are not JSON")?;
    if text.len() > MAX_FIELDS_BYTES || text.contains("\\u0000") {
        return Err("its fields are too long, or no text");
    }
    let fields = Json(line.fields.clone());
    Ok(Line { at, level: line.level, message: clean(&line.message), fields })
}

async fn known(tx: &mut Tx, ids: &BTreeSet<&ApplicationId>) -> Result<BTreeSet<ApplicationId>> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = format!("select id from applications where id in ({})", placeholders(1, ids.len()));
    let rows: Vec<(ApplicationId,)> = fetch_all!(tx, {
        let mut query = sqlx::query_as(AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(*id);
        }
        query
    })?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Removes every line of an application.
pub(super) async fn forget(tx: &mut Tx, application: &ApplicationId) -> Result<()> {
    execute!(
        tx,
        sqlx::query("delete from application_logs where application_id = $1").bind(application)
    )?;
    Ok(())
}

/// Removes up to `limit` lines from before `before`; answers how many.
pub async fn prune_old(tx: &mut Tx, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    Ok(execute!(
        tx,
        sqlx::query(
            "delete from application_logs where (application_id, at, id) in \
             (select application_id, at, id from application_logs where at < $1 limit $2)"
        )
        .bind(before)
        .bind(limit)
    )?)
}

/// An application, and a level of which it has too many lines.
pub type Excess = (ApplicationId, Level);

/// Where there are more than `most` lines of one level.
pub async fn excesses(tx: &mut Tx, most: i64) -> Result<Vec<Excess>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select application_id, level from application_logs group by application_id, level \
             having count(*) > $1"
        )
        .bind(most)
    )?)
}

/// Removes up to `limit` of the oldest lines that are over the newest `most`; answers how many.
pub async fn prune_excess(
    tx: &mut Tx,
    (application, level): &Excess,
    most: i64,
    limit: i64,
) -> Result<u64> {
    let oldest_kept: Option<(DateTime<Utc>, String)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select at, id from application_logs where application_id = $1 and level = $2 \
             order by at desc, id desc limit 1 offset $3"
        )
        .bind(application)
        .bind(level)
        .bind(most - 1)
    )?;
    let Some((at, id)) = oldest_kept else { return Ok(0) };
    Ok(execute!(
        tx,
        sqlx::query(
            "delete from application_logs where (application_id, at, id) in \
             (select application_id, at, id from application_logs \
              where application_id = $1 and level = $2 and (at, id) < ($3, $4) limit $5)"
        )
        .bind(application)
        .bind(level)
        .bind(at)
        .bind(id)
        .bind(limit)
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(clean("a\nb\u{0}c"), "a b c");
        assert_eq!(clean(&"é".repeat(5_000)).chars().count(), MAX_MESSAGE);
    }
}
