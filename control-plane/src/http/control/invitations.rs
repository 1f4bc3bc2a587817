//! Invitations, from the invitee's side.

use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::members::MemberBody;
use crate::app::App;
use crate::error::Result;
use crate::http::extract::Json;
use crate::http::idempotency;
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::workspaces::invitation;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// From the mail's link.
    #[schema(value_type = String)]
    token: Secret<String>,
}

/// Accept an invitation, as the account of the invited address.
#[utoipa::path(
    post, path = "/control/v1/invitations/accept", tag = "members", security(("bearer" = [])),
    request_body = AcceptInvitation,
    responses(
        (status = 200, description = "The member, active", body = MemberBody),
        Failures, Refusals,
    ),
)]
pub async fn accept_invitation(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Json(input): Json<AcceptInvitation>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let member = invitation::accept(&mut tx, &actor, &input.token).await?;
    idempotency::answer(tx, &app, StatusCode::OK, MemberBody::from(member)).await
}
