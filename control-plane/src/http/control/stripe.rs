//! Webhooks of Stripe, the collector. No session: Stripe shows who it is by its signature.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::billing::stripe::event;
use crate::http::extract::read_body;
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures};

pub const PATH: &str = "/control/v1/webhooks/stripe";

/// Said to Stripe, so that it does not send the event again.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventReceived {
    #[schema(example = true)]
    received: bool,
}

/// Receive an event from Stripe. It is kept, and what it is about is looked at soon after.
#[utoipa::path(
    post, path = "/control/v1/webhooks/stripe", tag = "billing",
    params(("Stripe-Signature" = Option<String>, Header,
        description = "Time and signatures, as Stripe makes them")),
    request_body(content = Object, description = "An event of Stripe's",
        example = json!({
            "id": "evt_1Pgc76B7WZ01zgkWwyRHS12y", "object": "event", "type": "invoice.paid",
            "data": { "object": { "id": "in_1Pgc6tB7WZ01zgkWu9fdqL6I", "object": "invoice" } },
        })),
    responses(
        (status = 200, description = "It is known, now or before", body = EventReceived),
        (status = 501, description = "Stripe is not configured", body = ErrorBody),
        Failures,
    ),
)]
pub async fn receive_stripe_webhook(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let body = read_body(body).await?;
    receive(&app, &headers, &body).await.map_err(IntoResponse::into_response)
}

async fn receive(app: &App, headers: &HeaderMap, body: &[u8]) -> crate::error::Result<Response> {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let told = event::read(app.stripe()?, signature, body, app.clock.now().timestamp())?;
    let mut tx = idempotency::begin(app).await?;
    event::receive(&mut tx, &told).await?;
    idempotency::answer(tx, app, StatusCode::OK, EventReceived { received: true }).await
}
