//! An application's log.

use authsome_shared::id::ApplicationId;
use authsome_shared::log::Level;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::applications::{self, log};
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;

/// The newest lines that match, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsBody {
    logs: Vec<LogLineBody>,
    /// Lines that match, whether answered or not.
    #[schema(example = 100)]
    total: i64,
    /// More lines match than are answered.
    has_more: bool,
}

/// One line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "timestamp": "2026-03-10T10:30:00Z", "level": "error",
    "message": "GET /users answered 502: No connection to http://10.0.0.7:3000 could be made.",
    "fields": {
        "requestId": "req_0Fh3ZqTz8Yb1cKx5WmN2vR", "status": 502, "cause": "upstream_connect",
    },
}))]
struct LogLineBody {
    timestamp: DateTime<Utc>,
    level: Level,
    message: String,
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogsParams {
    /// Lines from then on, RFC 3339.
    #[serde(default, deserialize_with = "instant")]
    #[param(example = "2026-03-10T10:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// Number of lines, the newest; cut to 1000.
    #[serde(default = "default_tail")]
    #[param(minimum = 0, default = 100)]
    tail: u64,
    /// Lines of exactly this level.
    level: Option<Level>,
}

/// An RFC 3339 time, also with its `+` written as it is, which a query means for a space.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let zone = text.rfind(' ').filter(|at| *at > "2026-03-10".len());
    let text = match zone {
        Some(at) => format!("{}+{}", &text[..at], &text[at + 1..]),
        None => text,
    };
    let at = DateTime::parse_from_rfc3339(&text).map_err(|_| {
        D::Error::custom("it must be a time of RFC 3339, such as 2026-03-10T10:00:00Z")
    })?;
    Ok(Some(at.to_utc()))
}

fn default_tail() -> u64 {
    log::DEFAULT_TAIL
}

/// Get an application's log: its own life (`info`, `warn`, `error`), requests that failed (`error`)
/// or were refused (`warn`), and a sample of the others (`debug`).
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}/logs", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path), LogsParams),
    responses((status = 200, description = "The lines", body = LogsBody), Failures, Refusals),
)]
pub async fn get_application_logs(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Query(params): Query<LogsParams>,
) -> Result<Json<LogsBody>> {
    let LogsParams { since, tail, level } = params;
    let mut tx = app.db.read().await?;
    let (access, _) =
        applications::open_any(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let wanted = log::Wanted { since, level, tail };
    let log::Found { lines, total } = log::read(&mut tx, &access, &id, wanted).await?;
    let logs: Vec<LogLineBody> = lines
        .into_iter()
        .map(|log::Line { at, level, message, fields }| LogLineBody {
            timestamp: at,
            level,
            message,
            fields: fields.0,
        })
        .collect();
    let has_more = i64::try_from(logs.len()).is_ok_and(|shown| shown < total);
    Ok(Json(LogsBody { logs, total, has_more }))
}
