//! The account's e-mail address: proving it, and changing it.

use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::UserBody;
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{ClientAddress, Json};
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
    ClientAddress(address): ClientAddress,
    Json(input): Json<VerifyEmail>,
) -> Result<Json<UserBody>> {
    app.address_limits.count(Attempt::MailToken, address, app.clock.now())?;
    let mut tx = app.db.write().await?;
    let user = account::verify_email(&mut tx, &app, &input.token).await?;
    tx.commit().await?;
    Ok(Json(user.into()))
}

/// Send the mail that proves the account's address again.
#[utoipa::path(
    post, path = "/control/v1/auth/email/verification", tag = "auth", security(("bearer" = [])),
    responses(
        (status = 202, description = "A mail is sent"),
        (status = 409, description = "The address is verified already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn send_verification(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    account::ask_again(&mut tx, &app, &actor).await?;
    tx.commit().await?;
    Ok(StatusCode::ACCEPTED)
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
        (status = 202, description = "A mail is sent to the new address"),
        (status = 409, description = "The address has an account already", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn change_email(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<ChangeEmail>,
) -> Result<StatusCode> {
    let tx = account::change_email(&app, &actor, &input.email, input.password).await?;
    tx.commit().await?;
    Ok(StatusCode::ACCEPTED)
}
