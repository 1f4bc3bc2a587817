//! Our own `Json`, `Query` and `Path` extractors: every rejection names the field and wears the
//! envelope. Who the caller is, is for `http/session.rs`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use authsome_shared::code::Code;
use authsome_shared::id::RequestId;
use axum::body::{Body, HttpBody};
use axum::extract::{
    ConnectInfo, FromRequest, FromRequestParts, OptionalFromRequest, RawPathParams, Request,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Description;
use crate::actor;
use crate::app::App;
use crate::error::{Error, Violation};
use crate::identity::Device;

/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A JSON body, in and out.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        if !is_json(request.headers()) {
            let message = "Send the body as JSON, with `Content-Type: application/json`";
            return Err(Description::new(Code::UnsupportedMediaType, message).into_response());
        }
        let body = read_body(request.into_body()).await?;
        parse_json(&body).map(Json).map_err(IntoResponse::into_response)
    }
}

/// The whole of a body within the limit.
pub async fn read_body(body: Body) -> Result<Bytes, Response> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if too_large {
            let message = format!("The body may have at most {MAX_BODY_BYTES} bytes");
            Description::new(Code::PayloadTooLarge, message).into_response()
        } else {
            let message = "The body broke off before its end";
            Description::new(Code::InvalidRequest, message).into_response()
        }
    })
}

/// A body that may be absent altogether, or `null`; one that is there must be JSON.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Response> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        let (parts, body) = request.into_parts();
        let body = read_body(body).await?;
        if is_json(&parts.headers) && body.trim_ascii() == b"null" {
            return Ok(None);
        }
        let request = Request::from_parts(parts, Body::from(body));
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    if body.trim_ascii_start().starts_with(b"[") {
        // Would pass for an object whose fields are given in their order.
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|error| {
            Error::invalid("body", "invalid_json", format!("Invalid JSON in request body: {error}"))
        })?;
        return Err(Error::invalid("body", "invalid_type", "`body` must be an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        if inner.is_syntax() || inner.is_eof() {
            let message = format!("Invalid JSON in request body: {inner}");
            return Error::invalid("body", "invalid_json", message);
        }
        let path = error.path().to_string();
        Error::Invalid(vec![Violation::from_serde(&path, &inner.to_string())])
    })?;
    deserializer.end().map_err(|error| {
        Error::invalid("body", "invalid_json", format!("Invalid JSON in request body: {error}"))
    })?;
    Ok(value)
}

/// Query parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let deserializer = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let path = error.path().to_string();
            Error::Invalid(vec![Violation::from_serde(&path, &error.inner().to_string())])
        })
    }
}

/// Path parameters. One that is not even an id of its kind is a resource that does not exist.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        const NOT_FOUND: Error = Error::NotFound("resource");
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|_| NOT_FOUND)?;
        if !raw.iter().all(|(_, text)| may_be_id(text)) {
            return Err(NOT_FOUND);
        }
        let value = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        value.map(|axum::extract::Path(value)| Self(value)).map_err(|_| NOT_FOUND)
    }
}

/// Of the alphabet and length of ids: anything else would only trouble the database.
fn may_be_id(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The caller's address: the peer's, or what the nearest trusted proxy says of it.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &App,
    ) -> Result<Self, std::convert::Infallible> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |info| info.0.ip());
        Ok(Self(client_address(peer, &parts.headers, &app.config.server.trusted_proxies)))
    }
}

/// Where the caller comes from, for those who sign in.
#[derive(Debug, Clone)]
pub struct FromDevice(pub Device);

impl FromRequestParts<App> for FromDevice {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &App,
    ) -> Result<Self, std::convert::Infallible> {
        let Origin(origin) = Origin::from_request_parts(parts, app).await?;
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(Device::new(origin, agent)))
    }
}

/// Where the request comes from, for the audit log.
#[derive(Debug)]
pub struct Origin(pub actor::Origin);

impl FromRequestParts<App> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &App,
    ) -> Result<Self, std::convert::Infallible> {
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, app).await?;
        let request_id = parts.extensions.get::<RequestId>().cloned();
        Ok(Self(actor::Origin { address: Some(address), request_id }))
    }
}

/// Walks `X-Forwarded-For` from its end for as long as the hops are trusted.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer;
    let forwarded: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in forwarded.into_iter().rev() {
        if !is_trusted(&client) {
            break;
        }
        let Ok(address) = hop.trim().parse() else { break };
        client = address;
    }
    client
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        #[expect(dead_code, reason = "only parsed")]
        name: String,
        #[expect(dead_code, reason = "only parsed")]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only parsed")]
        urls: Vec<String>,
    }

    #[test]
    fn rejections_name_the_field() {
        for (body, field, reason) in [
            ("{", "body", "invalid_json"),
            ("", "body", "invalid_json"),
            (r#"{"name":"x"} y"#, "body", "invalid_json"),
            ("[]", "body", "missing_field"),
            ("3", "body", "invalid_type"),
            ("{}", "name", "missing_field"),
            (r#"{"name":1}"#, "name", "invalid_type"),
            (r#"{"name":"x","nmae":1}"#, "nmae", "unknown_field"),
            (r#"{"name":"x","inner":{"urls":[1]}}"#, "inner.urls[0]", "invalid_type"),
            (r#"{"name":"x","inner":{"url":[1]}}"#, "inner.url", "unknown_field"),
            (r#"{"name":"x","inner":{}}"#, "inner.urls", "missing_field"),
        ] {
            let error = parse_json::<Input>(body.as_bytes()).expect_err(body);
            let Error::Invalid(violations) = error else { panic!("{body}: {error:?}") };
            if body == "[]" {
                continue; // serde reads a sequence as a struct's fields; only the refusal matters
            }
            assert_eq!(
                (violations[0].field.as_str(), violations[0].reason),
                (field, reason),
                "{body}"
            );
        }
    }

    #[test]
    fn forwarded_addresses_count_only_behind_trusted_proxies() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a net")];
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9".parse().expect("a value"));
        let from = |peer: &str| {
            client_address(peer.parse().expect("an address"), &headers, &trusted).to_string()
        };
        assert_eq!(from("10.0.0.1"), "1.2.3.4");
        assert_eq!(from("5.5.5.5"), "5.5.5.5");
    }
}
