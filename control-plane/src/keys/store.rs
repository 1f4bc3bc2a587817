//! The keys' SQL. A key *stands* while it is not revoked, expired or not.

use std::collections::{BTreeMap, HashMap, HashSet};

use authsome_shared::api_key::KeyType;
use authsome_shared::id::{ApplicationId, KeyId, WorkspaceId};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;

use super::Key;
use crate::db::rows::{Column, Rows};
use crate::db::{Tx, placeholders};
use crate::error::{Error, Result};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// How many keys of a workspace's applications are not revoked, but for deleted applications'.
pub async fn count(tx: &mut Tx, workspace: &WorkspaceId) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(standing), 0) as bigint) from key_counts \
             join applications on applications.id = key_counts.application_id \
             where applications.workspace_id = $1 and applications.status <> 'deleted'"
        )
        .bind(workspace)
    )?;
    Ok(count.unsigned_abs())
}

/// Notes that an application has so many standing keys more. Do this late in a transaction: others
/// that make or revoke keys of the application wait from here on.
pub async fn note_more(tx: &mut Tx, application: &ApplicationId, more: i64) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into key_counts (application_id, standing) values ($1, $2) \
             on conflict (application_id) \
             do update set standing = key_counts.standing + excluded.standing"
        )
        .bind(application)
        .bind(more)
    )?;
    Ok(())
}

pub async fn insert(tx: &mut Tx, key: &Key) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into keys (id, application_id, name, type, digest, display, settings, \
             bucket_id, replaces, created_by, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        )
        .bind(&key.id)
        .bind(&key.application_id)
        .bind(&key.name)
        .bind(key.key_type)
        .bind(&key.digest)
        .bind(&key.display)
        .bind(&key.settings)
        .bind(&key.bucket_id)
        .bind(&key.replaces)
        .bind(&key.created_by)
        .bind(key.created_at)
        .bind(key.expires_at)
    )?;
    Ok(())
}

/// A page of the standing keys, oldest first, read from the end that is nearer to it: what is passed
/// over is passed over in the index.
pub async fn list(tx: &mut Tx, application: &ApplicationId, page: PageParams) -> Result<Page<Key>> {
    let count: Option<(i64,)> = fetch_optional!(
        tx,
        sqlx::query_as("select standing from key_counts where application_id = $1")
            .bind(application)
    )?;
    let total = count.map_or(0, |(standing,)| standing);
    let from = page.offset().min(total);
    let until = (from + page.limit()).min(total);
    let (order, offset) =
        if from <= total - until { ("asc", from) } else { ("desc", total - until) };
    let select = format!(
        "select * from keys where id in \
         (select id from keys where application_id = $1 and revoked_at is null \
          order by created_at {order}, id {order} limit $2 offset $3) order by created_at, id"
    );
    let keys = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(select)).bind(application).bind(until - from).bind(offset)
    )?;
    Ok(page.of(keys, total))
}

/// A standing key, held against a parallel change until the transaction ends.
pub async fn standing(tx: &mut Tx, application: &ApplicationId, id: &KeyId) -> Result<Key> {
    let select = format!(
        "select * from keys where application_id = $1 and id = $2 and revoked_at is null{}",
        tx.for_update()
    );
    let key =
        fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(application).bind(id))?;
    key.ok_or(Error::NotFound("key"))
}

pub async fn standing_of(tx: &mut Tx, application: &ApplicationId) -> Result<Vec<Key>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select * from keys where application_id = $1 and revoked_at is null order by id"
        )
        .bind(application)
    )?)
}

/// Standing and not expired keys of applications that are not deleted.
pub async fn all_standing(tx: &mut Tx) -> Result<Vec<Key>> {
    let now = tx.now();
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select keys.* from keys join applications on applications.id = keys.application_id \
             where keys.revoked_at is null and (keys.expires_at is null or keys.expires_at > $1) \
             and applications.status <> 'deleted' order by keys.id"
        )
        .bind(now)
    )?)
}

/// Stores when a key ends.
pub async fn end(tx: &mut Tx, key: &Key) -> Result<()> {
    execute!(
        tx,
        sqlx::query("update keys set expires_at = $1, revoked_at = $2 where id = $3")
            .bind(key.expires_at)
            .bind(key.revoked_at)
            .bind(&key.id)
    )?;
    Ok(())
}

/// The oldest standing public key of each application that has one.
pub async fn public_keys_of(
    tx: &mut Tx,
    applications: &[&ApplicationId],
) -> Result<HashMap<ApplicationId, String>> {
    if applications.is_empty() {
        return Ok(HashMap::new());
    }
    let list = placeholders(2, applications.len());
    let sql = format!(
        "select application_id, display from keys where type = $1 and revoked_at is null \
         and application_id in ({list}) order by created_at desc, id desc"
    );
    let rows: Vec<(ApplicationId, String)> = fetch_all!(
        tx,
        applications
            .iter()
            .fold(sqlx::query_as(AssertSqlSafe(sql)).bind(KeyType::Public), |query, id| {
                query.bind(*id)
            },)
    )?;
    // Later rows are older ones and win.
    Ok(rows.into_iter().collect())
}

/// Of lines of rotations, each by its first key, those that hold a quota: any of its keys may carry
/// it.
pub async fn lines_with_quota(tx: &mut Tx, lines: Vec<&str>) -> Result<HashSet<String>> {
    let rows: Vec<(String,)> = Rows::new([("line", Column::Text(lines))])
        .fetch_all(
            tx,
            "select distinct bucket_id from {rows} join keys on keys.bucket_id = given.line \
             where (settings ->> 'quota') is not null and revoked_at is null",
        )
        .await?;
    Ok(rows.into_iter().map(|(line,)| line).collect())
}

/// Notes when keys were last used; never moves a time back, and writes none for less than a minute.
pub async fn touch(tx: &mut Tx, used: &BTreeMap<&str, DateTime<Utc>>) -> Result<()> {
    let minute = TimeDelta::minutes(1);
    let rows = Rows::new([
        ("id", Column::Text(used.keys().copied().collect())),
        ("used_at", Column::Time(used.values().copied().collect())),
        ("earlier", Column::Time(used.values().map(|at| *at - minute).collect())),
    ]);
    rows.execute(
        tx,
        "update keys set last_used_at = given.used_at from {rows} where keys.id = given.id \
         and (keys.last_used_at is null or keys.last_used_at < given.earlier)",
    )
    .await?;
    Ok(())
}
