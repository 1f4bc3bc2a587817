//! The `Idempotency-Key` header of every `POST` of the API (draft-ietf-httpapi-idempotency-key-header).
//! Reads it, replays the stored answer with `Idempotency-Replayed: true`, and refuses a key that
//! was used for another request. What is stored, and how it stays one with the effect:
//! `crate::idempotency`.

use authsome_shared::code::Code;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::extract::{ClientAddress, read_body};
use super::session;
use crate::app::App;
use crate::db::Tx;
use crate::error::{Error, Result};
pub use crate::idempotency::begin;
use crate::idempotency::{self, Answer, Claim};

/// The request's header.
pub const KEY: &str = "idempotency-key";
/// On an answer that was given before.
pub const REPLAYED: &str = "idempotency-replayed";

const MAX_KEY: usize = 255;

/// Stores the answer with the effect, commits both, and answers.
pub async fn answer<T: Serialize>(
    tx: Tx,
    app: &App,
    status: StatusCode,
    body: T,
) -> Result<Response> {
    answer_with(tx, app, status, body, vec![]).await
}

/// As [`answer`], with cookies, as values of `Set-Cookie`.
pub async fn answer_with<T: Serialize>(
    tx: Tx,
    app: &App,
    status: StatusCode,
    body: T,
    cookies: Vec<String>,
) -> Result<Response> {
    let body = serde_json::to_string(&body).map_err(Error::internal)?;
    commit(tx, app, Answer { status: status.as_u16(), body, cookies }).await
}

/// As [`answer`], with 204 and no body.
pub async fn no_content(tx: Tx, app: &App) -> Result<Response> {
    no_content_with(tx, app, vec![]).await
}

/// As [`no_content`], with cookies.
pub async fn no_content_with(tx: Tx, app: &App, cookies: Vec<String>) -> Result<Response> {
    let status = StatusCode::NO_CONTENT.as_u16();
    commit(tx, app, Answer { status, body: String::new(), cookies }).await
}

async fn commit(mut tx: Tx, app: &App, answer: Answer) -> Result<Response> {
    idempotency::record(&mut tx, &app.sealer, &answer).await?;
    tx.commit().await?;
    Ok(render(answer))
}

fn render(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = status.into_response();
    if !answer.body.is_empty() {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        *response.body_mut() = Body::from(answer.body);
    }
    for cookie in answer.cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

/// Handles the header around a request.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match handle(&app, request, next).await {
        Ok(response) | Err(response) => response,
    }
}

async fn handle(app: &App, request: Request, next: Next) -> Result<Response, Response> {
    let (mut parts, body) = request.into_parts();
    let body = read_body(body).await?;
    let claim = claim(app, &mut parts, &body).await.map_err(IntoResponse::into_response)?;
    if let Some(response) =
        replay(app, &parts, &claim).await.map_err(IntoResponse::into_response)?
    {
        return Ok(response);
    }
    let again = parts.clone();
    let request = Request::from_parts(parts, Body::from(body));
    let (response, lost) = idempotency::scope(claim.clone(), next.run(request)).await;
    if lost {
        // Another request has had the effect while this one waited for it.
        let replayed = replay(app, &again, &claim).await.map_err(IntoResponse::into_response)?;
        return Ok(replayed.unwrap_or(response));
    }
    Ok(response)
}

async fn claim(app: &App, parts: &mut Parts, body: &[u8]) -> Result<Claim> {
    let mut values = parts.headers.get_all(KEY).iter();
    let key = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    let valid = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if !valid || values.next().is_some() {
        let message = "`Idempotency-Key` must be given once, with 1 to 255 visible characters";
        return Err(Error::invalid("Idempotency-Key", "invalid_value", message));
    }
    let key = key.to_owned();
    let mut context = Context::new(&SHA256);
    // Keyed by what only the platform knows: a body may hold a password.
    for part in [
        app.sealer.pepper(),
        parts.method.as_str().as_bytes(),
        parts.uri.to_string().as_bytes(),
        body,
    ] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let fingerprint = hex::encode(context.finish());
    let scope = match session::subject(app, parts) {
        Some(user) => user.as_str().to_owned(),
        None if session::shows_ingest_token(app, parts) => "ingest".to_owned(),
        None => {
            let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, app).await;
            address.to_string()
        }
    };
    Ok(Claim { scope, key, fingerprint })
}

async fn replay(app: &App, parts: &Parts, claim: &Claim) -> Result<Option<Response>> {
    let mut tx = app.db.read().await?;
    let Some(answer) = idempotency::find(&mut tx, &app.sealer, claim).await? else {
        return Ok(None);
    };
    drop(tx);
    // An answer may hold a secret; it is for a session that still stands. One without a body tells
    // nothing, and may be that of the session's own end.
    if !answer.body.is_empty() && session::subject(app, parts).is_some() {
        session::caller(app, parts).await?;
    }
    let mut response = render(answer);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(Some(response))
}

/// What the API's description says of the header, for every `POST`.
pub fn describe(description: &mut utoipa::openapi::OpenApi) {
    use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
    use utoipa::openapi::{
        ContentBuilder, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, Type,
    };
    for item in description.paths.paths.values_mut() {
        let Some(operation) = &mut item.post else { continue };
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX_KEY))
            .pattern(Some("^[!-~]+$"));
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(format!(
                "Any text of your own. Sent again with the same key within 24 hours, the request \
                 has no second effect and is given the first one's answer, with \
                 `Idempotency-Replayed: true`. The key of another request: 409 `{}`.",
                Code::IdempotencyConflict.as_str()
            )))
            .schema(Some(schema))
            .build();
        operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
        operation.responses.responses.entry("409".to_owned()).or_insert_with(|| {
            let content = ContentBuilder::new()
                .schema(Some(RefOr::Ref(Ref::from_schema_name("ErrorBody"))))
                .build();
            RefOr::T(
                ResponseBuilder::new()
                    .description("The `Idempotency-Key` was used for another request")
                    .content("application/json", content)
                    .build(),
            )
        });
    }
}
