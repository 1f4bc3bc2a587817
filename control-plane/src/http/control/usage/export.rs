//! A month's usage as a table for spreadsheets: in parts, or what it costs item by item.

use authsome_shared::id::{ApplicationId, WorkspaceId};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::breakdown::asked;
use crate::actor::Permission;
use crate::app::App;
use crate::billing::estimate;
use crate::billing::money::{Currency, MICROS};
use crate::billing::price::Line;
use crate::error::Result;
use crate::http::csv;
use crate::http::extract::{Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::metering::breakdown::{self, Asked, By, Part};
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
    by: ExportBy,
    /// Only this application's.
    application_id: Option<ApplicationId>,
}

/// What a table has a row for.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportBy {
    #[default]
    Application,
    Key,
    Route,
    /// Each line of what the month costs, as its invoice would say today.
    Item,
}

/// A decimal from its millionths, with the digits it needs.
fn decimal(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, part) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let text = format!("{sign}{whole}.{part:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Export a month's usage by application, key, route or item, all of it as of one moment.
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
    let (way, by) = match by {
        ExportBy::Application => ("application", Some(By::Application)),
        ExportBy::Key => ("key", Some(By::Key)),
        ExportBy::Route => ("route", Some(By::Route)),
        ExportBy::Item => ("item", None),
    };
    let asked = asked(period, by.unwrap_or_default(), application_id)?;
    let text = match by {
        Some(_) => parts(&asked, breakdown::all(&mut tx, &access, &asked).await?),
        None => {
            let settings = &app.config.billing;
            let estimate = estimate::of(&mut tx, settings, &access, period).await?;
            items(period, &settings.currency, &estimate.bill.lines)
        }
    };
    drop(tx);
    let disposition = format!("attachment; filename=\"usage-{id}-{period}-by-{way}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, text).into_response())
}

fn parts(asked: &Asked, parts: Vec<Part>) -> String {
    let by = asked.by;
    let before: &[&str] = &["period", "application", "applicationName"];
    let own: &[&str] = match by {
        By::Application => &[],
        By::Key => &["key", "keyName"],
        By::Route => &["route"],
    };
    let numbers: &[&str] = &["requests", "units", "errors", "bytesIn", "bytesOut"];
    let more: &[&str] = match by {
        By::Application => &["activeUsers", "storageBytes", "storageGbMonths"],
        By::Key | By::Route => &[],
    };
    let mut text = csv::line(&[before, own, numbers, more].concat());
    for part in parts {
        text += &csv::line(&cells(asked.period, by, part));
    }
    text
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

fn items(period: Period, currency: &Currency, lines: &[Line]) -> String {
    let mut text = csv::line(&[
        "period",
        "item",
        "description",
        "from",
        "to",
        "quantity",
        "unitPrice",
        "amount",
        "currency",
    ]);
    for line in lines {
        let scale = MICROS / currency.minor_units();
        let amount = decimal(line.amount.saturating_mul(scale));
        text += &csv::line(&[
            period.to_string(),
            line.item.clone(),
            line.description.clone(),
            line.starts_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            line.ends_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            line.quantity.map(decimal).unwrap_or_default(),
            line.unit_micros.map(decimal).unwrap_or_default(),
            amount,
            currency.to_string(),
        ]);
    }
    text
}
