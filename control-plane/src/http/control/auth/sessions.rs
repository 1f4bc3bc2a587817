//! Where the account is signed in.

use authsome_shared::id::SessionId;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::audit::Entry;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::identity::session::{self, Overview};
use crate::page::{Page, PageParams};

/// A session that stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionBody {
    id: SessionId,
    /// The one that asks.
    current: bool,
    /// `password`, or the identity provider's id.
    #[schema(example = "password")]
    method: String,
    /// The client's address at sign-in.
    #[schema(example = "203.0.113.7")]
    address: String,
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64)")]
    user_agent: Option<String>,
    created_at: DateTime<Utc>,
    /// To a few seconds.
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl SessionBody {
    fn new(session: Overview, current: &SessionId) -> Self {
        let Overview { id, method, address, user_agent, created_at, last_seen_at, expires_at } =
            session;
        let current = id == *current;
        Self { id, current, method, address, user_agent, created_at, last_seen_at, expires_at }
    }
}

/// List the account's sessions, the newest first.
#[utoipa::path(
    get, path = "/control/v1/auth/sessions", tag = "auth", security(("bearer" = [])),
    params(PageParams),
    responses(
        (status = 200, description = "The sessions", body = Page<SessionBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_sessions(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<SessionBody>>> {
    let mut tx = app.db.read().await?;
    let sessions = session::list(&mut tx, &actor.user_id, page).await?;
    Ok(Json(sessions.map(|session| SessionBody::new(session, &actor.session_id))))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Path)]
pub struct SessionPath {
    session_id: SessionId,
}

/// End a session: its tokens stop working at once.
#[utoipa::path(
    delete, path = "/control/v1/auth/sessions/{sessionId}", tag = "auth",
    security(("bearer" = [])), params(SessionPath),
    responses((status = 204, description = "Ended"), Failures, Refusals),
)]
pub async fn revoke_session(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(path): Path<SessionPath>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    session::revoke_one(&mut tx, &actor, &path.session_id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all sessions but the one that asks.
#[utoipa::path(
    delete, path = "/control/v1/auth/sessions", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "Ended"), Failures, Refusals),
)]
pub async fn revoke_other_sessions(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    let entry = Entry::by(&actor, "session.revoked");
    session::revoke_all(&mut tx, &actor.user_id, Some(&actor.session_id), &entry).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
