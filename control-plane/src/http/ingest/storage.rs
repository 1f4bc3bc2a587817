//! Reports of what applications store.

use authsome_shared::id::ApplicationId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::Result;
use crate::http::extract::Json;
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures};
use crate::http::session::Ingest;
use crate::metering::storage::{self, Report, Taken};

/// What applications store, at instants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "reports": [
    { "applicationId": "app_0352BzK1sipBK5mYlLMDcU", "bytes": 5_368_709_120_u64,
      "at": "2026-01-15T09:30:00Z" },
] }))]
pub struct StorageReports {
    #[schema(min_items = 1, max_items = 1000)]
    reports: Vec<StorageReport>,
    /// Let reports take the place of others that were given for the same instant.
    #[serde(default)]
    replace: bool,
}

/// So many bytes, from that instant until the application's next report.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StorageReport {
    application_id: ApplicationId,
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    bytes: u64,
    /// At most 35 days ago and 5 minutes ahead; now, when absent.
    at: Option<DateTime<Utc>>,
}

impl From<StorageReport> for Report {
    fn from(report: StorageReport) -> Self {
        let StorageReport { application_id, bytes, at } = report;
        Self { application_id, bytes, at }
    }
}

/// What became of a batch of reports.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "accepted": 1, "unchanged": 0, "ignored": 0 }))]
pub struct StorageTaken {
    /// Counted.
    accepted: u64,
    /// Given before.
    unchanged: u64,
    /// Of times at which the application was deleted.
    ignored: u64,
}

/// Report what applications store. The same report, sent again, changes nothing.
#[utoipa::path(
    post, path = "/control/v1/ingest/storage", tag = "ingest",
    security(("ingest" = []), ("bearer" = [])), request_body = StorageReports,
    responses(
        (status = 200, description = "All were taken", body = StorageTaken),
        (status = 401, description = "Neither the ingest token nor a session", body = ErrorBody),
        (status = 403, description = "No admin of the platform", body = ErrorBody),
        (status = 409, description = "Another figure was reported for the same instant",
         body = ErrorBody),
        Failures,
    ),
)]
pub async fn report_storage(
    State(app): State<App>,
    ingest: Ingest,
    Json(input): Json<StorageReports>,
) -> Result<Response> {
    let reports = input.reports.into_iter().map(Into::into).collect();
    let mut tx = idempotency::begin(&app).await?;
    let taken = storage::take(&mut tx, reports, input.replace).await?;
    let Taken { accepted, unchanged, ignored, replaced } = taken;
    if replaced > 0 {
        // What was counted before is what the ledger of reports held; a change of it is one.
        let entry = ingest.audit("storage.corrected").on("storage", "reports");
        tx.audit(entry.after(json!({ "replaced": replaced })));
    }
    let body = StorageTaken { accepted, unchanged, ignored };
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}
