//! Probes: `/health` (the process runs), `/ready` (it can do its work), `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;

use super::extract::Json;
use super::metrics;
use crate::app::App;
use crate::error::Result;
use crate::platform;

pub fn router() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(serve_metrics))
}

async fn health() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// Ready means: the database answers.
async fn ready(State(app): State<App>) -> Result<impl IntoResponse> {
    let mut tx = app.db.read().await?;
    let (_, revision) = platform::head(&mut tx).await?;
    Ok(Json(json!({ "status": "ready", "revision": revision })))
}

async fn serve_metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&app.db).await)
}
