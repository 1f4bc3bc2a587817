//! The OpenAPI description: its frame, the parts that every operation shares, and where it is
//! served. The operations describe themselves, beside their handlers.

pub mod example;

use std::collections::BTreeSet;

use axum::Router;
use axum::routing::get;
use serde::Serialize;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{KnownFormat, Schema, SchemaFormat};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, Content, RefOr, Server};
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

/// What the parts of the API are about; only those that have operations are shown.
const TAGS: [(&str, &str); 10] = [
    ("auth", "Accounts and their sign-in."),
    ("workspaces", "The tenant that owns applications, has members and a plan."),
    ("members", "Who may do what in a workspace, and invitations to it."),
    ("applications", "One API behind the proxies each, with its configuration."),
    ("keys", "What an application's customers call it with."),
    ("webhooks", "Events of an application, sent to a URL of yours."),
    ("billing", "What a workspace has used in a month, and what it costs."),
    ("audit", "Who changed what in a workspace."),
    ("platform", "For the platform's admins only. Being one opens no workspace."),
    ("ingest", "What the operator's own programs report. With the ingest token, or as an admin."),
];

/// Puts in what is the same for all operations: described tags, and an example of every body.
pub fn complete(description: &mut OpenApi) {
    let used: BTreeSet<String> = operations(description)
        .flat_map(|operation| operation.tags.clone().unwrap_or_default())
        .collect();
    let tags = TAGS.iter().filter(|(name, _)| used.contains(*name));
    description.tags = Some(
        tags.map(|(name, text)| TagBuilder::new().name(*name).description(Some(*text)).build())
            .collect(),
    );
    let schemas = serde_json::to_value(&description.components).unwrap_or_default();
    let put = |content: &mut RefOr<Content>, status: &str| {
        if let RefOr::T(content) = content {
            example::put(content, &schemas, status);
        }
    };
    for operation in operations(description) {
        operation.parameters.iter_mut().flatten().for_each(widen);
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            body.content.values_mut().for_each(|content| put(content, ""));
        }
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response {
                response.content.values_mut().for_each(|content| put(content, status));
            }
        }
    }
}

/// Says of numbers in parameters what is taken: an unsigned one takes twice of what `int32` and
/// `int64` say, and a page that is none is the first.
fn widen(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(Parameter { name, schema: Some(RefOr::T(Schema::Object(object))), .. }) =
        parameter
    else {
        return;
    };
    let Some(SchemaFormat::KnownFormat(format)) = &object.format else { return };
    if object.minimum.is_none() || object.maximum.is_some() {
        return;
    }
    object.maximum = match format {
        KnownFormat::Int32 => Some(utoipa::Number::from(u32::MAX)),
        KnownFormat::Int64 => Some(utoipa::Number::from(u64::MAX)),
        _ => return,
    };
    object.format = None;
    if ["page", "pageSize"].contains(&name.as_str()) {
        object.minimum = Some(utoipa::Number::from(0_u32));
    }
}

fn operations(description: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    description.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
            .into_iter()
            .filter_map(Option::as_mut)
    })
}

/// The description without its operations.
pub fn base() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `token` of a sign-in"))
        .build();
    let ingest = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The operator's `ingest.token`, or `metering.ingest_token`"))
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
                .security_scheme("ingest", SecurityScheme::Http(ingest))
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
