//! The queue of deliveries, apart from `jobs`: each webhook has a line of its own, and knows when
//! the first in it is due (`webhooks.due_at`), so that finding what is due costs the same however
//! long anybody's line is.
//!
//! A claim moves a delivery's `due_at` to the claim's end: after a crash it falls due by itself.
//! Whoever changes `due_at` holds the webhook's row from before.

use std::collections::BTreeSet;

use authsome_shared::id::{DeliveryId, EventId, WebhookId, WorkspaceId};
use authsome_shared::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;

use super::delivery::{Delivery, Status};
use super::{Webhook, secret, store};
use crate::app::App;
use crate::db::{Topic, Tx, placeholders};
use crate::error::{Error, Result};
use crate::{events, execute, fetch_all, fetch_one, fetch_optional};

/// Events that are taken at once.
const BATCH: i64 = 100;

/// Makes the deliveries of events that have none yet; answers how many events those were.
pub async fn fan_out(tx: &mut Tx) -> Result<usize> {
    let taken = events::take(tx, BATCH).await?;
    // In one order, so that replicas that do this at once can't wait for each other in a ring.
    let mut woken = BTreeSet::new();
    for event in &taken {
        let webhooks: Vec<Webhook> = match &event.application_id {
            Some(application) => fetch_all!(
                tx,
                sqlx::query_as("select * from webhooks where application_id = $1 and enabled")
                    .bind(application)
            )?,
            None => fetch_all!(
                tx,
                sqlx::query_as(
                    "select webhooks.* from webhooks \
                     join applications on applications.id = webhooks.application_id \
                     where webhooks.workspace_id = $1 and webhooks.enabled \
                     and applications.status <> 'deleted'"
                )
                .bind(&event.workspace_id)
            )?,
        };
        for webhook in webhooks.iter().filter(|it| it.events.matches(&event.kind)) {
            insert(tx, &webhook.id, &event.id, &event.kind, None).await?;
            woken.insert(webhook.id.clone());
        }
    }
    for webhook in &woken {
        fall_due(tx, webhook).await?;
    }
    Ok(taken.len())
}

/// Makes one delivery.
pub async fn enqueue(
    tx: &mut Tx,
    webhook: &WebhookId,
    event: &EventId,
    kind: &str,
    replay_of: Option<&DeliveryId>,
) -> Result<Delivery> {
    let id = insert(tx, webhook, event, kind, replay_of).await?;
    fall_due(tx, webhook).await?;
    let select = "select * from webhook_deliveries where id = $1";
    Ok(fetch_one!(tx, sqlx::query_as(select).bind(&id))?)
}

async fn insert(
    tx: &mut Tx,
    webhook: &WebhookId,
    event: &EventId,
    kind: &str,
    replay_of: Option<&DeliveryId>,
) -> Result<DeliveryId> {
    let id = DeliveryId::new();
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into webhook_deliveries (id, webhook_id, event_id, event_type, status, \
             attempts, due_at, replay_of, created_at) values ($1, $2, $3, $4, $5, 0, $6, $7, $6)"
        )
        .bind(&id)
        .bind(webhook)
        .bind(event)
        .bind(kind)
        .bind(Status::Pending)
        .bind(now)
        .bind(replay_of)
    )?;
    Ok(id)
}

async fn fall_due(tx: &mut Tx, webhook: &WebhookId) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update webhooks set due_at = $1 where id = $2 and (due_at is null or due_at > $1)"
        )
        .bind(now)
        .bind(webhook)
    )?;
    tx.wake(Topic::Events);
    Ok(())
}

/// Brings the webhook's `due_at` up to date with its deliveries'. Its row is held already, so that
/// this statement sees what everybody else has made of them.
async fn settle(tx: &mut Tx, webhook: &WebhookId) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "update webhooks set due_at = (select min(due_at) from webhook_deliveries \
             where webhook_id = $1 and due_at is not null) where id = $1"
        )
        .bind(webhook)
    )?;
    Ok(())
}

