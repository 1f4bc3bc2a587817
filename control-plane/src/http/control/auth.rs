//! Sign-up, sign-in, sign-out, and one's own account.

pub mod email;
pub mod identities;
pub mod oauth;
pub mod password;
pub mod sessions;
pub mod totp;

use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::http::cookie::{self, Delivery, RefreshCookie};
use crate::http::extract::{FromDevice, Json};
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
    /// Its owner has followed a link in a mail to it, or an identity provider vouches for it.
    email_verified: bool,
    /// May see the platform's own pages, such as its proxies.
    platform_admin: bool,
    created_at: DateTime<Utc>,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        let User { id, email, name, email_verified, platform_admin, created_at } = user;
        Self { id, email, name, email_verified, platform_admin, created_at }
    }
}

/// A sign-in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInBody {
    /// For `Authorization: Bearer …`. Absent when it was asked for as a cookie.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Secret<String>>,
    /// Works once, for a new pair. Absent when it was asked for as a cookie.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Secret<String>>,
    /// Lifetime of `token`, in seconds.
    expires_in: u64,
    user: UserBody,
}

impl From<SignIn> for SignInBody {
    fn from(sign_in: SignIn) -> Self {
        let SignIn { user, token, refresh_token, expires_in } = sign_in;
        let (token, refresh_token) = (Some(token), Some(refresh_token));
        Self { token, refresh_token, expires_in, user: user.into() }
    }
}

/// Commits a sign-in and answers with it, its tokens in the body or as cookies.
pub(super) async fn signed_in(
    tx: Tx,
    app: &App,
    status: StatusCode,
    sign_in: SignIn,
    delivery: Delivery,
) -> Result<Response> {
    let cookies = match delivery {
        Delivery::Tokens => vec![],
        Delivery::Cookies => cookie::of(app, &sign_in),
    };
    let mut body = SignInBody::from(sign_in);
    if delivery == Delivery::Cookies {
        (body.token, body.refresh_token) = (None, None);
    }
    idempotency::answer_with(tx, app, status, body, cookies).await
}

/// How a sign-in may be asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `http::cookie` reads")]
pub struct SessionHeader {
    /// `cookie`: the tokens come as cookies that no script can read, and not in the body.
    #[param(rename = "X-AuthSome-Session", inline)]
    session: Option<SessionKind>,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes what `http::cookie` reads")]
pub enum SessionKind {
    Cookie,
}

/// A mail that is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub struct MailSent {
    #[schema(example = "A mail is on its way")]
    message: &'static str,
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
    params(SessionHeader),
    responses(
        (status = 201, description = "Signed in", body = SignInBody),
        (status = 409, description = "The address has an account already", body = ErrorBody),
        Failures,
    ),
)]
pub async fn register(
    State(app): State<App>,
    FromDevice(device): FromDevice,
    delivery: Delivery,
    Json(input): Json<Register>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Register, device.address(), app.clock.now())?;
    let Register { email, password, name } = input;
    let new = NewUser { email, password, name };
    let (tx, sign_in) = session::register(&app, new, &device).await?;
    signed_in(tx, &app, StatusCode::CREATED, sign_in, delivery).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[schema(example = "ada@example.com")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

/// Sign in by password. An account with two-factor sign-in is answered 401 `mfa_required`, with a
/// `mfaToken` in `details` for `POST /control/v1/auth/login/totp`.
#[utoipa::path(
    post, path = "/control/v1/auth/login", tag = "auth", request_body = Login,
    params(SessionHeader),
    responses(
        (status = 200, description = "Signed in", body = SignInBody),
        (
            status = 401, body = ErrorBody,
            description = "Unknown account or wrong password, or a second factor is wanted",
        ),
        (status = 403, description = "The account is disabled", body = ErrorBody),
        Failures,
    ),
)]
pub async fn login(
    State(app): State<App>,
    FromDevice(device): FromDevice,
    delivery: Delivery,
    Json(input): Json<Login>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Login, device.address(), app.clock.now())?;
    let (tx, sign_in) = session::login(&app, &input.email, input.password, &device).await?;
    signed_in(tx, &app, StatusCode::OK, sign_in, delivery).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// Absent when it is in a cookie.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Secret<String>>,
}

/// Trade a refresh token for a new pair. A token that was traded before ends its session.
#[utoipa::path(
    post, path = "/control/v1/auth/refresh", tag = "auth", request_body = Option<Refresh>,
    params(SessionHeader),
    responses(
        (status = 200, description = "A new pair", body = SignInBody),
        (status = 401, description = "Unknown, used or expired", body = ErrorBody),
        Failures,
    ),
)]
pub async fn refresh(
    State(app): State<App>,
    delivery: Delivery,
    RefreshCookie(kept): RefreshCookie,
    input: Option<Json<Refresh>>,
) -> Result<Response> {
    let given = input.and_then(|Json(input)| input.refresh_token);
    // Whoever keeps it in a cookie gets the next one there too.
    let delivery = if given.is_none() { Delivery::Cookies } else { delivery };
    let token = given.or(kept).ok_or_else(|| {
        Error::invalid("refreshToken", "missing_field", "`refreshToken` is required")
    })?;
    let (tx, sign_in) = session::refresh(&app, &token).await?;
    signed_in(tx, &app, StatusCode::OK, sign_in, delivery).await
}

/// Sign out: the session's tokens stop working at once.
#[utoipa::path(
    post, path = "/control/v1/auth/logout", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "Signed out"), Failures, Refusals),
)]
pub async fn logout(State(app): State<App>, SignedIn(actor): SignedIn) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    session::revoke(&mut tx, &actor, &actor.session_id).await?;
    idempotency::no_content_with(tx, &app, cookie::none(&app)).await
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    #[schema(example = "Ada King", min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// Change the account's name. What is not sent stays.
#[utoipa::path(
    patch, path = "/control/v1/auth/me", tag = "auth", security(("bearer" = [])),
    request_body = UpdateMe,
    responses((status = 200, description = "The account", body = UserBody), Failures, Refusals),
)]
pub async fn update_me(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<UpdateMe>,
) -> Result<Json<UserBody>> {
    let mut tx = app.db.write().await?;
    if let Some(name) = &input.name {
        let mut checks = Checks::default();
        checks.name("name", name);
        checks.finish()?;
        user::rename(&mut tx, &actor, name).await?;
    }
    let user = user::by_id(&mut tx, &actor.user_id).await?;
    tx.commit().await?;
    Ok(Json(user.into()))
}
