//! The HTTP surfaces over the domains: `control` for the dashboard's users, `ingest` for the
//! operator's own reports, `node` for proxies, and the probes. Handlers extract, open a transaction,
//! call the domain, commit, respond; they know no SQL and make no rules.

pub mod control;
mod cookie;
mod cors;
mod csv;
mod docs;
pub mod error;
mod extract;
mod idempotency;
mod ingest;
mod layers;
mod limits;
mod metrics;
mod node;
mod openapi;
mod probe;
mod session;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// Everything that the control plane answers. `stop` ends the proxies' streams at shutdown.
pub fn router(app: &App, stop: &CancellationToken) -> Router {
    let (control, description) = documented();
    let control = control
        .layer(from_fn_with_state(app.clone(), idempotency::layer))
        .layer(from_fn_with_state(app.clone(), limits::layer))
        .layer(cors::layer(&app.config));
    Router::new()
        .merge(control)
        .merge(openapi::router(&description))
        .merge(docs::router(&description))
        .merge(node::router(stop))
        .merge(probe::router())
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn(layers::finish))
        .with_state(app.clone())
}

/// The API's description, as served at `/control/v1/openapi.json`.
pub fn description() -> utoipa::openapi::OpenApi {
    documented().1
}

fn documented() -> (Router<App>, utoipa::openapi::OpenApi) {
    let (router, mut description) = OpenApiRouter::with_openapi(openapi::base())
        .merge(control::router())
        .merge(ingest::router())
        .split_for_parts();
    idempotency::describe(&mut description);
    limits::describe(&mut description);
    openapi::complete(&mut description);
    (router, description)
}
