//! What every request passes: a request id, a log line, a caught panic, and the envelope around
//! whatever error comes back.

use std::any::Any;
use std::time::Instant;

use authsome_shared::code::Code;
use authsome_shared::id::RequestId;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::error::Description;

const REQUEST_ID: &str = "x-authsome-request-id";

/// Gives the request its id, logs it, and finishes errors.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    request.extensions_mut().insert(id.clone());

    let span = tracing::info_span!("request", id = %id);
    let mut response = next.run(request).instrument(span.clone()).await;

    if response.status().is_client_error() || response.status().is_server_error() {
        response = envelop(response, id.as_str());
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let micros = started.elapsed().as_micros();
    super::metrics::observe(route.as_deref().unwrap_or("none"), status, started.elapsed());
    span.in_scope(|| {
        // Proxies report many times a second; people don't.
        if path.starts_with("/node/") && status < 400 {
            tracing::debug!(%method, path, status, micros, "answered");
        } else {
            tracing::info!(%method, path, status, micros, "answered");
        }
    });
    response
}

/// Writes the envelope of a described error, and of the engine's own bare answers.
fn envelop(response: Response, request_id: &str) -> Response {
    let (mut parts, _) = response.into_parts();
    let description = parts.extensions.remove::<Description>().unwrap_or_else(|| {
        let (code, message) = match parts.status.as_u16() {
            404 => (Code::NotFound, "No such resource"),
            405 => (Code::MethodNotAllowed, "This method is not allowed here"),
            408 => (Code::RequestTimeout, "The request did not arrive in time"),
            413 => (Code::PayloadTooLarge, "The body is too large"),
            414 => (Code::UriTooLong, "The request target is too long"),
            415 => (Code::UnsupportedMediaType, "Send the body as JSON"),
            400..=499 => (Code::InvalidRequest, "Invalid request"),
            503 => (Code::ServiceUnavailable, "The service is not available right now"),
            _ => (Code::InternalError, "An unexpected error occurred"),
        };
        Description::new(code, message)
    });
    let body = description.envelope(request_id).to_string();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(body))
}

/// Answers for a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    Description::new(Code::InternalError, "An unexpected error occurred").into_response()
}
