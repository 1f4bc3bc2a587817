//! The keys' SQL. A key *stands* while it is not revoked, expired or not.

use std::collections::HashMap;

use authsome_shared::api_key::KeyType;
use authsome_shared::id::{ApplicationId, KeyId, WorkspaceId};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::Key;
use crate::db::{Tx, placeholders};
use crate::error::{Error, Result};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// How many keys of a workspace's applications are not revoked, but for deleted applications'.
pub async fn count(tx: &mut Tx, workspace: &WorkspaceId) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from keys join applications on applications.id = keys.application_id \
             where applications.workspace_id = $1 and applications.status <> 'deleted' \
             and keys.revoked_at is null"
        )
        .bind(workspace)
    )?;
    Ok(count.unsigned_abs())
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

pub async fn list(tx: &mut Tx, application: &ApplicationId, page: PageParams) -> Result<Page<Key>> {
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from keys where application_id = $1 and revoked_at is null"
        )
        .bind(application)
    )?;
    let keys = fetch_all!(
        tx,
        sqlx::query_as(
            "select * from keys where application_id = $1 and revoked_at is null \
             order by created_at, id limit $2 offset $3"
        )
        .bind(application)
        .bind(page.limit())
        .bind(page.offset())
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

/// Notes that keys were used; never moves a time back.
pub async fn touch(tx: &mut Tx, used: &[(KeyId, DateTime<Utc>)]) -> Result<()> {
    for (id, at) in used {
        execute!(
            tx,
            sqlx::query(
                "update keys set last_used_at = $1 \
                 where id = $2 and (last_used_at is null or last_used_at < $1)"
            )
            .bind(at)
            .bind(id)
        )?;
    }
    Ok(())
}
