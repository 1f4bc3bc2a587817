//! Sign-up, sign-in, sign-out.

use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Result;
use crate::http::extract::{ClientAddress, Json, Origin};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::identity::throttle::Attempt;
use crate::identity::user::NewUser;
use crate::identity::{SignIn, User, session, user};

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserBody {
    id: UserId,
    email: String,
    name: String,
    /// May see the platform's own pages, such as its proxies.
    platform_admin: bool,
    created_at: DateTime<Utc>,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        let User { id, email, name, platform_admin, created_at } = user;
        Self { id, email, name, platform_admin, created_at }
    }
}

/// A sign-in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInBody {
    /// For `Authorization: Bearer …`.
    #[schema(value_type = String)]
    token: Secret<String>,
    /// Works once, for a new pair.
    #[schema(value_type = String)]
    refresh_token: Secret<String>,
    /// Lifetime of `token`, in seconds.
    expires_in: u64,
    user: UserBody,
}

impl From<SignIn> for SignInBody {
    fn from(sign_in: SignIn) -> Self {
        let SignIn { user, token, refresh_token, expires_in } = sign_in;
        Self { token, refresh_token, expires_in, user: user.into() }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    #[schema(example = "ada@example.com", format = Email)]
    email: String,
    /// 8 to 256 characters.
    #[schema(value_type = String, min_length = 8, max_length = 256, format = Password)]
    password: Secret<String>,
    #[schema(example = "Ada Lovelace", min_length = 1, max_length = 200)]
    name: String,
}

/// Create an account and sign in.
#[utoipa::path(
    post, path = "/control/v1/auth/register", tag = "auth", request_body = Register,
    responses(
        (status = 201, description = "Signed in", body = SignInBody),
        (status = 409, description = "The address has an account already", body = ErrorBody),
        Failures,
    ),
)]
pub async fn register(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Origin(origin): Origin,
    Json(input): Json<Register>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Register, address, app.clock.now())?;
    let Register { email, password, name } = input;
    let new = NewUser { email, password, name };
    let (tx, sign_in) = session::register(&app, new, &origin).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, SignInBody::from(sign_in)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[schema(example = "ada@example.com")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

/// Sign in by password.
#[utoipa::path(
    post, path = "/control/v1/auth/login", tag = "auth", request_body = Login,
    responses(
        (status = 200, description = "Signed in", body = SignInBody),
        (status = 401, description = "Unknown account or wrong password", body = ErrorBody),
        Failures,
    ),
)]
pub async fn login(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Origin(origin): Origin,
    Json(input): Json<Login>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Login, address, app.clock.now())?;
    let (tx, sign_in) = session::login(&app, &input.email, input.password, &origin).await?;
    idempotency::answer(tx, &app, StatusCode::OK, SignInBody::from(sign_in)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    #[schema(value_type = String)]
    refresh_token: Secret<String>,
}

/// Trade a refresh token for a new pair. A token that was traded before ends its session.
#[utoipa::path(
    post, path = "/control/v1/auth/refresh", tag = "auth", request_body = Refresh,
    responses(
        (status = 200, description = "A new pair", body = SignInBody),
        (status = 401, description = "Unknown, used or expired", body = ErrorBody),
        Failures,
    ),
)]
pub async fn refresh(State(app): State<App>, Json(input): Json<Refresh>) -> Result<Response> {
    let (tx, sign_in) = session::refresh(&app, &input.refresh_token).await?;
    idempotency::answer(tx, &app, StatusCode::OK, SignInBody::from(sign_in)).await
}

/// Sign out: the session's tokens stop working at once.
#[utoipa::path(
    post, path = "/control/v1/auth/logout", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "Signed out"), Failures, Refusals),
)]
pub async fn logout(State(app): State<App>, SignedIn(actor): SignedIn) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    session::revoke(&mut tx, &actor, &actor.session_id).await?;
    idempotency::no_content(tx, &app).await
}

/// The signed-in account.
#[utoipa::path(
    get, path = "/control/v1/auth/me", tag = "auth", security(("bearer" = [])),
    responses((status = 200, description = "The account", body = UserBody), Failures, Refusals),
)]
pub async fn me(State(app): State<App>, SignedIn(actor): SignedIn) -> Result<Json<UserBody>> {
    let mut tx = app.db.read().await?;
    let user = user::by_id(&mut tx, &actor.user_id).await?;
    Ok(Json(user.into()))
}
