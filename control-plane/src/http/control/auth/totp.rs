//! Two-factor sign-in.

use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SessionHeader, SignInBody, signed_in};
use crate::app::App;
use crate::error::Result;
use crate::http::cookie::Delivery;
use crate::http::extract::{FromDevice, Json};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::identity::throttle::Attempt;
use crate::identity::{account, mfa};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "mfaToken": "mfa_…", "code": "123456" }))]
pub struct LoginTotp {
    /// From the details of the answer that asked for the code.
    #[schema(value_type = String)]
    mfa_token: Secret<String>,
    /// The authenticator's six digits, or a recovery code.
    #[schema(value_type = String)]
    code: Secret<String>,
}

/// Finish a sign-in by a code of the authenticator, or by a recovery code.
#[utoipa::path(
    post, path = "/control/v1/auth/login/totp", tag = "auth", request_body = LoginTotp,
    params(SessionHeader),
    responses(
        (status = 200, description = "Signed in", body = SignInBody),
        (status = 401, description = "Wrong code, or a sign-in that expired", body = ErrorBody),
        Failures,
    ),
)]
pub async fn login_totp(
    State(app): State<App>,
    FromDevice(device): FromDevice,
    delivery: Delivery,
    Json(input): Json<LoginTotp>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Login, device.address(), app.clock.now())?;
    let code = input.code.expose();
    let (tx, sign_in) = mfa::finish(&app, &input.mfa_token, code, &device).await?;
    signed_in(tx, &app, StatusCode::OK, sign_in, delivery).await
}

/// How two-factor sign-in stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TotpBody {
    enabled: bool,
    enabled_at: Option<DateTime<Utc>>,
    recovery_codes_left: i64,
}

/// Is two-factor sign-in on?
#[utoipa::path(
    get, path = "/control/v1/auth/totp", tag = "auth", security(("bearer" = [])),
    responses((status = 200, description = "How it stands", body = TotpBody), Failures, Refusals),
)]
pub async fn get_totp(State(app): State<App>, SignedIn(actor): SignedIn) -> Result<Json<TotpBody>> {
    let mut tx = app.db.read().await?;
    let standing = mfa::standing(&mut tx, &actor.user_id).await?;
    Ok(Json(TotpBody {
        enabled: standing.confirmed_at.is_some(),
        enabled_at: standing.confirmed_at,
        recovery_codes_left: standing.recovery_codes_left,
    }))
}

/// A key for an authenticator app. Shown once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentBody {
    /// Base 32, for typing.
    #[schema(value_type = String, example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: Secret<String>,
    /// For a QR code.
    #[schema(value_type = String, example = "otpauth://totp/AuthSome%20Cloud:ada%40example.com?secret=…")]
    otpauth_uri: Secret<String>,
}

/// Make a key for an authenticator app. It counts once a code of it is confirmed.
#[utoipa::path(
    post, path = "/control/v1/auth/totp", tag = "auth", security(("bearer" = [])),
    responses(
        (status = 201, description = "The key", body = EnrolmentBody),
        (status = 409, description = "Two-factor sign-in is on already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn enrol_totp(State(app): State<App>, SignedIn(actor): SignedIn) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let enrolment = mfa::enrol(&mut tx, &app, &actor).await?;
    let body = EnrolmentBody { secret: enrolment.secret, otpauth_uri: enrolment.uri };
    idempotency::answer(tx, &app, StatusCode::CREATED, body).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "123456" }))]
pub struct TotpCode {
    #[schema(value_type = String)]
    code: Secret<String>,
}

/// Recovery codes, shown once. Each signs in once in place of the authenticator's code.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCodesBody {
    #[schema(value_type = Vec<String>, example = json!(["k7wm-2qfz-8hra-x3nd"]))]
    recovery_codes: Vec<Secret<String>>,
}

/// Turn two-factor sign-in on by a first code.
#[utoipa::path(
    post, path = "/control/v1/auth/totp/confirm", tag = "auth", security(("bearer" = [])),
    request_body = TotpCode,
    responses(
        (status = 200, description = "On; the recovery codes", body = RecoveryCodesBody),
        (status = 409, description = "No key to confirm", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn confirm_totp(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<TotpCode>,
) -> Result<Response> {
    let (tx, recovery_codes) = mfa::confirm(&app, &actor, input.code.expose()).await?;
    let body = RecoveryCodesBody { recovery_codes };
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "password": "the password", "code": "123456" }))]
pub struct DisableTotp {
    /// Needed if the account has one.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret<String>>,
    /// The authenticator's six digits, or a recovery code.
    #[schema(value_type = String)]
    code: Secret<String>,
}

/// Turn two-factor sign-in off.
#[utoipa::path(
    post, path = "/control/v1/auth/totp/disable", tag = "auth", security(("bearer" = [])),
    request_body = DisableTotp,
    responses(
        (status = 204, description = "Off"),
        (status = 409, description = "It is off already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn disable_totp(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<DisableTotp>,
) -> Result<Response> {
    account::confirm_password(&app, &actor.user_id, "password", input.password).await?;
    let tx = mfa::disable(&app, &actor, input.code.expose()).await?;
    idempotency::no_content(tx, &app).await
}

/// Replace the recovery codes by new ones.
#[utoipa::path(
    post, path = "/control/v1/auth/totp/recovery-codes", tag = "auth", security(("bearer" = [])),
    request_body = TotpCode,
    responses(
        (status = 200, description = "The new codes", body = RecoveryCodesBody),
        (status = 409, description = "Two-factor sign-in is off", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn renew_recovery_codes(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<TotpCode>,
) -> Result<Response> {
    let (tx, recovery_codes) = mfa::renew_codes(&app, &actor, input.code.expose()).await?;
    let body = RecoveryCodesBody { recovery_codes };
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}
