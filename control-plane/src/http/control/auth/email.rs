//! The account's e-mail address: proving it, and changing it.

use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{MailSent, UserBody};
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{FromDevice, Json};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::identity::account;
use crate::identity::throttle::Attempt;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "token": "mt_…" }))]
pub struct VerifyEmail {
    /// From the mail's link.
    #[schema(value_type = String)]
    token: Secret<String>,
}

/// Prove an e-mail address by a mail's link, which works once. If the mail went to an address that
/// the account is to change to, it is the account's from now on.
#[utoipa::path(
    post, path = "/control/v1/auth/email/verify", tag = "auth", request_body = VerifyEmail,
    responses(
        (status = 200, description = "The account", body = UserBody),
        (status = 409, description = "The address has an account by now", body = ErrorBody),
        Failures,
    ),
)]
pub async fn verify_email(
    State(app): State<App>,
    FromDevice(device): FromDevice,
    Json(input): Json<VerifyEmail>,
) -> Result<Response> {
    app.address_limits.count(Attempt::MailToken, device.address(), app.clock.now())?;
    let mut tx = idempotency::begin(&app).await?;
    let user = account::verify_email(&mut tx, &app, &input.token, &device.origin).await?;
    idempotency::answer(tx, &app, StatusCode::OK, UserBody::from(user)).await
}

/// Send the mail that proves the account's address again.
#[utoipa::path(
    post, path = "/control/v1/auth/email/verification", tag = "auth", security(("bearer" = [])),
    responses(
        (status = 202, description = "A mail is sent", body = MailSent),
        (status = 409, description = "The address is verified already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn send_verification(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    account::ask_again(&mut tx, &app, &actor).await?;
    let body = MailSent { message: "A mail is on its way" };
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, body).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "email": "ada@new.example.com", "password": "the password" }))]
pub struct ChangeEmail {
    #[schema(format = Email)]
    email: String,
    /// Needed if the account has one.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret<String>>,
}

/// Change the account's e-mail address. The new one gets a mail with a link that confirms it; until
/// then nothing changes. The old one is told.
#[utoipa::path(
    post, path = "/control/v1/auth/email/change", tag = "auth", security(("bearer" = [])),
    request_body = ChangeEmail,
    responses(
        (status = 202, description = "A mail is sent to the new address", body = MailSent),
        (status = 409, description = "The address has an account already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn change_email(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<ChangeEmail>,
) -> Result<Response> {
    let tx = account::change_email(&app, &actor, &input.email, input.password).await?;
    let body = MailSent { message: "A mail is on its way to the new address" };
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, body).await
}
