//! What changes between the client's request and the upstream's, and between the upstream's
//! response and the client's: credentials out, trusted headers in. Hop-by-hop fields are the
//! engine's business.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr, Result};

use super::names;
use super::report::is_tls;
use crate::admit::key::{self, Carrier};
use crate::admit::request::{split_path, split_query};
use crate::ctx::Ctx;
use crate::denied::Cause;
use crate::trace;

/// Longest end-user name that is recorded, in characters.
const MAX_USER: usize = 256;

/// Most fields that a request gets from us.
const OURS: usize = 12;

/// Turns the client's head into what the upstream gets.
pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    let (Some(admitted), Some(choice)) = (&ctx.admitted, &ctx.choice) else {
        ctx.failure = Some(Cause::Internal);
        return Error::e_explain(ErrorType::InternalError, "forwarding what was not admitted");
    };
    let base = choice.base();
    let target = target(session.req_header(), base.map_or("", |it| &it.path), admitted.carrier);

    // Without the engine's record of how names were written: keeping it costs more than the fields.
    let nothing = http::Request::new(()).into_parts().0;
    let mut parts = Parts::from(std::mem::replace(request, RequestHeader::from(nothing)));
    parts.uri = Uri::from_maybe_shared(target)
        .or_err(ErrorType::InternalError, "what was authorised is no target")?;
    let client_host = client_host(session.req_header());
    let headers = &mut parts.headers;
    headers.reserve(OURS);

    match admitted.carrier {
        Carrier::Bearer => drop(headers.remove(AUTHORIZATION)),
        Carrier::ApiKeyHeader => drop(headers.remove(&names::API_KEY)),
        Carrier::Query => {}
    }
    if ctx.marks.untrusted {
        names::remove(headers, names::is_untrusted);
    }
    trace::pass_on(ctx.trace.as_ref(), ctx.marks.trace, headers);

    let application = &admitted.application.names;
    let key = &admitted.key;
    headers.insert(&names::APP_ID, application.application.clone());
    headers.insert(&names::WORKSPACE_ID, application.workspace.clone());
    headers.insert(&names::ENVIRONMENT, application.environment.clone());
    let id = HeaderValue::from_str(key.id.as_str());
    headers.insert(&names::KEY_ID, id.or_err(ErrorType::InternalError, "a key's id")?);
    headers.insert(&names::KEY_TYPE, HeaderValue::from_static(key.kind.as_str()));
    headers.insert(&names::SCOPES, key.scopes.header.clone());
    headers.insert(&names::REQUEST_ID, ctx.id_field.clone());

    if let Some(client) = &ctx.client {
        headers.insert(&names::FORWARDED_FOR, client.clone());
    }
    let scheme = if is_tls(session) { "https" } else { "http" };
    headers.insert(&names::FORWARDED_PROTO, HeaderValue::from_static(scheme));
    let host = match (base, &client_host) {
        (_, Some(host)) if choice.preserve_host() => host.clone(),
        (Some(base), _) => base.authority.clone(),
        (None, _) => HeaderValue::from_static("echo"),
    };
    headers.insert(HOST, host);
    if let Some(host) = client_host {
        headers.insert(&names::FORWARDED_HOST, host);
    }
    *request = RequestHeader::from(parts);
    Ok(())
}

/// `{base path}{path}?{query}`, of the very bytes that were authorised.
fn target(request: &RequestHeader, base: &str, carrier: Carrier) -> Bytes {
    let whole = std::str::from_utf8(request.raw_path()).unwrap_or("/");
    let (path, query) = split_query(whole);
    let (_, path) = split_path(path);
    let query = match (query, carrier) {
        (Some(query), Carrier::Query) => key::strip(query).map(Cow::from),
        (query, _) => query.map(Cow::from),
    };
    let mut target = Vec::with_capacity(base.len() + whole.len());
    target.extend_from_slice(base.as_bytes());
    target.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    target.into()
}

fn client_host(request: &RequestHeader) -> Option<HeaderValue> {
    request
        .headers
        .get(HOST)
        .cloned()
        .or_else(|| request.uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok()))
}

/// Takes out of a response what is between the upstream and us, and reads the end user from it.
pub fn clean_response(response: &mut ResponseHeader, ctx: &mut Ctx) {
    if let Some(name) = ctx.application.as_ref().and_then(|it| it.end_user_header.as_ref())
        && let Some(user) = response.remove_header(name)
    {
        ctx.user = user
            .to_str()
            .ok()
            .filter(|user| !user.is_empty() && user.len() <= MAX_USER)
            .map(str::to_owned);
    }
    for name in names::such(&response.headers, names::is_replaced) {
        response.remove_header(&name);
    }
}

/// The same of the fields after the body.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    names::remove(trailers, names::is_replaced);
}

/// Will the response end with its head? Notes the announced length.
pub fn is_bodiless(request: &RequestHeader, response: &ResponseHeader, ctx: &mut Ctx) -> bool {
    ctx.expected_out = response
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.trim().parse().ok());
    request.method == Method::HEAD
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || ctx.expected_out == Some(0)
        || is_grpc_status(&response.headers)
}

/// A gRPC response that is all head has in it what else its trailers have.
fn is_grpc_status(headers: &HeaderMap) -> bool {
    let grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    headers.get(CONTENT_TYPE).is_some_and(grpc) && headers.contains_key("grpc-status")
}

/// May the response go on for as long as its client stays? Events and gRPC may.
pub fn is_stream(response: &ResponseHeader) -> bool {
    let kind = response.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().trim_ascii_start());
    let begins = |kind: &[u8], with: &str| {
        kind.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with.as_bytes()))
    };
    kind.is_some_and(|kind| begins(kind, "text/event-stream") || begins(kind, "application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> RequestHeader {
        RequestHeader::build("GET", target.as_bytes(), None).expect("a request")
    }

    #[test]
    fn targets_lose_their_prefix_and_keep_every_other_byte() {
        for (from, base, carrier, to) in [
            ("/v1/app_1/users/7?a=1", "", Carrier::Bearer, "/users/7?a=1"),
            ("/v1/app_1", "", Carrier::Bearer, "/"),
            ("/v1/app_1?a", "/base", Carrier::Bearer, "/base/?a"),
            ("/v1/app_1//x%20y/", "/b", Carrier::Bearer, "/b//x%20y/"),
            ("/v1/app_1/u?key=s&b=2", "", Carrier::Query, "/u?b=2"),
            ("/v1/app_1/u?key=s", "", Carrier::Query, "/u"),
            ("/v1/app_1/u?key=s", "", Carrier::Bearer, "/u?key=s"),
            ("/v1/app_1/u?", "", Carrier::Bearer, "/u?"),
        ] {
            assert_eq!(target(&request(from), base, carrier), to, "{from}");
        }
    }
}
