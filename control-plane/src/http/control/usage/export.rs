//! A month's usage as a table for spreadsheets.

use authsome_shared::id::{ApplicationId, WorkspaceId};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::breakdown::asked;
use super::decimal;
use crate::actor::Permission;
use crate::app::App;
use crate::error::Result;
use crate::http::csv;
use crate::http::extract::{Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::breakdown::{self, By, Part};
use crate::metering::usage::Period;
use crate::workspaces;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ExportUsage {
    /// `YYYY-MM`; the current month when absent.
    #[param(example = "2026-01", pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$")]
    period: Option<String>,
    #[serde(default)]
    #[param(inline)]
    by: By,
    /// Only this application's.
    application_id: Option<ApplicationId>,
}

/// Export a month's usage by application, key or route, all of it as of one moment.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/usage/export", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), ExportUsage),
    responses(
        (status = 200, description = "The table", content_type = "text/csv", body = String),
        Failures, Refusals,
    ),
)]
pub async fn export_usage(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<ExportUsage>,
) -> Result<Response> {
    let ExportUsage { period, by, application_id } = params;
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    let period = Period::asked(period.as_deref(), tx.now())?;
    let parts = breakdown::all(&mut tx, &access, &asked(period, by, application_id)?).await?;
    drop(tx);
    let mut text = csv::line(&[COMMON_BEFORE, own_columns(by), COMMON_AFTER, more(by)].concat());
    for part in parts {
        text += &csv::line(&cells(period, by, part));
    }
    let way = match by {
        By::Application => "application",
        By::Key => "key",
        By::Route => "route",
    };
    let disposition = format!("attachment; filename=\"usage-{id}-{period}-by-{way}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, text).into_response())
}

const COMMON_BEFORE: &[&str] = &["period", "application", "applicationName"];

const COMMON_AFTER: &[&str] = &["requests", "units", "errors", "bytesIn", "bytesOut"];

fn own_columns(by: By) -> &'static [&'static str] {
    match by {
        By::Application => &[],
        By::Key => &["key", "keyName"],
        By::Route => &["route"],
    }
}

fn more(by: By) -> &'static [&'static str] {
    match by {
        By::Application => &["activeUsers", "storageBytes", "storageGbMonths"],
        By::Key | By::Route => &[],
    }
}

fn cells(period: Period, by: By, part: Part) -> Vec<String> {
    let text = Option::unwrap_or_default;
    let mut cells =
        vec![period.to_string(), text(part.application_id), text(part.application_name)];
    match by {
        By::Application => {}
        By::Key => cells.extend([text(part.key_id), text(part.key_name)]),
        By::Route => cells.push(text(part.route)),
    }
    let usage = part.usage;
    let numbers = [usage.requests, usage.units, usage.errors, usage.bytes_in, usage.bytes_out];
    cells.extend(numbers.map(|number| number.to_string()));
    if by == By::Application {
        let stored = part.storage.unwrap_or_default();
        cells.extend([
            part.active_users.unwrap_or_default().to_string(),
            stored.bytes.to_string(),
            decimal(stored.gb_months),
        ]);
    }
    cells
}
