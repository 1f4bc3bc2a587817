//! The audit log: listed, filtered and exported.

use authsome_shared::id::{AuditEntryId, WorkspaceId};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::audit::ActorKind;
use crate::audit::chain::Row;
use crate::audit::log::{self, Filter, Log};
use crate::error::{Error, Result};
use crate::http::csv;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::{PlatformAdmin, SignedIn};
use crate::page::{self, Page, PageParams};
use crate::workspaces;

/// Who acted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "type": "user", "id": "usr_01jd3Zq8", "email": "ada@example.com" }))]
pub struct AuditActor {
    #[serde(rename = "type")]
    kind: ActorKind,
    /// A user's id, or the part of the platform.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

/// What was changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "type": "key", "id": "key_01jd3Zq8" }))]
pub struct AuditResource {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

/// One change. Its hash covers all of it and the hash of the entry before.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntryBody {
    id: AuditEntryId,
    /// The log: the workspace's id, or `platform`.
    chain: String,
    /// From 1, without gaps.
    sequence: i64,
    /// With microseconds, as hashed.
    #[schema(value_type = DateTime<Utc>)]
    created_at: String,
    #[schema(example = "key.created")]
    action: String,
    actor: AuditActor,
    resource: AuditResource,
    /// What changed, as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// What changed, as it is since.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "203.0.113.7")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Empty for the first entry.
    previous_hash: String,
    /// SHA-256 in hex.
    hash: String,
}

fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn state(text: Option<String>) -> Option<Value> {
    // What we wrote ourselves is JSON; what somebody else put there is shown as text.
    text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

impl From<Row> for AuditEntryBody {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            chain: row.chain,
            sequence: row.sequence,
            created_at: timestamp(row.created_at),
            action: row.action,
            actor: AuditActor { kind: row.actor_kind, id: row.actor_id, email: row.actor_email },
            resource: AuditResource { kind: row.resource_type, id: row.resource_id },
            before: state(row.before_state),
            after: state(row.after_state),
            address: row.address,
            request_id: row.request_id,
            previous_hash: row.previous_hash,
            hash: row.hash,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListAudit {
    /// A user's id or e-mail address, or a part of the platform, such as `provisioner`.
    actor: Option<String>,
    /// Whole (`key.created`), or all that begin alike (`key.*`).
    #[param(example = "key.*")]
    action: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    /// From then on, RFC 3339.
    since: Option<DateTime<Utc>>,
    /// Before then, RFC 3339.
    until: Option<DateTime<Utc>>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

impl ListAudit {
    fn split(self) -> Result<(Filter, PageParams)> {
        let Self { actor, action, resource_type, resource_id, since, until, page, page_size } =
            self;
        for (field, text) in [
            ("actor", &actor),
            ("action", &action),
            ("resourceType", &resource_type),
            ("resourceId", &resource_id),
        ] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                let message = format!("`{field}` must not hold a NUL character");
                return Err(Error::invalid(field, "invalid_value", message));
            }
        }
        let filter = Filter { actor, action, resource_type, resource_id, since, until };
        Ok((filter, PageParams { page, page_size }))
    }
}

/// List a workspace's changes, newest first.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/audit", tag = "audit",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), ListAudit),
    responses(
        (status = 200, description = "A page", body = Page<AuditEntryBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_audit(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<ListAudit>,
) -> Result<Json<Page<AuditEntryBody>>> {
    let (filter, page) = params.split()?;
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewAudit).await?;
    let page = log::list(&mut tx, &Log::of(&access), &filter, page).await?;
    Ok(Json(page.map(Into::into)))
}

/// List the changes that belong to no workspace, such as sign-ins and plans, newest first.
#[utoipa::path(
    get, path = "/control/v1/admin/audit", tag = "platform", security(("bearer" = [])),
    params(ListAudit),
    responses(
        (status = 200, description = "A page", body = Page<AuditEntryBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_platform_audit(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(params): Query<ListAudit>,
) -> Result<Json<Page<AuditEntryBody>>> {
    let (filter, page) = params.split()?;
    let mut tx = app.db.read().await?;
    let page = log::list(&mut tx, &Log::of_platform(), &filter, page).await?;
    Ok(Json(page.map(Into::into)))
}

/// How an export is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// An entry a line, with all that its hash covers.
    #[default]
    Ndjson,
    /// For spreadsheets.
    Csv,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportAudit {
    #[serde(default)]
    #[param(inline)]
    format: ExportFormat,
}

/// Export a workspace's whole audit log, oldest first.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/audit/export", tag = "audit",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), ExportAudit),
    responses(
        (status = 200, description = "The log", content(
            (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        Failures, Refusals,
    ),
)]
pub async fn export_audit(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(ExportAudit { format }): Query<ExportAudit>,
) -> Result<Response> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewAudit).await?;
    drop(tx);
    let (content_type, extension) = match format {
        ExportFormat::Ndjson => ("application/x-ndjson", "ndjson"),
        ExportFormat::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let disposition = format!("attachment; filename=\"audit-{id}.{extension}\"");
    let headers = [
        (header::CONTENT_TYPE, content_type.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    let body = Body::from_stream(chunks(app, Log::of(&access), format));
    Ok((headers, body).into_response())
}

/// Entries read at once for an export.
const BATCH: i64 = 500;

/// The export in pieces, so that no log is too long for memory. One that can't be read to its end
/// breaks the transfer off, which the client sees.
fn chunks(app: App, log: Log, format: ExportFormat) -> impl Stream<Item = Result<String>> {
    let start = match format {
        ExportFormat::Ndjson => String::new(),
        ExportFormat::Csv => csv::line(&COLUMNS),
    };
    stream::try_unfold(Some((start, 0)), move |state| {
        let (app, log) = (app.clone(), log.clone());
        async move {
            let Some((mut text, after)) = state else { return Ok(None) };
            let mut tx = app.db.read().await?;
            let rows = log::after(&mut tx, &log, after, BATCH).await?;
            let next = rows.last().map(|row| (String::new(), row.sequence));
            for row in rows {
                match format {
                    ExportFormat::Ndjson => {
                        text += &serde_json::to_string(&Exported::from(row))
                            .map_err(Error::internal)?;
                        text.push('\n');
                    }
                    ExportFormat::Csv => text += &csv::line(&cells(row)),
                }
            }
            Ok(Some((text, next)))
        }
    })
}

/// A line of the export: the stored fields, so that the hash can be computed from them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    chain: String,
    sequence: i64,
    id: AuditEntryId,
    created_at: String,
    actor_type: ActorKind,
    actor_id: String,
    actor_email: Option<String>,
    address: Option<String>,
    request_id: Option<String>,
    action: String,
    resource_type: String,
    resource_id: String,
    /// JSON in a text: its bytes are hashed.
    before: Option<String>,
    after: Option<String>,
    previous_hash: String,
    hash: String,
}

impl From<Row> for Exported {
    fn from(row: Row) -> Self {
        Self {
            chain: row.chain,
            sequence: row.sequence,
            id: row.id,
            created_at: timestamp(row.created_at),
            actor_type: row.actor_kind,
            actor_id: row.actor_id,
            actor_email: row.actor_email,
            address: row.address,
            request_id: row.request_id,
            action: row.action,
            resource_type: row.resource_type,
            resource_id: row.resource_id,
            before: row.before_state,
            after: row.after_state,
            previous_hash: row.previous_hash,
            hash: row.hash,
        }
    }
}

const COLUMNS: [&str; 11] = [
    "sequence", "time", "actor", "email", "address", "request", "action", "resource", "before",
    "after", "hash",
];

fn cells(row: Row) -> [String; COLUMNS.len()] {
    [
        row.sequence.to_string(),
        timestamp(row.created_at),
        row.actor_id,
        row.actor_email.unwrap_or_default(),
        row.address.unwrap_or_default(),
        row.request_id.unwrap_or_default(),
        row.action,
        row.resource_id,
        row.before_state.unwrap_or_default(),
        row.after_state.unwrap_or_default(),
        row.hash,
    ]
}
