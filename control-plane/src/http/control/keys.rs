//! An application's keys.

use std::net::{AddrParseError, IpAddr};
use std::time::Duration;

use authsome_shared::api_key::KeyType;
use authsome_shared::id::{ApplicationId, KeyId, NodeId};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::applications::config::RateLimitConfig;
use crate::error::{Error, Result};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::keys::{Issued, Key, NewKey, Settings};
use crate::page::{Page, PageParams};
use crate::{applications, duration, keys, proxies};

/// Longest wait for the proxies, in milliseconds.
const MAX_WAIT_MS: u64 = 30_000;

/// A key; a secret one is masked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyBody {
    id: KeyId,
    name: String,
    #[serde(rename = "type")]
    key_type: KeyType,
    /// Whole for a public key, masked for a secret one, unless it was just made.
    #[schema(example = "sk_live_abc123***")]
    key: String,
    scopes: Vec<String>,
    #[schema(value_type = Vec<String>)]
    allowed_ips: Vec<IpNet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimitConfig>,
    /// Request units per calendar month.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<u64>,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// The key that this one succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<KeyId>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Key> for KeyBody {
    fn from(key: Key) -> Self {
        let Settings { scopes, allowed_ips, rate_limit, quota, metadata } = key.settings.0;
        Self {
            id: key.id,
            name: key.name,
            key_type: key.key_type,
            key: key.display,
            scopes,
            allowed_ips,
            rate_limit,
            quota,
            metadata,
            replaces: key.replaces,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            created_at: key.created_at,
        }
    }
}

impl From<Issued> for KeyBody {
    /// With the whole key, this once.
    fn from(issued: Issued) -> Self {
        Self { key: issued.clear.into_inner(), ..issued.key.into() }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "name": "Backend Service", "type": "secret", "scopes": ["users:read", "users:write"],
    "expiresAt": "2027-01-01T00:00:00Z",
}))]
pub struct CreateKey {
    #[schema(example = "Backend Service", min_length = 1, max_length = 200)]
    name: String,
    #[serde(rename = "type")]
    key_type: KeyType,
    /// Of a secret key; `["*"]` when absent.
    #[schema(example = json!(["users:read", "users:write"]))]
    scopes: Option<Vec<String>>,
    expires_at: Option<DateTime<Utc>>,
    /// Addresses or CIDR networks it may come from; empty: any.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    allowed_ips: Vec<Network>,
    /// Instead of the application's or the plan's.
    rate_limit: Option<RateLimitConfig>,
    /// Request units per calendar month.
    quota: Option<u64>,
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// A CIDR network, or one address.
#[derive(Debug, Clone, Copy)]
pub struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_: AddrParseError| {
            serde::de::Error::custom("must be an address or a network such as 10.0.0.0/8")
        })
    }
}

/// Create a key. A secret key is shown only in this answer.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/keys", tag = "keys",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    request_body = CreateKey,
    responses(
        (status = 201, description = "The key, in clear", body = KeyBody),
        Failures, Refusals,
    ),
)]
pub async fn create_key(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Json(input): Json<CreateKey>,
) -> Result<Response> {
    let scopes = input.scopes.unwrap_or_else(|| match input.key_type {
        KeyType::Secret => vec!["*".into()],
        KeyType::Public => vec![],
    });
    let settings = Settings {
        scopes,
        allowed_ips: input.allowed_ips.into_iter().map(|network| network.0).collect(),
        rate_limit: input.rate_limit,
        quota: input.quota,
        metadata: input.metadata,
    };
    let new = NewKey {
        name: input.name,
        key_type: input.key_type,
        expires_at: input.expires_at,
        settings,
    };
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageKeys).await?;
    let issued = keys::issue(&mut tx, &access, &application, new).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, KeyBody::from(issued)).await
}

/// List an application's keys that are not revoked.
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}/keys", tag = "keys",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path), PageParams),
    responses((status = 200, description = "A page", body = Page<KeyBody>), Failures, Refusals),
)]
pub async fn list_keys(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<KeyBody>>> {
    let mut tx = app.db.read().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ViewKeys).await?;
    let page = keys::list(&mut tx, &access, &application, page).await?;
    Ok(Json(page.map(Into::into)))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateKey {
    /// How long the old key still works: `30s`, `10m`, `24h`, `7d`; `0` ends it at once.
    #[schema(example = "24h", default = "0")]
    overlap: Option<String>,
}

/// Make a successor that shares the key's limit, quota and usage.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/keys/{keyId}/rotate", tag = "keys",
    security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("keyId" = KeyId, Path)),
    request_body = Option<RotateKey>,
    responses(
        (status = 201, description = "The successor, in clear", body = KeyBody),
        (status = 409, description = "The key has expired", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn rotate_key(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, key_id)): Path<(ApplicationId, KeyId)>,
    input: Option<Json<RotateKey>>,
) -> Result<Response> {
    let RotateKey { overlap } = input.map(|Json(input)| input).unwrap_or_default();
    let overlap = duration::parse(overlap.as_deref().unwrap_or("0")).ok_or_else(|| {
        Error::invalid("overlap", "invalid_value", format!("`overlap` {}", duration::RULE))
    })?;
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageKeys).await?;
    let issued = keys::rotate(&mut tx, &access, &application, &key_id, overlap).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, KeyBody::from(issued)).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct RevokeParams {
    /// `applied`: answer once every connected proxy refuses the key, or the time is up.
    #[param(inline)]
    wait: Option<Wait>,
    /// How long to wait, in milliseconds; cut to 30000.
    #[serde(default = "five_seconds")]
    #[param(default = 5000)]
    timeout_ms: u64,
}

fn five_seconds() -> u64 {
    5_000
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    Applied,
}

/// How far a revocation has come.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedBody {
    /// The revision that carries it.
    revision: i64,
    /// Connected proxies that refuse the key.
    applied: Vec<NodeId>,
    /// Connected proxies that have not said so yet.
    pending: Vec<NodeId>,
}

/// Revoke a key.
#[utoipa::path(
    delete, path = "/control/v1/applications/{applicationId}/keys/{keyId}", tag = "keys",
    security(("bearer" = [])),
    params(("applicationId" = ApplicationId, Path), ("keyId" = KeyId, Path), RevokeParams),
    responses(
        (status = 204, description = "Revoked"),
        (status = 200, description = "Revoked; asked to wait", body = RevokedBody),
        Failures, Refusals,
    ),
)]
pub async fn revoke_key(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path((id, key_id)): Path<(ApplicationId, KeyId)>,
    Query(params): Query<RevokeParams>,
) -> Result<Response> {
    let mut tx = app.db.write().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageKeys).await?;
    let revision = keys::revoke(&mut tx, &access, &application, &key_id).await?;
    tx.commit().await?;
    let Some(Wait::Applied) = params.wait else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let timeout = Duration::from_millis(params.timeout_ms.min(MAX_WAIT_MS));
    let progress = proxies::wait_applied(&app.db, revision, timeout).await?;
    let proxies::Progress { applied, pending } = progress;
    Ok(Json(RevokedBody { revision, applied, pending }).into_response())
}
