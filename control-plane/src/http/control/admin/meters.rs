//! Meters: what the operator counts besides what the proxies see.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::metering::meter::{self, Aggregation, Meter, MeterChange, NewMeter};
use crate::page::{Page, PageParams};

/// What is counted, and how.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "name": "gpu_hours", "label": "GPU time", "unit": "GPU hour", "aggregation": "sum",
    "archivedAt": null, "createdAt": "2026-01-15T09:30:00Z", "updatedAt": "2026-01-15T09:30:00Z",
}))]
pub struct MeterBody {
    /// What plans, events and invoices call it.
    name: String,
    label: String,
    /// Of what one is counted.
    unit: String,
    aggregation: Aggregation,
    /// It takes no more events since then.
    archived_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Meter> for MeterBody {
    fn from(meter: Meter) -> Self {
        let Meter { name, label, unit, aggregation, created_at, updated_at, archived_at } = meter;
        Self { name, label, unit, aggregation, archived_at, created_at, updated_at }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "gpu_hours", "label": "GPU time", "unit": "GPU hour", "aggregation": "sum",
}))]
pub struct CreateMeter {
    /// Never changes.
    #[schema(pattern = "^[a-z0-9_]{1,63}$")]
    name: String,
    #[schema(min_length = 1, max_length = 200)]
    label: String,
    #[schema(min_length = 1, max_length = 200)]
    unit: String,
    /// Never changes.
    aggregation: Aggregation,
}

/// Define a meter.
#[utoipa::path(
    post, path = "/control/v1/admin/meters", tag = "platform", security(("bearer" = [])),
    request_body = CreateMeter,
    responses(
        (status = 201, description = "The meter", body = MeterBody),
        (status = 409, description = "There is one of this name", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn create_meter(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Json(input): Json<CreateMeter>,
) -> Result<Response> {
    let CreateMeter { name, label, unit, aggregation } = input;
    let mut tx = idempotency::begin(&app).await?;
    let meter =
        meter::create(&mut tx, &access, NewMeter { name, label, unit, aggregation }).await?;
    idempotency::answer(tx, &app, StatusCode::CREATED, MeterBody::from(meter)).await
}

/// List the meters, archived ones too.
#[utoipa::path(
    get, path = "/control/v1/admin/meters", tag = "platform", security(("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A page", body = Page<MeterBody>), Failures, Refusals),
)]
pub async fn list_meters(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<MeterBody>>> {
    let mut tx = app.db.read().await?;
    let page = meter::list(&mut tx, &access, page).await?;
    Ok(Json(page.map(Into::into)))
}

/// Get a meter.
#[utoipa::path(
    get, path = "/control/v1/admin/meters/{meter}", tag = "platform", security(("bearer" = [])),
    params(("meter" = String, Path, description = "Its name", example = "gpu_hours")),
    responses((status = 200, description = "The meter", body = MeterBody), Failures, Refusals),
)]
pub async fn get_meter(
    State(app): State<App>,
    _: PlatformAdmin,
    Path(name): Path<String>,
) -> Result<Json<MeterBody>> {
    let mut tx = app.db.read().await?;
    let meter = meter::get(&mut tx, &name).await?;
    Ok(Json(meter.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "label": "GPU time", "unit": "GPU hour", "archived": false }))]
pub struct UpdateMeter {
    #[schema(min_length = 1, max_length = 200)]
    label: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    unit: Option<String>,
    /// Whether it takes no more events.
    archived: Option<bool>,
}

/// Name a meter anew, or have an archived one take events again.
#[utoipa::path(
    patch, path = "/control/v1/admin/meters/{meter}", tag = "platform", security(("bearer" = [])),
    params(("meter" = String, Path, description = "Its name", example = "gpu_hours")),
    request_body = UpdateMeter,
    responses((status = 200, description = "The meter", body = MeterBody), Failures, Refusals),
)]
pub async fn update_meter(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(name): Path<String>,
    Json(input): Json<UpdateMeter>,
) -> Result<Json<MeterBody>> {
    let UpdateMeter { label, unit, archived } = input;
    let mut tx = app.db.write().await?;
    let change = MeterChange { label, unit, archived };
    let meter = meter::change(&mut tx, &access, &name, change).await?;
    tx.commit().await?;
    Ok(Json(meter.into()))
}

/// Archive a meter: it takes no more events. What it has counted stays, and is charged.
#[utoipa::path(
    delete, path = "/control/v1/admin/meters/{meter}", tag = "platform", security(("bearer" = [])),
    params(("meter" = String, Path, description = "Its name", example = "gpu_hours")),
    responses((status = 204, description = "It is archived"), Failures, Refusals),
)]
pub async fn archive_meter(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    let change = MeterChange { archived: Some(true), ..MeterChange::default() };
    meter::change(&mut tx, &access, &name, change).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
