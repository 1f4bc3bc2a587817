//! What was sent to a webhook, or is on its way.

use authsome_shared::id::{ApplicationId, DeliveryId, EventId, WebhookId};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::error::{Error, Result};
use crate::events::EventType;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::page::{self, Page, PageParams};
use crate::webhooks::delivery::{self, Attempt, Delivery, Filter, Status};
use crate::{applications, webhooks};

/// One event on its way to one webhook.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryBody {
    id: DeliveryId,
    webhook_id: WebhookId,
    /// What the endpoint sees as `webhook-id`; the same at every attempt and replay.
    event_id: EventId,
    #[schema(example = "application.provisioned")]
    event: String,
    status: Status,
    /// Attempts so far.
    attempts: i64,
    /// `None` once it has ended.
    next_attempt_at: Option<DateTime<Utc>>,
    /// What the last attempt was answered.
    #[schema(example = 200)]
    last_status: Option<i64>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// The delivery that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<DeliveryId>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            webhook_id: delivery.webhook_id,
            event_id: delivery.event_id,
            event: delivery.event_type,
            status: delivery.status,
            attempts: delivery.attempts,
            next_attempt_at: delivery.due_at,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            replay_of: delivery.replay_of,
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
        }
    }
}

/// One attempt at a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptBody {
    /// From 1.
    number: i64,
    at: DateTime<Utc>,
    duration_ms: i64,
    /// `None` when there was no answer.
    status: Option<i64>,
    /// Why it failed.
    error: Option<String>,
    /// The first KiB of the answer's body.
    response: Option<String>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            error: attempt.error,
            response: attempt.response,
        }
    }
}

/// A delivery with what it carries and each attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryWithAttempts {
    #[serde(flatten)]
    delivery: DeliveryBody,
    /// The body that is sent.
    #[schema(value_type = Object)]
    payload: Value,
    /// Oldest first; `attempts` is their number.
    history: Vec<AttemptBody>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListDeliveries {
    status: Option<Status>,
    #[param(inline)]
    event: Option<EventType>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

/// List a webhook's deliveries, newest first.
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries",
    tag = "webhooks", security(("bearer" = [])),
    params(
        ("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path), ListDeliveries,
    ),
    responses(
        (status = 200, description = "A page", body = Page<DeliveryBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_deliveries(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id)): Path<(ApplicationId, WebhookId)>,
    Query(params): Query<ListDeliveries>,
) -> Result<Json<Page<DeliveryBody>>> {
    let ListDeliveries { status, event, page, page_size } = params;
    let (filter, page) = (Filter { status, event }, PageParams { page, page_size });
    let mut tx = app.db.read().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let webhook = webhooks::get(&mut tx, &access, &application, &webhook_id).await?;
    let page = delivery::list(&mut tx, &access, &webhook, filter, page).await?;
    Ok(Json(page.map(Into::into)))
}

/// Get a delivery with its attempts.
#[utoipa::path(
    get,
    path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{deliveryId}",
    tag = "webhooks", security(("bearer" = [])),
    params(
        ("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path),
        ("deliveryId" = DeliveryId, Path),
    ),
    responses(
        (status = 200, description = "The delivery", body = DeliveryWithAttempts),
        Failures, Refusals,
    ),
)]
pub async fn get_delivery(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id, delivery_id)): Path<(ApplicationId, WebhookId, DeliveryId)>,
) -> Result<Json<DeliveryWithAttempts>> {
    let mut tx = app.db.read().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let webhook = webhooks::get(&mut tx, &access, &application, &webhook_id).await?;
    let (delivery, body, attempts) =
        delivery::get(&mut tx, &access, &webhook, &delivery_id).await?;
    let payload = serde_json::from_str(&body).map_err(Error::internal)?;
    let history = attempts.into_iter().map(Into::into).collect();
    Ok(Json(DeliveryWithAttempts { delivery: delivery.into(), payload, history }))
}

/// Send the event of a delivery that has ended again.
#[utoipa::path(
    post,
    path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{deliveryId}/replay",
    tag = "webhooks", security(("bearer" = [])),
    params(
        ("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path),
        ("deliveryId" = DeliveryId, Path),
    ),
    responses(
        (status = 202, description = "The new delivery, on its way", body = DeliveryBody),
        (status = 409, description = "It is still being tried, or the webhook is disabled",
         body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn replay_delivery(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id, delivery_id)): Path<(ApplicationId, WebhookId, DeliveryId)>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let webhook = webhooks::get(&mut tx, &access, &application, &webhook_id).await?;
    let delivery = delivery::replay(&mut tx, &access, &webhook, &delivery_id).await?;
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, DeliveryBody::from(delivery)).await
}
