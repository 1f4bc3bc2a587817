//! A forgotten password, and another password.

use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::MailSent;
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{ClientAddress, FromDevice, Json};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::identity::account;
use crate::identity::throttle::Attempt;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "email": "ada@example.com" }))]
pub struct ForgotPassword {
    #[schema(format = Email)]
    email: String,
}

/// Send a mail with a link for a new password, if the address has an account. The answer is the same
/// if it has none.
#[utoipa::path(
    post, path = "/control/v1/auth/password/forgot", tag = "auth", request_body = ForgotPassword,
    responses(
        (status = 202, description = "A mail is sent if there is an account", body = MailSent),
        Failures,
    ),
)]
pub async fn forgot_password(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(input): Json<ForgotPassword>,
) -> Result<Response> {
    app.address_limits.count(Attempt::MailToken, address, app.clock.now())?;
    let mut tx = idempotency::begin(&app).await?;
    account::forgot_password(&mut tx, &app, &input.email).await?;
    let body = MailSent { message: "If the address has an account, a mail is on its way" };
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, body).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "token": "mt_…", "password": "a new long password" }))]
pub struct ResetPassword {
    /// From the mail's link.
    #[schema(value_type = String)]
    token: Secret<String>,
    /// 8 to 256 characters.
    #[schema(value_type = String, min_length = 8, max_length = 256, format = Password)]
    password: Secret<String>,
}

/// Set a new password by a mail's link, which works once. All sessions end.
#[utoipa::path(
    post, path = "/control/v1/auth/password/reset", tag = "auth", request_body = ResetPassword,
    responses((status = 204, description = "The password is set"), Failures),
)]
pub async fn reset_password(
    State(app): State<App>,
    FromDevice(device): FromDevice,
    Json(input): Json<ResetPassword>,
) -> Result<Response> {
    app.address_limits.count(Attempt::MailToken, device.address(), app.clock.now())?;
    let ResetPassword { token, password } = input;
    let tx = account::reset_password(&app, &token, password, &device.origin).await?;
    idempotency::no_content(tx, &app).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "currentPassword": "the old one", "newPassword": "a new long one" }))]
pub struct ChangePassword {
    #[schema(value_type = String, format = Password)]
    current_password: Secret<String>,
    /// 8 to 256 characters.
    #[schema(value_type = String, min_length = 8, max_length = 256, format = Password)]
    new_password: Secret<String>,
}

/// Change the password. All other sessions end.
#[utoipa::path(
    post, path = "/control/v1/auth/password/change", tag = "auth", security(("bearer" = [])),
    request_body = ChangePassword,
    responses(
        (status = 204, description = "The password is changed"),
        (status = 409, description = "The account has no password yet", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn change_password(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<ChangePassword>,
) -> Result<Response> {
    let ChangePassword { current_password, new_password } = input;
    let tx = account::change_password(&app, &actor, current_password, new_password).await?;
    idempotency::no_content(tx, &app).await
}
