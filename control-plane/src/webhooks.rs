//! Webhooks: a customer's endpoints, told of an application's events by signed requests (Standard
//! Webhooks). What has happened is written by the domains (`events`); `queue` makes deliveries of
//! it, `dispatcher` sends them, `delivery` shows them and sends them again.
//!
//! At least once, in no promised order. An endpoint that has failed for days is disabled, and its
//! workspace's owners are told.

mod courier;
pub mod delivery;
pub mod dispatcher;
mod places;
mod queue;
mod retry;
mod secret;
mod store;
mod subscription;

use authsome_shared::code::Code;
use authsome_shared::id::{ApplicationId, WebhookId, WorkspaceId};
use authsome_shared::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::actor::Access;
use crate::app::App;
use crate::applications::Application;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::events::{EventType, Subject};
use crate::page::{Page, PageParams};
use crate::sealed::Sealer;
use crate::{egress, events, platform, random};
use delivery::Delivery;
pub use queue::prune;
pub use secret::RULE as SECRET_RULE;
pub use subscription::Subscription;

/// Of one application.
const MAX_WEBHOOKS: i64 = 20;

const MAX_DESCRIPTION: usize = 500;

/// Replaced secrets may go on signing for this long.
const MAX_OVERLAP: TimeDelta = TimeDelta::days(30);

/// Secrets that sign at once: a header of signatures has an end.
const MAX_SECRETS: usize = 5;

