//! Deliveries as users see them: one event on its way to one webhook, with every attempt; and
//! sending one again.

use authsome_shared::code::Code;
use authsome_shared::id::{DeliveryId, EventId, WebhookId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::AssertSqlSafe;
use utoipa::ToSchema;

use super::{Webhook, check_enabled, queue};
use crate::actor::Access;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::events::EventType;
use crate::page::{Page, PageParams};
use crate::{fetch_all, fetch_one, fetch_optional};

const NOT_FOUND: Error = Error::NotFound("delivery");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = DeliveryStatus)]
pub enum Status {
    /// To be tried, for the first time or again.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Given up.
    Failed,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Delivery {
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    pub event_type: String,
    pub status: Status,
    pub attempts: i64,
    /// The next attempt; `None` once it has ended.
    pub due_at: Option<DateTime<Utc>>,
    /// What the last attempt was answered.
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    /// The delivery that this one repeats.
    pub replay_of: Option<DeliveryId>,
    pub created_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Attempt {
    /// From 1.
    pub number: i64,
    pub started_at: DateTime<Utc>,
    pub duration_ms: i64,
    /// HTTP status; `None` when there was no answer.
    pub status: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
    /// The first KiB of the answer's body.
    pub response: Option<String>,
}

/// Narrows a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub event: Option<EventType>,
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    _access: &Access,
    webhook: &Webhook,
    filter: Filter,
    page: PageParams,
) -> Result<Page<Delivery>> {
    const WHERE: &str = "webhook_id = $1 and (cast($2 as text) is null or status = $2) \
         and (cast($3 as text) is null or event_type = $3)";
    let event = filter.event.map(EventType::as_str);
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(AssertSqlSafe(format!(
            "select count(*) from webhook_deliveries where {WHERE}"
        )))
        .bind(&webhook.id)
        .bind(filter.status)
        .bind(event)
    )?;
    let deliveries = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(format!(
            "select * from webhook_deliveries where {WHERE} order by id desc limit $4 offset $5"
        )))
        .bind(&webhook.id)
        .bind(filter.status)
        .bind(event)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(deliveries, total))
}

async fn by_id(tx: &mut Tx, webhook: &Webhook, id: &DeliveryId) -> Result<Delivery> {
    let delivery = fetch_optional!(
        tx,
        sqlx::query_as("select * from webhook_deliveries where webhook_id = $1 and id = $2")
            .bind(&webhook.id)
            .bind(id)
    )?;
    delivery.ok_or(NOT_FOUND)
}

/// A delivery with the text that it carries and its attempts, oldest first.
pub async fn get(
    tx: &mut Tx,
    _access: &Access,
    webhook: &Webhook,
    id: &DeliveryId,
) -> Result<(Delivery, String, Vec<Attempt>)> {
    let delivery = by_id(tx, webhook, id).await?;
    let (body,): (String,) = fetch_one!(
        tx,
        sqlx::query_as("select body from events where id = $1").bind(&delivery.event_id)
    )?;
    let attempts = fetch_all!(
        tx,
        sqlx::query_as(
            "select number, started_at, duration_ms, status, error, response \
             from webhook_attempts where delivery_id = $1 order by number"
        )
        .bind(id)
    )?;
    Ok((delivery, body, attempts))
}

/// Sends the event of a delivery that has ended again, as a delivery of its own.
pub async fn replay(
    tx: &mut Tx,
    access: &Access,
    webhook: &Webhook,
    id: &DeliveryId,
) -> Result<Delivery> {
    let delivery = by_id(tx, webhook, id).await?;
    check_enabled(webhook)?;
    if delivery.status == Status::Pending {
        let message = "The delivery is still being tried; replay it once it has ended";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let Delivery { event_id, event_type, .. } = delivery;
    let after = json!({ "deliveryId": id, "event": event_type });
    tx.audit(access.audit("webhook.replayed").on("webhook", &webhook.id).after(after));
    queue::enqueue(tx, &webhook.id, &event_id, &event_type, Some(id)).await
}
