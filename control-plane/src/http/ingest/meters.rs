//! Events of meters.

use authsome_shared::id::{ApplicationId, WorkspaceId};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};

use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures};
use crate::http::session::Ingest;
use crate::metering::meter;
use crate::metering::meter::event::{self, Conflict, NewEvent, Taken};
use crate::metering::meter::quantity::Written;

/// What was used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "events": [
    { "id": "job-7731", "workspaceId": "ws_0352BzK1sipBK5mYlLMDcU",
      "applicationId": "app_0352BzK1sipBK5mYlLMDcU", "at": "2026-01-15T09:30:00Z",
      "value": "0.25" },
] }))]
pub struct MeterEvents {
    #[schema(min_items = 1, max_items = 1000)]
    events: Vec<MeterEvent>,
}

/// Something that was used, told once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MeterEvent {
    /// The sender's own: of a meter each counts once, for good.
    #[schema(min_length = 1, max_length = 100)]
    id: String,
    workspace_id: WorkspaceId,
    /// Of the same workspace.
    application_id: Option<ApplicationId>,
    /// At most 5 minutes ahead; now, when absent. It counts in the month of this time.
    at: Option<DateTime<Utc>>,
    /// From 0 to 10^12 with up to 6 decimals, as a number or as a text. Not of a meter that counts
    /// distinct keys; 1, when absent, of one that adds up.
    #[serde(default, deserialize_with = "written")]
    #[schema(schema_with = value_schema)]
    value: Option<Written>,
    /// What is counted once a month, of a meter that counts distinct keys; of no other.
    #[schema(min_length = 1, max_length = 200)]
    key: Option<String>,
}

fn value_schema() -> Schema {
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .pattern(Some(r"^[0-9]{1,12}(\.[0-9]{1,6})?$"))
        .examples(["0.25"]);
    let number = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0))
        .maximum(Some(1_000_000_000_000_i64));
    let words = "From 0 to 10^12 with up to 6 decimals, as a number or as a text. Not of a meter \
         that counts distinct keys; 1, when absent, of one that adds up.";
    OneOfBuilder::new().item(text).item(number).description(Some(words)).into()
}

/// What is there is read as it was written; `null` is what is absent.
fn written<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Written>, D::Error> {
    let written = Written::deserialize(from)?;
    Ok((written.0 != "null").then_some(written))
}

impl From<MeterEvent> for NewEvent {
    fn from(event: MeterEvent) -> Self {
        let MeterEvent { id, workspace_id, application_id, at, value, key } = event;
        Self { id, workspace_id, application_id, at, value, key }
    }
}

/// What became of a batch of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "accepted": 1, "duplicates": 1, "conflicts": [{ "index": 2, "id": "job-7731" }],
}))]
pub struct MeterEventsTaken {
    /// Counted.
    accepted: u64,
    /// Counted before.
    duplicates: u64,
    /// Not counted: their ids were taken by events that said something else.
    conflicts: Vec<MeterEventConflict>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MeterEventConflict {
    /// Its place among the events sent, from 0.
    index: usize,
    id: String,
}

impl From<Taken> for MeterEventsTaken {
    fn from(taken: Taken) -> Self {
        let Taken { accepted, duplicates, conflicts } = taken;
        let conflict = |Conflict { index, id }| MeterEventConflict { index, id };
        Self { accepted, duplicates, conflicts: conflicts.into_iter().map(conflict).collect() }
    }
}

/// Send events of a meter. Each id counts once, whenever and however often it comes.
#[utoipa::path(
    post, path = "/control/v1/ingest/meters/{meter}/events", tag = "ingest",
    security(("ingest" = []), ("bearer" = [])),
    params(("meter" = String, Path, description = "The meter's name", example = "gpu_hours")),
    request_body = MeterEvents,
    responses(
        (status = 200, description = "All that are new were counted", body = MeterEventsTaken),
        (status = 401, description = "Neither the ingest token nor a session", body = ErrorBody),
        (status = 403, description = "No admin of the platform", body = ErrorBody),
        (status = 404, description = "There is no such meter", body = ErrorBody),
        (status = 409, description = "The meter is archived", body = ErrorBody),
        Failures,
    ),
)]
pub async fn send_meter_events(
    State(app): State<App>,
    _: Ingest,
    Path(name): Path<String>,
    Json(input): Json<MeterEvents>,
) -> Result<Response> {
    let events = input.events.into_iter().map(Into::into).collect();
    let mut tx = idempotency::begin(&app).await?;
    let meter = meter::get(&mut tx, &name).await?;
    let taken = event::take(&mut tx, &meter, events).await?;
    idempotency::answer(tx, &app, StatusCode::OK, MeterEventsTaken::from(taken)).await
}
