//! Events: what customers are told of, each written in the transaction that makes it happen, so that
//! there is never one without the other. Below all domains. Bringing them to those who subscribed
//! is for `webhooks`.

mod kind;

use authsome_shared::id::{ApplicationId, EventId, WorkspaceId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::db::{Topic, Tx};
use crate::{execute, fetch_all, fetch_optional};
pub use kind::EventType;

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Told to all applications of the workspace.
    Workspace(&'a WorkspaceId),
    /// Told to the application alone.
    Application(&'a WorkspaceId, &'a ApplicationId),
}

/// The text that receivers get.
#[derive(Serialize)]
struct Body {
    event: EventType,
    timestamp: DateTime<Utc>,
    data: Value,
}

/// Writes an event. It goes out once the transaction has committed.
pub async fn emit(
    tx: &mut Tx,
    kind: EventType,
    subject: Subject<'_>,
    data: Value,
) -> sqlx::Result<EventId> {
    insert(tx, kind, subject, data, None).await
}

/// Writes an event that goes nowhere by itself: the caller makes its delivery.
pub async fn emit_aside(
    tx: &mut Tx,
    kind: EventType,
    subject: Subject<'_>,
    data: Value,
) -> sqlx::Result<EventId> {
    let now = tx.now();
    insert(tx, kind, subject, data, Some(now)).await
}

async fn insert(
    tx: &mut Tx,
    kind: EventType,
    subject: Subject<'_>,
    data: Value,
    dispatched_at: Option<DateTime<Utc>>,
) -> sqlx::Result<EventId> {
    let id = EventId::new();
    let now = tx.now();
    let body = Body { event: kind, timestamp: now, data };
    let body = serde_json::to_string(&body).expect("a type, a time and JSON are JSON");
    let (workspace, application) = match subject {
        Subject::Workspace(workspace) => (workspace, None),
        Subject::Application(workspace, application) => (workspace, Some(application)),
    };
    execute!(
        tx,
        sqlx::query(
            "insert into events \
             (id, workspace_id, application_id, type, body, created_at, dispatched_at) \
             values ($1, $2, $3, $4, $5, $6, $7)"
        )
        .bind(&id)
        .bind(workspace)
        .bind(application)
        .bind(kind.as_str())
        .bind(body)
        .bind(now)
        .bind(dispatched_at)
    )?;
    tx.wake(Topic::Events);
    Ok(id)
}

/// Are there events of which no deliveries were made yet?
pub async fn are_waiting(tx: &mut Tx) -> sqlx::Result<bool> {
    let found: Option<(EventId,)> = fetch_optional!(
        tx,
        sqlx::query_as("select id from events where dispatched_at is null limit 1")
    )?;
    Ok(found.is_some())
}

/// An event of which no deliveries were made yet.
#[derive(Debug, sqlx::FromRow)]
pub struct Undispatched {
    pub id: EventId,
    pub workspace_id: WorkspaceId,
    pub application_id: Option<ApplicationId>,
    #[sqlx(rename = "type")]
    pub kind: String,
}

/// Takes up to `limit` events of which no deliveries were made yet, oldest first; the caller makes
/// them in this transaction.
pub async fn take(tx: &mut Tx, limit: i64) -> sqlx::Result<Vec<Undispatched>> {
    let select = format!(
        "select id, workspace_id, application_id, type from events where dispatched_at is null \
         order by id limit $1{}",
        tx.for_update()
    );
    let taken: Vec<Undispatched> =
        fetch_all!(tx, sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(limit))?;
    let now = tx.now();
    for event in &taken {
        execute!(
            tx,
            sqlx::query("update events set dispatched_at = $1 where id = $2")
                .bind(now)
                .bind(&event.id)
        )?;
    }
    Ok(taken)
}

/// Forgets what was dispatched before `before` and is on its way to nobody.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    execute!(
        tx,
        sqlx::query(
            "delete from events where created_at < $1 and dispatched_at is not null and not exists \
             (select 1 from webhook_deliveries where webhook_deliveries.event_id = events.id)"
        )
        .bind(before)
    )
}
