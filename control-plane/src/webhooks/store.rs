//! The webhooks' SQL, but for their deliveries.

use authsome_shared::id::{ApplicationId, WebhookId};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{MAX_SECRETS, Webhook};
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

pub async fn insert(tx: &mut Tx, webhook: &Webhook) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into webhooks (id, application_id, workspace_id, url, events, description, \
             enabled, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $8)"
        )
        .bind(&webhook.id)
        .bind(&webhook.application_id)
        .bind(&webhook.workspace_id)
        .bind(&webhook.url)
        .bind(webhook.events.to_text())
        .bind(&webhook.description)
        .bind(webhook.enabled)
        .bind(webhook.created_at)
    )?;
    Ok(())
}

pub async fn count(tx: &mut Tx, application: &ApplicationId) -> Result<i64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from webhooks where application_id = $1").bind(application)
    )?;
    Ok(count)
}

pub async fn list(
    tx: &mut Tx,
    application: &ApplicationId,
    page: PageParams,
) -> Result<Page<Webhook>> {
    let total = count(tx, application).await?;
    let webhooks = fetch_all!(
        tx,
        sqlx::query_as(
            "select * from webhooks where application_id = $1 order by id limit $2 offset $3"
        )
        .bind(application)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(webhooks, total))
}

/// Held against a parallel change, and against its deliveries being concluded, until a writing
/// transaction ends.
pub async fn get(
    tx: &mut Tx,
    application: &ApplicationId,
    id: &WebhookId,
) -> Result<Option<Webhook>> {
    let select =
        format!("select * from webhooks where application_id = $1 and id = $2{}", tx.for_update());
    Ok(fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(application).bind(id))?)
}

/// As [`get`], whoever's it is.
pub async fn by_id(tx: &mut Tx, id: &WebhookId) -> Result<Option<Webhook>> {
    let select = format!("select * from webhooks where id = $1{}", tx.for_update());
    Ok(fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(id))?)
}

pub async fn update(tx: &mut Tx, webhook: &Webhook) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "update webhooks set url = $1, events = $2, description = $3, enabled = $4, \
             disabled_reason = $5, failing_since = $6, updated_at = $7 where id = $8"
        )
        .bind(&webhook.url)
        .bind(webhook.events.to_text())
        .bind(&webhook.description)
        .bind(webhook.enabled)
        .bind(&webhook.disabled_reason)
        .bind(webhook.failing_since)
        .bind(webhook.updated_at)
        .bind(&webhook.id)
    )?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, id: &WebhookId) -> Result<()> {
    execute!(tx, sqlx::query("delete from webhooks where id = $1").bind(id))?;
    Ok(())
}

/// Adds the secret that is the newest from now on.
pub async fn add_secret(tx: &mut Tx, id: &WebhookId, sealed: &str) -> Result<()> {
    let (number,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(max(number), 0) as bigint) from webhook_secrets \
             where webhook_id = $1"
        )
        .bind(id)
    )?;
    execute!(
        tx,
        sqlx::query("insert into webhook_secrets (webhook_id, number, sealed) values ($1, $2, $3)")
            .bind(id)
            .bind(number + 1)
            .bind(sealed)
    )?;
    Ok(())
}

/// Lets all secrets end by `end`, and forgets those that have.
pub async fn end_secrets(tx: &mut Tx, id: &WebhookId, end: DateTime<Utc>) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "update webhook_secrets set expires_at = $1 \
             where webhook_id = $2 and (expires_at is null or expires_at > $1)"
        )
        .bind(end)
        .bind(id)
    )?;
    let now = tx.now();
    // The newest stays, so that numbers go on rising from it; it signs no more.
    execute!(
        tx,
        sqlx::query(
            "delete from webhook_secrets where webhook_id = $1 and expires_at <= $2 and number < \
             (select max(number) from webhook_secrets where webhook_id = $1)"
        )
        .bind(id)
        .bind(now)
    )?;
    Ok(())
}

/// The sealed secrets that sign now, newest first.
pub async fn secrets(tx: &mut Tx, id: &WebhookId) -> Result<Vec<String>> {
    let now = tx.now();
    let rows: Vec<(String,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select sealed from webhook_secrets where webhook_id = $1 \
             and (expires_at is null or expires_at > $2) order by number desc limit $3"
        )
        .bind(id)
        .bind(now)
        .bind(i64::try_from(MAX_SECRETS).unwrap_or(i64::MAX))
    )?;
    Ok(rows.into_iter().map(|(sealed,)| sealed).collect())
}
