//! The OpenAPI description: its frame, the parts that every operation shares, and where it is
//! served. The operations describe themselves, beside their handlers.

use axum::Router;
use axum::routing::get;
use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Server};
use utoipa::openapi::{ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::app::App;

/// The envelope of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    error: ErrorDescription,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ErrorDescription {
    /// Stable and machine-readable.
    #[schema(example = "invalid_request")]
    code: String,
    /// For people.
    #[schema(example = "`email` is required")]
    message: String,
    /// Such as `field` and `reason` of invalid input.
    #[schema(value_type = Option<Object>)]
    details: Option<serde_json::Value>,
    /// Seconds until it is worth trying again.
    retry_after: Option<u64>,
    /// Finds the request in the log.
    #[schema(example = "req_0Fh3ZqTz8Yb1cKx5WmN2vR")]
    request_id: String,
}

/// What any operation may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `http::error` writes")]
pub enum Failures {
    /// Malformed or invalid input.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(ErrorBody),
    /// Too often: `Retry-After` says when to come back.
    #[response(status = 429)]
    TooOften(ErrorBody),
    /// A fault of the platform.
    #[response(status = 500)]
    Internal(ErrorBody),
    /// Not available right now.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// What an operation for signed-in callers may answer besides.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes what `http::error` writes")]
pub enum Refusals {
    /// No valid access token.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// The role does not suffice.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// Absent, or not visible to the caller.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

/// The description without its operations.
pub fn base() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `token` of a sign-in"))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("AuthSome Cloud control plane")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("Workspaces, applications, keys, members and usage."))
                .license(Some(
                    LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
                ))
                .contact(Some(ContactBuilder::new().name(Some("AuthSome Cloud")).build()))
                .build(),
        )
        .servers(Some([Server::new("/")]))
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme("bearer", SecurityScheme::Http(bearer))
                .build(),
        ))
        .build()
}

/// Serves the description.
pub fn router(description: &OpenApi) -> Router<App> {
    let json = serde_json::to_value(description).expect("a description is JSON");
    let serve = move || async move { axum::Json(json) };
    Router::new().route("/control/v1/openapi.json", get(serve))
}