/// A webhook with something due.
#[derive(Debug, sqlx::FromRow)]
pub struct Due {
    pub id: WebhookId,
    pub workspace_id: WorkspaceId,
    pub failing: bool,
}

/// Who has no place left just now.
#[derive(Debug, Default)]
pub struct Full {
    pub webhooks: Vec<WebhookId>,
    pub workspaces: Vec<WorkspaceId>,
    /// Workspaces in which only webhooks that don't fail may be served.
    pub failing_in: Vec<WorkspaceId>,
    /// No more failing webhooks, whosever they are.
    pub failing: bool,
}

/// Webhooks with something due, but for those without a place, longest due first.
pub async fn due(tx: &mut Tx, full: &Full, limit: usize) -> Result<Vec<Due>> {
    let mut conditions = vec!["due_at <= $1 and enabled".to_owned()];
    let mut next = 2;
    let mut list = |count: usize| {
        let list = placeholders(next, count);
        next += count;
        list
    };
    if !full.webhooks.is_empty() {
        conditions.push(format!("id not in ({})", list(full.webhooks.len())));
    }
    if !full.workspaces.is_empty() {
        conditions.push(format!("workspace_id not in ({})", list(full.workspaces.len())));
    }
    if !full.failing_in.is_empty() {
        let list = list(full.failing_in.len());
        conditions.push(format!("(failing_since is null or workspace_id not in ({list}))"));
    }
    if full.failing {
        conditions.push("failing_since is null".to_owned());
    }
    let sql = format!(
        "select id, workspace_id, failing_since is not null as failing from webhooks where {} \
         order by due_at, id limit {limit}",
        conditions.join(" and ")
    );
    let now = tx.now();
    let ids = full.webhooks.iter().map(AsRef::<str>::as_ref);
    let workspaces = full.workspaces.iter().chain(&full.failing_in).map(AsRef::<str>::as_ref);
    let bound: Vec<&str> = ids.chain(workspaces).collect();
    Ok(fetch_all!(
        tx,
        bound
            .iter()
            .fold(sqlx::query_as(AssertSqlSafe(sql)).bind(now), |query, id| query.bind(*id))
    )?)
}

/// When something falls due next; what is due already does not count.
pub async fn next_due(tx: &mut Tx) -> Result<Option<DateTime<Utc>>> {
    let now = tx.now();
    let (due,): (Option<DateTime<Utc>>,) = fetch_one!(
        tx,
        sqlx::query_as("select min(due_at) from webhooks where due_at > $1 and enabled").bind(now)
    )?;
    Ok(due)
}

/// A delivery to be tried by whoever claimed it.
#[derive(Debug)]
pub struct Claimed {
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub event: EventId,
    pub url: String,
    pub body: String,
    /// Newest first.
    pub secrets: Vec<Secret<String>>,
}

/// Takes up to `limit` deliveries of a webhook that are due. They fall due again after `lease`.
pub async fn claim(
    tx: &mut Tx,
    app: &App,
    id: &WebhookId,
    limit: usize,
    lease: TimeDelta,
) -> Result<Vec<Claimed>> {
    let Some(webhook) = store::by_id(tx, id).await? else { return Ok(vec![]) };
    if !webhook.enabled {
        return Ok(vec![]);
    }
    let now = tx.now();
    let rows: Vec<(DeliveryId, EventId, String)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select webhook_deliveries.id, events.id, events.body from webhook_deliveries \
             join events on events.id = webhook_deliveries.event_id \
             where webhook_deliveries.webhook_id = $1 and webhook_deliveries.due_at <= $2 \
             order by webhook_deliveries.due_at, webhook_deliveries.id limit $3"
        )
        .bind(id)
        .bind(now)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    )?;
    let mut secrets = vec![];
    for sealed in store::secrets(tx, id).await? {
        secrets.push(secret::open(&app.sealer, id, &sealed).map_err(Error::internal)?);
    }
    let mut claimed = vec![];
    for (delivery, event, body) in rows {
        let sql = "update webhook_deliveries set due_at = $1 where id = $2";
        execute!(tx, sqlx::query(sql).bind(now + lease).bind(&delivery))?;
        claimed.push(Claimed {
            id: delivery,
            webhook: id.clone(),
            event,
            url: webhook.url.clone(),
            body,
            secrets: secrets.clone(),
        });
    }
    settle(tx, id).await?;
    Ok(claimed)
}

