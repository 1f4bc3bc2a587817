//! The plans' limits on the control plane's API, as headers on every answer and as 429. Who is
//! counted, and how: `workspaces::api_limit`. Callers who show no token of ours are counted by
//! their address, but for the operator's own, who show the ingest token.

use authsome_shared::code::Code;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Type};

use super::error::Description;
use super::extract::ClientAddress;
use super::session;
use crate::app::App;
use crate::error::Result;
use crate::identity::throttle::Attempt;
use crate::workspaces::api_limit::{self, Caller, Standing, Verdict};

/// Counts the request around whatever answers it.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    // Stripe tells of a month's invoices all at once, and shows who it is by its signature.
    if !app.config.api.limits || request.uri().path() == super::control::STRIPE_WEBHOOKS {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let verdict = match session::subject(&app, &parts) {
        Some(user) => match judge(&app, &user, parts.uri.path()).await {
            Ok(verdict) => verdict,
            Err(error) => return error.into_response(),
        },
        None if session::shows_ingest_token(&app, &parts) => None,
        None => {
            let Ok(ClientAddress(address)) =
                ClientAddress::from_request_parts(&mut parts, &app).await;
            match app.address_limits.count(Attempt::Request, address, app.clock.now()) {
                Ok(()) => None,
                Err(error) => return error.into_response(),
            }
        }
    };
    let Some(verdict) = verdict else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let now = app.clock.now();
    let mut response = match verdict.refused_by {
        Some(standing) => refusal(standing, now),
        None => next.run(Request::from_parts(parts, body)).await,
    };
    stamp(response.headers_mut(), verdict, now);
    response
}

async fn judge(
    app: &App,
    user: &authsome_shared::id::UserId,
    path: &str,
) -> Result<Option<Verdict>> {
    let mut tx = app.db.read().await?;
    let mut segments = path.trim_start_matches("/control/v1/").split('/');
    let of_workspace = match (segments.next(), segments.next()) {
        (Some("workspaces"), Some(id)) => match id.parse() {
            Ok(id) => api_limit::of_workspace(&mut tx, user, &id).await?,
            Err(_) => None,
        },
        (Some("applications"), Some(id)) => match id.parse() {
            Ok(id) => api_limit::of_application(&mut tx, user, &id).await?,
            Err(_) => None,
        },
        _ => None,
    };
    let Caller { subject, limit } = match of_workspace {
        Some(caller) => caller,
        None => api_limit::of_user(&mut tx, user).await?,
    };
    let Some(limit) = limit else { return Ok(None) };
    app.api_limits.count(&mut tx, &subject, limit).await.map(Some)
}

fn seconds_until(at: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    (at - now).num_milliseconds().max(1).unsigned_abs().div_ceil(1000)
}

fn refusal(standing: Standing, now: DateTime<Utc>) -> Response {
    let seconds = seconds_until(standing.ends_at, now);
    let message = format!("Rate limit exceeded. Retry after {seconds} seconds");
    let mut description = Description::new(Code::RateLimitExceeded, message);
    description.retry_after = Some(seconds);
    let window = standing.window.as_str();
    description.details = Some(json!({ "limit": standing.limit, "window": window }));
    description.into_response()
}

/// The contract's headers, of the minute, and those of draft-ietf-httpapi-ratelimit-headers, of
/// both windows.
fn stamp(headers: &mut HeaderMap, verdict: Verdict, now: DateTime<Utc>) {
    let Verdict { minute, day, .. } = verdict;
    let remaining = minute.remaining.min(day.remaining);
    // A day that is used up lasts longer than any minute.
    let resets = if day.remaining == 0 { day.ends_at } else { minute.ends_at };
    let numbers = [
        (HeaderName::from_static("x-ratelimit-limit"), minute.limit),
        (HeaderName::from_static("x-ratelimit-remaining"), remaining),
        (HeaderName::from_static("x-ratelimit-reset"), resets.timestamp().unsigned_abs()),
    ];
    for (name, number) in numbers {
        headers.insert(name, HeaderValue::from(number));
    }
    let (mut policies, mut states) = (Vec::new(), Vec::new());
    for standing in [minute, day] {
        let (name, seconds) = (standing.window.as_str(), standing.window.length().num_seconds());
        policies.push(format!("\"{name}\";q={};w={seconds}", standing.limit));
        let left = seconds_until(standing.ends_at, now);
        states.push(format!("\"{name}\";r={};t={left}", standing.remaining));
    }
    for (name, text) in [("ratelimit-policy", policies), ("ratelimit", states)] {
        if let Ok(value) = HeaderValue::from_str(&text.join(", ")) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// What the API's description says of the headers, for every operation.
pub fn describe(description: &mut OpenApi) {
    for item in description.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                if !status.starts_with('2') && status != "429" {
                    continue;
                }
                for (name, words) in HEADERS {
                    let schema = ObjectBuilder::new().schema_type(Type::Integer);
                    let header = HeaderBuilder::new().schema(Some(schema)).description(Some(words));
                    response.headers.insert(name.to_owned(), RefOr::T(header.build()));
                }
            }
        }
    }
}

const HEADERS: [(&str, &str); 3] = [
    ("X-RateLimit-Limit", "Requests a minute that the plan allows"),
    ("X-RateLimit-Remaining", "Requests left in the minute, or in the day if those are fewer"),
    ("X-RateLimit-Reset", "When there will be more, in seconds since 1970"),
];
