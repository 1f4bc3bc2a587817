//! What changes between the client's request and the upstream's, and between the upstream's
//! response and the client's: credentials out, trusted headers in. Where the engine writes the
//! request, hop-by-hop fields are its business; where we do, they end here.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr, Result};

use super::names;
use super::report::is_tls;
use crate::admit::Admitted;
use crate::admit::key::{self, Carrier};
use crate::admit::request::{split_path, split_query};
use crate::ctx::Ctx;
use crate::trace;
use crate::upstream::Choice;

/// Of a usual head, in bytes.
const HEAD: usize = 1024;

/// Longest end-user name that is recorded, in characters.
const MAX_USER: usize = 256;

/// Most fields that a request gets from us.
const OURS: usize = 13;

/// What decides about a request's head.
struct Going<'a> {
    session: &'a Session,
    ctx: &'a Ctx,
    admitted: &'a Admitted,
    choice: &'a Choice,
    told: trace::Told,
}

impl<'a> Going<'a> {
    fn of(session: &'a Session, ctx: &'a Ctx) -> Result<Self> {
        let (Some(admitted), Some(choice)) = (&ctx.admitted, &ctx.choice) else {
            return Error::e_explain(ErrorType::InternalError, "forwarding what was not admitted");
        };
        Ok(Self { session, ctx, admitted, choice, told: trace::Told::of(ctx.trace.as_ref()) })
    }

    fn target(&self) -> Vec<u8> {
        let base = self.choice.base().map_or("", |it| &it.path);
        target(self.session.req_header(), base, self.admitted.carrier)
    }

    /// Does a field of the client's pass, unless we set it?
    fn passes(&self, name: &str) -> bool {
        match name {
            "authorization" => self.admitted.carrier != Carrier::Bearer,
            "x-api-key" => self.admitted.carrier != Carrier::ApiKeyHeader,
            "traceparent" | "tracestate" => self.told.keeps(name),
            _ => !(self.ctx.marks.untrusted && names::is_untrusted(name)),
        }
    }

    /// What the upstream is told by us.
    fn tell(&self, out: &mut impl Fields) {
        let application = &self.admitted.application.names;
        let key = &self.admitted.key;
        out.field(&names::APP_ID, &application.application);
        out.field(&names::WORKSPACE_ID, &application.workspace);
        out.field(&names::ENVIRONMENT, &application.environment);
        out.text(&names::KEY_ID, key.id.as_bytes());
        out.text(&names::KEY_TYPE, key.kind.as_str());
        out.field(&names::SCOPES, &key.scopes.header);
        out.text(&names::REQUEST_ID, self.ctx.id.as_bytes());
        if let Some(parent) = &self.told.parent {
            out.field(&names::TRACEPARENT, parent);
        }
        if let Some(client) = &self.ctx.client {
            out.field(&names::FORWARDED_FOR, client);
        }
        let scheme = if is_tls(self.session) { "https" } else { "http" };
        out.text(&names::FORWARDED_PROTO, scheme);
        let client_host = client_host(self.session.req_header());
        match (self.choice.base(), client_host) {
            (_, Some(host)) if self.choice.preserve_host() => out.text(&HOST, host),
            (Some(base), _) => out.field(&HOST, &base.authority),
            (None, _) => out.text(&HOST, "echo"),
        }
        if let Some(host) = client_host {
            out.text(&names::FORWARDED_HOST, host);
        }
    }
}

/// Takes one field after the other, in the place of what came with its name.
trait Fields {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue);
    fn text(&mut self, name: &HeaderName, value: impl AsRef<[u8]>);
}

impl Fields for HeaderMap {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.insert(name, value.clone());
    }

    fn text(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        let value =
            HeaderValue::from_bytes(value.as_ref()).expect("it is a value by what it is of");
        self.insert(name, value);
    }
}

/// Lines of HTTP/1.
impl Fields for Vec<u8> {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        line(self, name, value.as_bytes());
    }

    fn text(&mut self, name: &HeaderName, value: impl AsRef<[u8]>) {
        line(self, name, value.as_ref());
    }
}

fn line(lines: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    lines.extend_from_slice(name.as_str().as_bytes());
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}

/// Turns the client's head into what the upstream gets, where the engine writes it.
pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let going = Going::of(session, ctx)?;
    // Without the engine's record of how names were written: keeping it costs more than the fields.
    let nothing = http::Request::new(()).into_parts().0;
    let mut parts = Parts::from(std::mem::replace(request, RequestHeader::from(nothing)));
    parts.uri = Uri::from_maybe_shared(Bytes::from(going.target()))
        .or_err(ErrorType::InternalError, "what was authorised is no target")?;
    names::remove(&mut parts.headers, |name| !going.passes(name));
    parts.headers.reserve(OURS);
    going.tell(&mut parts.headers);
    *request = RequestHeader::from(parts);
    Ok(())
}

/// Writes the head that an HTTP/1 upstream gets.
pub fn head(session: &Session, ctx: &Ctx, chunked: bool, head: &mut Vec<u8>) -> Result<()> {
    let going = Going::of(session, ctx)?;
    let request = session.req_header();
    let target = going.target();
    if target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
        return Error::e_explain(ErrorType::InternalError, "what was authorised is no target");
    }
    head.reserve(HEAD);
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(&target);
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let mut crumbs = false;
    for (name, value) in &request.headers {
        if name == COOKIE && std::mem::replace(&mut crumbs, true) {
            // HTTP/2 may split what HTTP/1 has in one (RFC 9113, section 8.2.3).
            head.truncate(head.len() - b"\r\n".len());
            head.extend_from_slice(b"; ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
            continue;
        }
        let ends_here = ctx.marks.hop_by_hop && names::is_hop_by_hop(name.as_str());
        if !ends_here && !is_told(name) && going.passes(name.as_str()) {
            line(head, name, value.as_bytes());
        }
    }
    going.tell(head);
    if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Ok(())
}

/// Is it told by us, whatever came? Names that are [`names::is_ours`] don't pass anyway.
fn is_told(name: &HeaderName) -> bool {
    [&HOST, &names::FORWARDED_FOR, &names::FORWARDED_HOST, &names::FORWARDED_PROTO].contains(&name)
}

/// `{base path}{path}?{query}`, of the very bytes that were authorised.
fn target(request: &RequestHeader, base: &str, carrier: Carrier) -> Vec<u8> {
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
    target
}

/// What the client called us. Admission has let only visible ASCII pass.
fn client_host(request: &RequestHeader) -> Option<&str> {
    let field = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    field.or_else(|| request.uri.authority().map(http::uri::Authority::as_str))
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
            assert_eq!(target(&request(from), base, carrier), to.as_bytes(), "{from}");
        }
    }
}
