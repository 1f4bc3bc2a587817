//! Trials, as the platform's admins give and end them.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::billing::trial;
use crate::error::{Error, Result};
use crate::http::control::subscription::{SubscriptionBody, described};
use crate::http::extract::{Json, Path};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;

/// Either `until` or `days`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "days": 14 }))]
pub struct StartTrial {
    until: Option<DateTime<Utc>>,
    /// From now on.
    #[schema(minimum = 1, maximum = 730)]
    days: Option<u32>,
}

impl StartTrial {
    fn end(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        match (self.until, self.days) {
            (Some(until), None) => Ok(until),
            (None, Some(days)) if (1..=730).contains(&days) => {
                Ok(now + TimeDelta::days(days.into()))
            }
            (None, Some(_)) => {
                Err(Error::invalid("days", "invalid_value", "`days` must be 1 to 730"))
            }
            _ => Err(Error::invalid("until", "invalid_value", "Give either `until` or `days`")),
        }
    }
}

/// Give a workspace a trial, or another end to the one that it has: it is free of charge until then.
#[utoipa::path(
    post, path = "/control/v1/admin/workspaces/{workspaceId}/trial", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = StartTrial,
    responses(
        (status = 200, description = "The workspace's subscription", body = SubscriptionBody),
        (status = 409, description = "The workspace is deleted", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn start_trial(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<StartTrial>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let until = input.end(tx.now())?;
    let owned = trial::start(&mut tx, &access, &id, until).await?;
    let body = described(&mut tx, &app.config.billing.currency, owned.workspace).await?;
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}

/// End a workspace's trial now: what comes after is charged.
#[utoipa::path(
    delete, path = "/control/v1/admin/workspaces/{workspaceId}/trial", tag = "platform",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses((status = 204, description = "It has ended"), Failures, Refusals),
)]
pub async fn end_trial(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<WorkspaceId>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    trial::end(&mut tx, &access, &id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