/// Gives a claim back as if it had never been made.
pub async fn give_back(tx: &mut Tx, claimed: &Claimed) -> Result<()> {
    if store::by_id(tx, &claimed.webhook).await?.is_none() {
        return Ok(());
    }
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update webhook_deliveries set due_at = $1 where id = $2 and due_at is not null"
        )
        .bind(now)
        .bind(&claimed.id)
    )?;
    settle(tx, &claimed.webhook).await?;
    tx.wake(Topic::Events);
    Ok(())
}

/// A delivery that is under way, its webhook's row held.
pub async fn attempts_before(tx: &mut Tx, id: &DeliveryId) -> Result<Option<(i64, Status)>> {
    Ok(fetch_optional!(
        tx,
        sqlx::query_as("select attempts, status from webhook_deliveries where id = $1").bind(id)
    )?)
}

/// What is stored of an attempt.
#[derive(Debug)]
pub struct Tried<'a> {
    pub number: i64,
    pub started_at: DateTime<Utc>,
    pub duration_ms: i64,
    pub status: Option<i64>,
    pub error: Option<&'a str>,
    pub response: Option<&'a str>,
}

pub async fn record(tx: &mut Tx, id: &DeliveryId, tried: &Tried<'_>) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into webhook_attempts \
             (delivery_id, number, started_at, duration_ms, status, error, response) \
             values ($1, $2, $3, $4, $5, $6, $7)"
        )
        .bind(id)
        .bind(tried.number)
        .bind(tried.started_at)
        .bind(tried.duration_ms)
        .bind(tried.status)
        .bind(tried.error)
        .bind(tried.response)
    )?;
    execute!(
        tx,
        sqlx::query(
            "update webhook_deliveries set attempts = $1, last_status = $2, last_error = $3 \
             where id = $4"
        )
        .bind(tried.number)
        .bind(tried.status)
        .bind(tried.error)
        .bind(id)
    )?;
    Ok(())
}

/// Stores where a delivery stands: `due_at` while it is pending.
pub async fn conclude(
    tx: &mut Tx,
    webhook: &WebhookId,
    id: &DeliveryId,
    status: Status,
    due_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let ended_at = due_at.is_none().then(|| tx.now());
    execute!(
        tx,
        sqlx::query(
            "update webhook_deliveries set status = $1, due_at = $2, ended_at = $3 where id = $4"
        )
        .bind(status)
        .bind(due_at)
        .bind(ended_at)
        .bind(id)
    )?;
    settle(tx, webhook).await
}

/// Ends everything that is on its way to a webhook, whose row is held.
pub async fn end_pending(tx: &mut Tx, webhook: &WebhookId, reason: &str) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update webhook_deliveries set status = $1, due_at = null, ended_at = $2, \
             last_error = $3 where webhook_id = $4 and due_at is not null"
        )
        .bind(Status::Failed)
        .bind(now)
        .bind(reason)
        .bind(webhook)
    )?;
    settle(tx, webhook).await
}

/// Forgets deliveries that were made before `before` and have ended, then the events that are on
/// their way to nobody.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>) -> Result<()> {
    execute!(
        tx,
        sqlx::query("delete from webhook_deliveries where created_at < $1 and due_at is null")
            .bind(before)
    )?;
    events::prune(tx, before).await?;
    Ok(())
}
