//! What changes between the client's request and the upstream's, and between the upstream's
//! response and the client's: credentials out, trusted headers in. Hop-by-hop fields are the
//! engine's business.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::admit::key::{self, Carrier};
use crate::ctx::Ctx;
use crate::denied::Cause;

/// Longest end-user name that is recorded, in characters.
const MAX_USER: usize = 256;

/// Turns the client's head into what the upstream gets.
pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
    let (Some(admitted), Some(choice)) = (&ctx.admitted, &ctx.choice) else {
        ctx.failure = Some(Cause::Internal);
        return Error::e_explain(ErrorType::InternalError, "forwarding what was not admitted");
    };
    let base = choice.base();

    let target = target(session.req_header(), base.map_or("", |it| &it.path), admitted.carrier);
    request.set_raw_path(target.as_bytes())?;

    match admitted.carrier {
        Carrier::Bearer => drop(request.remove_header(&AUTHORIZATION)),
        Carrier::ApiKeyHeader => drop(request.remove_header("x-api-key")),
        Carrier::Query => {}
    }
    for name in untrusted(&request.headers) {
        request.remove_header(&name);
    }

    let application = &admitted.application.names;
    let key = &admitted.key;
    request.insert_header("X-AuthSome-App-ID", application.application.clone())?;
    request.insert_header("X-AuthSome-Workspace-ID", application.workspace.clone())?;
    request.insert_header("X-AuthSome-Environment", application.environment.clone())?;
    request.insert_header("X-AuthSome-Key-ID", key.id.as_str())?;
    request.insert_header("X-AuthSome-Key-Type", HeaderValue::from_static(key.kind.as_str()))?;
    request.insert_header("X-AuthSome-Scopes", key.scopes.header.clone())?;
    request.insert_header("X-AuthSome-Request-ID", ctx.id.as_str())?;

    let client_host = client_host(session.req_header());
    if let Some(peer) = ctx.peer {
        request.insert_header("X-Forwarded-For", peer.ip().to_string())?;
    }
    let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let scheme = if tls { "https" } else { "http" };
    request.insert_header("X-Forwarded-Proto", HeaderValue::from_static(scheme))?;
    if let Some(host) = &client_host {
        request.insert_header("X-Forwarded-Host", host.clone())?;
    }
    match (base, client_host) {
        (Some(_) | None, Some(host)) if choice.preserve_host() => request.insert_header(HOST, host),
        (Some(base), _) => request.insert_header(HOST, base.authority.clone()),
        (None, _) => request.insert_header(HOST, HeaderValue::from_static("echo")),
    }
}

/// `{base path}{path}?{query}`, of the very bytes that were authorised.
fn target(request: &RequestHeader, base: &str, carrier: Carrier) -> String {
    let whole = std::str::from_utf8(request.raw_path()).unwrap_or("/");
    let (path, query) = match whole.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (whole, None),
    };
    // `/v1/{application}` and what follows it.
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    let path = path.find('/').map_or("/", |at| &path[at..]);
    let query = match (query, carrier) {
        (Some(query), Carrier::Query) => key::strip(query),
        (query, _) => query.map(str::to_owned),
    };
    match query {
        Some(query) => format!("{base}{path}?{query}"),
        None => format!("{base}{path}"),
    }
}

fn client_host(request: &RequestHeader) -> Option<HeaderValue> {
    request
        .headers
        .get(HOST)
        .cloned()
        .or_else(|| request.uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok()))
}

/// Names that only we may set. Some servers read `_` as `-`, so that spelling counts as well.
fn untrusted(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            is_ours(name)
                || (name.contains('_') && {
                    let name = name.replace('_', "-");
                    is_ours(&name) || name.starts_with("x-forwarded-")
                })
                || name == "forwarded"
        })
        .cloned()
        .collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("x-authsome-")
}

/// Takes out of a response what is between the upstream and us, and reads the end user from it.
pub fn clean_response(response: &mut ResponseHeader, ctx: &mut Ctx) {
    if let Some(name) = ctx.application.as_ref().and_then(|it| it.end_user_header.clone())
        && let Some(user) = response.remove_header(&name)
    {
        ctx.user = user
            .to_str()
            .ok()
            .filter(|user| !user.is_empty() && user.len() <= MAX_USER)
            .map(str::to_owned);
    }
    for name in replaced(&response.headers) {
        response.remove_header(&name);
    }
}

/// The same of the fields after the body.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    for name in replaced(trailers) {
        trailers.remove(&name);
    }
}

/// Names of a response that only we may set.
fn replaced(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            is_ours(name) || name.starts_with("x-ratelimit-") || name.starts_with("ratelimit")
        })
        .cloned()
        .collect()
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
    headers.contains_key("grpc-status") && headers.get(CONTENT_TYPE).is_some_and(grpc)
}

/// May the response go on for as long as its client stays? Events and gRPC may.
pub fn is_stream(response: &ResponseHeader) -> bool {
    let kind = response.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.trim_start().to_ascii_lowercase();
        kind.starts_with("text/event-stream") || kind.starts_with("application/grpc")
    })
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

    #[test]
    fn names_that_only_we_set_are_found_in_every_spelling() {
        let mut headers = HeaderMap::new();
        for name in
            ["x-authsome-key-id", "x_authsome_scopes", "x-authsome_app-id", "x_forwarded_for"]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        headers.insert("x-author", HeaderValue::from_static("kept"));
        headers.insert("my_header", HeaderValue::from_static("kept"));
        assert_eq!(untrusted(&headers).len(), 4);
    }
}
