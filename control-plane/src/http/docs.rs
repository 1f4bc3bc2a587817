//! The API's description as a page for people (`/control/v1/docs`), made once from the same
//! description as `openapi.json`. It needs no script and nothing from elsewhere, so that it works
//! offline and under the strictest policy.

mod page;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use crate::app::App;

const STYLE: &str = include_str!("docs/page.css");

/// Nothing but our own style sheet is loaded, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Serves the page and its style sheet.
pub fn router(description: &OpenApi) -> Router<App> {
    let description = serde_json::to_value(description).expect("a description is JSON");
    let page = Bytes::from(page::render(&description));
    Router::new()
        .route("/control/v1/docs", get(move || async move { answer("text/html", page) }))
        .route(
            "/control/v1/docs/page.css",
            get(|| async { answer("text/css", Bytes::from_static(STYLE.as_bytes())) }),
        )
}

fn answer(kind: &str, body: Bytes) -> impl IntoResponse + use<> {
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, body)
}
