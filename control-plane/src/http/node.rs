//! The surface for proxies: `authsome_shared::node` says what each call is.

use std::convert::Infallible;

use authsome_shared::id::{NodeId, PlatformId};
use authsome_shared::log::LogBatch;
use authsome_shared::node::Ack;
use authsome_shared::usage::{Applied, MAX_BATCH_BYTES};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::extract::{ClientAddress, Json, Query};
use super::session::Node;
use crate::app::App;
use crate::applications::log;
use crate::distribution::{self, Follower, Subscription};
use crate::error::{Error, Result};
use crate::metering::apply;
use crate::metering::batch::Batch;
use crate::proxies;

pub fn router(stop: &CancellationToken) -> Router<App> {
    Router::new()
        .route("/node/v1/snapshot", get(snapshot))
        .route("/node/v1/stream", get(stream))
        .route("/node/v1/ack", post(ack))
        .route("/node/v1/usage", post(usage))
        .route("/node/v1/logs", post(logs))
        .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES * 2))
        .layer(Extension(stop.clone()))
}

/// The whole configuration.
async fn snapshot(_: Node, State(app): State<App>) -> Result<Response> {
    let mut tx = app.db.read().await?;
    let snapshot = distribution::snapshot(&mut tx).await?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((headers, snapshot.bytes).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StreamParams {
    node: String,
    #[serde(default)]
    revision: u64,
    platform: Option<String>,
}

/// The changes since a revision, and on.
async fn stream(
    _: Node,
    State(app): State<App>,
    Extension(stop): Extension<CancellationToken>,
    Query(params): Query<StreamParams>,
) -> Result<Response> {
    let node: NodeId =
        params.node.parse().map_err(|error| Error::invalid("node", "invalid_value", error))?;
    let platform = params.platform.and_then(|text| text.parse::<PlatformId>().ok());
    let revision = i64::try_from(params.revision)
        .map_err(|error| Error::invalid("revision", "invalid_value", error))?;
    let subscription = Subscription { node, platform, revision };
    let frames = Follower::start(&app, subscription, stop.child_token());
    let lines = ReceiverStream::new(frames).map(|frame| {
        let mut line = serde_json::to_vec(&frame).expect("a frame is JSON");
        line.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// What a proxy has applied.
async fn ack(
    _: Node,
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(ack): Json<Ack>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    proxies::report(&mut tx, &ack, &address.to_string()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A batch of usage records.
async fn usage(_: Node, State(app): State<App>, body: Bytes) -> Result<Json<Applied>> {
    let read = tokio::task::spawn_blocking(move || Batch::read(body.into()));
    let answered = app.intake.put(read.await.map_err(Error::internal)??);
    // Apart from this request: a proxy that goes away must not take others' batches with it.
    tokio::spawn(async move { take_turn(&app).await });
    Ok(Json(answered.await.map_err(Error::internal)??))
}

/// Applies the batches that have come in, all in one transaction. Where that fails, each is tried
/// by itself, so that none fails for another's sake.
async fn take_turn(app: &App) {
    let (_turn, batches, answers) = app.intake.take().await;
    let mut applied = vec![];
    match apply_all(app, &batches).await {
        Ok(all) => applied.extend(all.into_iter().map(Ok)),
        Err(error) if batches.len() == 1 => applied.push(Err(error)),
        Err(_) => {
            for batch in batches.chunks(1) {
                applied.push(apply_all(app, batch).await.map(|mut one| one.remove(0)));
            }
        }
    }
    for (answer, applied) in answers.into_iter().zip(applied) {
        // Nobody may be there any more; what is applied stays applied.
        let _ = answer.send(applied);
    }
}

async fn apply_all(app: &App, batches: &[Batch]) -> Result<Vec<Applied>> {
    if batches.is_empty() {
        return Ok(vec![]);
    }
    let mut tx = app.db.write().await?;
    let applied = apply::apply(&mut tx, batches).await?;
    tx.commit().await?;
    Ok(applied)
}

/// Lines for the logs of applications.
async fn logs(_: Node, State(app): State<App>, body: Bytes) -> Result<StatusCode> {
    let batch: LogBatch = serde_json::from_slice(&body)
        .map_err(|error| Error::invalid("body", "invalid_json", error))?;
    let mut tx = app.db.write().await?;
    log::take(&mut tx, &batch).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
