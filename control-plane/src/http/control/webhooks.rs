//! An application's webhooks. What was sent to them: `deliveries`.

use authsome_shared::id::{ApplicationId, WebhookId};
use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::DeliveryBody;
use crate::actor::Permission;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::page::{Page, PageParams};
use crate::webhooks::{self, NewWebhook, Webhook, WebhookChange, WithSecret};
use crate::{applications, duration};

/// An endpoint that is told of events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookBody {
    id: WebhookId,
    application_id: ApplicationId,
    #[schema(example = "https://your-app.com/webhooks/authsome")]
    url: String,
    /// Event types, `key.*` for all of a kind, `*` for all.
    #[schema(example = json!(["application.*", "usage.threshold"]))]
    events: Vec<String>,
    description: String,
    enabled: bool,
    /// Why the platform disabled it; absent when it is enabled or a user disabled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    /// The first failed attempt since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            application_id: webhook.application_id,
            url: webhook.url,
            events: webhook.events.patterns().to_vec(),
            description: webhook.description,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            failing_since: webhook.failing_since,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// A webhook with its secret: shown only here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: WebhookBody,
    /// What its deliveries are signed with.
    #[schema(value_type = String, example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Secret<String>,
    /// Until then deliveries are signed with the secrets before this one, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secrets_end_at: Option<DateTime<Utc>>,
}

impl From<WithSecret> for WebhookWithSecret {
    fn from(made: WithSecret) -> Self {
        let WithSecret { webhook, secret } = made;
        Self { webhook: webhook.into(), secret, old_secrets_end_at: None }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://your-app.com/webhooks/authsome",
    "events": ["application.provisioned", "application.failed", "usage.threshold"],
}))]
pub struct CreateWebhook {
    /// Where events are sent by POST. Redirects are not followed.
    #[schema(format = "uri", max_length = 2048)]
    url: String,
    /// Event types, `key.*` for all of a kind, `*` for all; everything when absent.
    events: Option<Vec<String>>,
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
    /// Your own; made when absent. Base64 behind `whsec_` is decoded, any other text signs as it is.
    #[schema(value_type = Option<String>, min_length = 16, max_length = 256)]
    secret: Option<Secret<String>>,
}

/// Create a webhook. Its secret is shown only in this answer.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/webhooks", tag = "webhooks",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    request_body = CreateWebhook,
    responses(
        (status = 201, description = "The webhook, with its secret", body = WebhookWithSecret),
        (status = 409, description = "There are as many as there may be", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn create_webhook(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Json(input): Json<CreateWebhook>,
) -> Result<Response> {
    let CreateWebhook { url, events, description, secret } = input;
    webhooks::check_url(&app, &url).await?;
    let new = NewWebhook { url, events, description, secret };
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let made = webhooks::create(&mut tx, &app.sealer, &access, &application, new).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, WebhookWithSecret::from(made)).await
}

/// List an application's webhooks.
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}/webhooks", tag = "webhooks",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path), PageParams),
    responses((status = 200, description = "A page", body = Page<WebhookBody>), Failures, Refusals),
)]
pub async fn list_webhooks(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<WebhookBody>>> {
    let mut tx = app.db.read().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let page = webhooks::list(&mut tx, &access, &application, page).await?;
    Ok(Json(page.map(Into::into)))
}

/// Get a webhook.
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}", tag = "webhooks",
    security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path)),
    responses((status = 200, description = "The webhook", body = WebhookBody), Failures, Refusals),
)]
pub async fn get_webhook(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id)): Path<(ApplicationId, WebhookId)>,
) -> Result<Json<WebhookBody>> {
    let mut tx = app.db.read().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let webhook = webhooks::get(&mut tx, &access, &application, &webhook_id).await?;
    Ok(Json(webhook.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "enabled": true }))]
pub struct UpdateWebhook {
    #[schema(format = "uri", max_length = 2048)]
    url: Option<String>,
    events: Option<Vec<String>>,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Disabled, it is sent nothing, and what is on its way to it ends as failed.
    enabled: Option<bool>,
}

/// Change a webhook, or enable one that was disabled.
#[utoipa::path(
    patch, path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}",
    tag = "webhooks", security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path)),
    request_body = UpdateWebhook,
    responses(
        (status = 200, description = "The webhook as it is now", body = WebhookBody),
        Failures, Refusals,
    ),
)]
pub async fn update_webhook(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id)): Path<(ApplicationId, WebhookId)>,
    Json(input): Json<UpdateWebhook>,
) -> Result<Json<WebhookBody>> {
    let UpdateWebhook { url, events, description, enabled } = input;
    if let Some(url) = &url {
        webhooks::check_url(&app, url).await?;
    }
    let change = WebhookChange { url, events, description, enabled };
    let mut tx = app.db.write().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let webhook = webhooks::update(&mut tx, &access, &application, &webhook_id, change).await?;
    tx.commit().await?;
    Ok(Json(webhook.into()))
}

/// Delete a webhook, with what is known of its deliveries.
#[utoipa::path(
    delete, path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}",
    tag = "webhooks", security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path)),
    responses((status = 204, description = "Deleted"), Failures, Refusals),
)]
pub async fn delete_webhook(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id)): Path<(ApplicationId, WebhookId)>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    webhooks::delete(&mut tx, &access, &application, &webhook_id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "overlap": "24h" }))]
pub struct RotateSecret {
    /// How long the secrets before sign too: `30s`, `10m`, `24h`, `7d`; `0` ends them at once.
    #[schema(default = "24h")]
    overlap: Option<String>,
    /// Your own; made when absent.
    #[schema(value_type = Option<String>, min_length = 16, max_length = 256)]
    secret: Option<Secret<String>>,
}

/// Give a webhook another secret. Until the overlap ends, deliveries carry a signature of each.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}/rotate-secret",
    tag = "webhooks", security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path)),
    request_body = Option<RotateSecret>,
    responses(
        (status = 200, description = "The webhook, with its secret", body = WebhookWithSecret),
        Failures, Refusals,
    ),
)]
pub async fn rotate_webhook_secret(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id)): Path<(ApplicationId, WebhookId)>,
    input: Option<Json<RotateSecret>>,
) -> Result<Response> {
    let RotateSecret { overlap, secret } = input.map(|Json(input)| input).unwrap_or_default();
    let overlap = duration::parse(overlap.as_deref().unwrap_or("24h")).ok_or_else(|| {
        Error::invalid("overlap", "invalid_value", format!("`overlap` {}", duration::RULE))
    })?;
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let (made, end) = webhooks::rotate_secret(
        &mut tx,
        &app.sealer,
        &access,
        &application,
        &webhook_id,
        overlap,
        secret,
    )
    .await?;
    let body = WebhookWithSecret { old_secrets_end_at: Some(end), ..made.into() };
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}

/// Send a `webhook.test` event to this webhook.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/webhooks/{webhookId}/test",
    tag = "webhooks", security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("webhookId" = WebhookId, Path)),
    responses(
        (status = 202, description = "The delivery, on its way", body = DeliveryBody),
        (status = 409, description = "The webhook is disabled", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn test_webhook(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, webhook_id)): Path<(ApplicationId, WebhookId)>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let delivery = webhooks::test(&mut tx, &access, &application, &webhook_id).await?;
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, DeliveryBody::from(delivery)).await
}
