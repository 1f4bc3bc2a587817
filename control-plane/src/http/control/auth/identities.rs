//! The identity providers that open the account.

use authsome_shared::id::IdentityId;
use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::identity::linked::{self, Identity};
use crate::identity::oauth::{self, Wish};
use crate::identity::user;

/// A linked identity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityBody {
    id: IdentityId,
    /// The provider's id.
    #[schema(example = "google")]
    provider: String,
    /// As the provider said last.
    #[schema(example = "ada@example.com")]
    email: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: DateTime<Utc>,
}

impl From<Identity> for IdentityBody {
    fn from(identity: Identity) -> Self {
        let Identity { id, provider, email, created_at, last_used_at } = identity;
        Self { id, provider, email, created_at, last_used_at }
    }
}

/// What opens the account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityList {
    data: Vec<IdentityBody>,
    total: usize,
    /// The account can be signed in to by password too.
    has_password: bool,
}

/// List the identities that are linked to the account.
#[utoipa::path(
    get, path = "/control/v1/auth/identities", tag = "auth", security(("bearer" = [])),
    responses(
        (status = 200, description = "The identities", body = IdentityList), Failures, Refusals,
    ),
)]
pub async fn list_identities(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
) -> Result<Json<IdentityList>> {
    let mut tx = app.db.read().await?;
    let data = linked::list(&mut tx, &actor.user_id).await?;
    let has_password = user::password_hash(&mut tx, &actor.user_id).await?.is_some();
    let data: Vec<_> = data.into_iter().map(IdentityBody::from).collect();
    Ok(Json(IdentityList { total: data.len(), data, has_password }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "provider": "google" }))]
pub struct BeginLink {
    /// A provider's id.
    provider: String,
    /// A page of the dashboard to come back to.
    redirect: Option<String>,
    /// As for the start of a sign-in.
    challenge: Option<String>,
}

/// Where linking begins.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkBody {
    /// For the browser to open; works once, for five minutes.
    #[schema(value_type = String)]
    url: Secret<String>,
}

/// Begin to link an identity. The browser opens the URL of the answer, and comes back to the dashboard
/// with a code that `POST /control/v1/auth/identities/confirm` takes.
#[utoipa::path(
    post, path = "/control/v1/auth/identities", tag = "auth", security(("bearer" = [])),
    request_body = BeginLink,
    responses((status = 200, description = "Where to go", body = LinkBody), Failures, Refusals),
)]
pub async fn begin_link(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<BeginLink>,
) -> Result<Response> {
    let wish = Wish {
        redirect: input.redirect.as_deref(),
        challenge: input.challenge.as_deref(),
        ticket: None,
    };
    let mut tx = idempotency::begin(&app).await?;
    let url = oauth::begin_link(&mut tx, &app, &actor.user_id, &input.provider, wish).await?;
    idempotency::answer(tx, &app, StatusCode::OK, LinkBody { url }).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "oc_…" }))]
pub struct ConfirmLink {
    /// From the redirect to the dashboard; works once, for a minute.
    #[schema(value_type = String)]
    code: Secret<String>,
    /// What the `challenge` at the start was of.
    #[schema(value_type = Option<String>)]
    verifier: Option<Secret<String>>,
}

/// Link the identity that a code stands for. Only the account that began can do it.
#[utoipa::path(
    post, path = "/control/v1/auth/identities/confirm", tag = "auth", security(("bearer" = [])),
    request_body = ConfirmLink,
    responses(
        (status = 201, description = "Linked", body = IdentityBody),
        (status = 409, description = "The identity is linked already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn confirm_link(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<ConfirmLink>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let verifier = input.verifier.as_ref();
    let identity = oauth::link(&mut tx, &app, &actor, &input.code, verifier).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, IdentityBody::from(identity)).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Path)]
pub struct IdentityPath {
    identity_id: IdentityId,
}

/// Unlink an identity. The last way to sign in stays.
#[utoipa::path(
    delete, path = "/control/v1/auth/identities/{identityId}", tag = "auth",
    security(("bearer" = [])), params(IdentityPath),
    responses(
        (status = 204, description = "Unlinked"),
        (status = 409, description = "It is the last way to sign in", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn unlink_identity(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(path): Path<IdentityPath>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    oauth::unlink(&mut tx, &app, &actor, &path.identity_id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
