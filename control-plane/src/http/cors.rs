//! CORS: which other origins' pages may call the API from a browser, with cookies. Those of
//! `api.allowed_origins` and the dashboard's own; nobody else's page gets to read an answer.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

use crate::config::Config;

/// How long a browser may remember what it was told.
const MAX_AGE: Duration = Duration::from_hours(1);

/// The layer around the API.
pub fn layer(config: &Config) -> CorsLayer {
    let origins: Vec<HeaderValue> =
        origins(config).iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static(super::idempotency::KEY),
        ])
        .expose_headers([
            HeaderName::from_static("x-authsome-request-id"),
            HeaderName::from_static("x-ratelimit-limit"),
            HeaderName::from_static("x-ratelimit-remaining"),
            HeaderName::from_static("x-ratelimit-reset"),
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static(super::idempotency::REPLAYED),
            header::RETRY_AFTER,
        ])
        .max_age(MAX_AGE)
}

/// Scheme, host and port of each origin that may call.
pub fn origins(config: &Config) -> Vec<String> {
    let dashboard = Url::parse(&config.platform.dashboard_url).ok();
    let mut origins = config.api.allowed_origins.clone();
    origins.extend(dashboard.map(|url| url.origin().ascii_serialization()));
    origins
}