const NOT_FOUND: Error = Error::NotFound("webhook");

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Webhook {
    pub id: WebhookId,
    pub application_id: ApplicationId,
    pub workspace_id: WorkspaceId,
    pub url: String,
    #[sqlx(try_from = "String")]
    pub events: Subscription,
    pub description: String,
    pub enabled: bool,
    /// Why the platform disabled it; `None` when it is enabled or a user did.
    pub disabled_reason: Option<String>,
    /// The first failed attempt since the last success.
    pub failing_since: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Webhook {
    /// What the audit log says of it.
    fn audited(&self) -> Value {
        json!({
            "applicationId": self.application_id, "url": self.url,
            "events": self.events.patterns(), "description": self.description,
            "enabled": self.enabled, "disabledReason": self.disabled_reason,
        })
    }
}

/// A webhook with its secret, which is shown only in this answer.
#[derive(Debug)]
pub struct WithSecret {
    pub webhook: Webhook,
    pub secret: Secret<String>,
}

/// A webhook to be made. `url` has passed [`check_url`].
#[derive(Debug)]
pub struct NewWebhook {
    pub url: String,
    pub events: Option<Vec<String>>,
    pub description: String,
    pub secret: Option<Secret<String>>,
}

/// What a change leaves alone is `None`. `url` has passed [`check_url`].
#[derive(Debug, Default)]
pub struct WebhookChange {
    pub url: Option<String>,
    pub events: Option<Vec<String>>,
    pub description: Option<String>,
    pub enabled: Option<bool>,
}

/// Refuses a URL that no delivery would be made to. Asks the network for its name, so it comes
/// before the transaction.
pub async fn check_url(app: &App, url: &str) -> Result<()> {
    let allow = platform::settings(&mut app.db.read().await?).await?.egress_allow;
    match egress::judge(&app.resolver, url, &allow).await {
        Ok(_) => Ok(()),
        Err(message) => Err(Error::invalid("url", "invalid_value", message)),
    }
}

fn check_description(checks: &mut Checks, text: &str) {
    let fine = text.chars().count() <= MAX_DESCRIPTION && !text.chars().any(char::is_control);
    let message = format!("`description` may have at most {MAX_DESCRIPTION} printable characters");
    checks.check(fine, "description", message);
}

/// Makes a webhook.
pub async fn create(
    tx: &mut Tx,
    sealer: &Sealer,
    access: &Access,
    application: &Application,
    new: NewWebhook,
) -> Result<WithSecret> {
    let mut checks = Checks::default();
    let events = subscription::parse(&mut checks, new.events.as_deref());
    check_description(&mut checks, &new.description);
    if let Some(secret) = &new.secret {
        checks.check(secret::is_fit(secret.expose()), "secret", secret::RULE);
    }
    checks.finish()?;
    if store::count(tx, &application.id).await? >= MAX_WEBHOOKS {
        let message = format!("An application may have at most {MAX_WEBHOOKS} webhooks");
        return Err(Error::Conflict(Code::Conflict, message));
    }
    let now = tx.now();
    let webhook = Webhook {
        id: WebhookId::new(),
        application_id: application.id.clone(),
        workspace_id: application.workspace_id.clone(),
        url: new.url,
        events,
        description: new.description,
        enabled: true,
        disabled_reason: None,
        failing_since: None,
        created_at: now,
        updated_at: now,
    };
    store::insert(tx, &webhook).await?;
    let secret = new.secret.unwrap_or_else(|| Secret::new(random::webhook_secret()));
    store::add_secret(tx, &webhook.id, &secret::seal(sealer, &webhook.id, &secret)).await?;
    tx.audit(access.audit("webhook.created").on("webhook", &webhook.id).after(webhook.audited()));
    Ok(WithSecret { webhook, secret })
}

/// Oldest first.
pub async fn list(
    tx: &mut Tx,
    _access: &Access,
    application: &Application,
    page: PageParams,
) -> Result<Page<Webhook>> {
    store::list(tx, &application.id, page).await
}

pub async fn get(
    tx: &mut Tx,
    _access: &Access,
    application: &Application,
    id: &WebhookId,
) -> Result<Webhook> {
    store::get(tx, &application.id, id).await?.ok_or(NOT_FOUND)
}

/// Changes a webhook. Disabling ends its pending deliveries; enabling gives it a new start.
pub async fn update(
    tx: &mut Tx,
    access: &Access,
    application: &Application,
    id: &WebhookId,
    change: WebhookChange,
) -> Result<Webhook> {
    let mut webhook = get(tx, access, application, id).await?;
    let before = webhook.audited();
    let mut checks = Checks::default();
    if change.events.is_some() {
        webhook.events = subscription::parse(&mut checks, change.events.as_deref());
    }
    if let Some(description) = change.description {
        check_description(&mut checks, &description);
        webhook.description = description;
    }
    checks.finish()?;
    if let Some(url) = change.url {
        webhook.url = url;
    }
    webhook.updated_at = tx.now();
    if let Some(enabled) = change.enabled.filter(|enabled| *enabled != webhook.enabled) {
        webhook.enabled = enabled;
        webhook.disabled_reason = None;
        webhook.failing_since = None;
        if !enabled {
            queue::end_pending(tx, id, "the webhook was disabled").await?;
        }
    }
    store::update(tx, &webhook).await?;
    let entry = access.audit("webhook.updated").on("webhook", id);
    tx.audit(entry.change(before, webhook.audited()));
    Ok(webhook)
}

/// Removes a webhook with all that is known of its deliveries.
pub async fn delete(
    tx: &mut Tx,
    access: &Access,
    application: &Application,
    id: &WebhookId,
) -> Result<()> {
    let webhook = get(tx, access, application, id).await?;
    tx.audit(access.audit("webhook.deleted").on("webhook", id).before(webhook.audited()));
    store::delete(tx, &webhook.id).await
}

/// Gives a webhook another secret. Those before sign too, until the overlap ends; its end is in the
/// answer.
pub async fn rotate_secret(
    tx: &mut Tx,
    sealer: &Sealer,
    access: &Access,
    application: &Application,
    id: &WebhookId,
    overlap: TimeDelta,
    secret: Option<Secret<String>>,
) -> Result<(WithSecret, DateTime<Utc>)> {
    let mut checks = Checks::default();
    checks.check(
        (TimeDelta::zero()..=MAX_OVERLAP).contains(&overlap),
        "overlap",
        "`overlap` may be at most 30d",
    );
    if let Some(secret) = &secret {
        checks.check(secret::is_fit(secret.expose()), "secret", secret::RULE);
    }
    checks.finish()?;
    let mut webhook = get(tx, access, application, id).await?;
    let end = tx.now() + overlap;
    store::end_secrets(tx, id, end).await?;
    let secret = secret.unwrap_or_else(|| Secret::new(random::webhook_secret()));
    store::add_secret(tx, id, &secret::seal(sealer, id, &secret)).await?;
    webhook.updated_at = tx.now();
    store::update(tx, &webhook).await?;
    let after = json!({ "oldSecretsEndAt": end });
    tx.audit(access.audit("webhook.secret_rotated").on("webhook", id).after(after));
    Ok((WithSecret { webhook, secret }, end))
}

/// Sends a `webhook.test` event to this webhook alone, whatever it subscribes to.
pub async fn test(
    tx: &mut Tx,
    access: &Access,
    application: &Application,
    id: &WebhookId,
) -> Result<Delivery> {
    let webhook = get(tx, access, application, id).await?;
    check_enabled(&webhook)?;
    let subject = Subject::Application(&application.workspace_id, &application.id);
    let data = json!({
        "webhookId": webhook.id, "applicationId": application.id,
        "workspaceId": application.workspace_id,
    });
    let event = events::emit_aside(tx, EventType::WebhookTest, subject, data).await?;
    tx.audit(access.audit("webhook.tested").on("webhook", id));
    queue::enqueue(tx, &webhook.id, &event, EventType::WebhookTest.as_str(), None).await
}

fn check_enabled(webhook: &Webhook) -> Result<()> {
    if webhook.enabled {
        return Ok(());
    }
    let message = "The webhook is disabled: enable it first";
    Err(Error::Conflict(Code::InvalidState, message.into()))
}
