//! The contract's fields on an answer. An HTTP/1 answer gets them as lines, which the connection
//! writes at the end of its head: going through the engine's map would cost ten times that.
//! HTTP/2 has no lines, so that there they go through the map.

use http::{HeaderMap, HeaderName, HeaderValue};
use itoa::Integer;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::{names, respond};
use crate::ctx::Ctx;
use crate::listener::connection::Connection;

/// A field's name, for the map and as a line begins with it.
type Name = (&'static HeaderName, &'static str);

const REQUEST_ID: Name = (&names::REQUEST_ID, "X-AuthSome-Request-ID: ");
const APP_ID: Name = (&names::APP_ID, "X-AuthSome-App-ID: ");
const REGION: Name = (&names::REGION, "X-AuthSome-Region: ");
const LIMIT: Name = (&names::LIMIT, "X-RateLimit-Limit: ");
const REMAINING: Name = (&names::REMAINING, "X-RateLimit-Remaining: ");
const RESET: Name = (&names::RESET, "X-RateLimit-Reset: ");
const POLICY: Name = (&names::POLICY, "RateLimit-Policy: ");
const RATE_LIMIT: Name = (&names::RATE_LIMIT, "RateLimit: ");

/// Fields of them at most.
const MOST: usize = 8;

/// Puts them on the response that is sent next.
pub fn stamp(session: &Session, response: &mut ResponseHeader, ctx: &Ctx) {
    match Connection::under(session) {
        Some(connection) => {
            connection.add_fields(response.status, |lines| fields(&mut Lines(lines), ctx));
        }
        None => respond::change(response, |headers| {
            headers.reserve(MOST);
            fields(&mut Map { headers, value: Vec::new() }, ctx);
        }),
    }
}

fn fields(out: &mut impl Fields, ctx: &Ctx) {
    out.text(REQUEST_ID, ctx.id.as_bytes());
    if let Some(application) = &ctx.application {
        out.text(APP_ID, application.names.application.as_bytes());
        out.text(REGION, application.names.region.as_bytes());
    }
    let Some((state, now)) = &ctx.rate else { return };
    out.number(LIMIT, state.limit.requests);
    out.number(REMAINING, state.remaining);
    out.number(RESET, state.reset());
    out.field(POLICY, |value| {
        value.extend_from_slice(b"\"default\";q=");
        number(value, state.limit.requests);
        value.extend_from_slice(b";w=");
        number(value, state.window_seconds());
    });
    out.field(RATE_LIMIT, |value| {
        value.extend_from_slice(b"\"default\";r=");
        number(value, state.remaining);
        value.extend_from_slice(b";t=");
        number(value, state.reset_in(*now));
    });
}

fn number(value: &mut Vec<u8>, number: impl Integer) {
    value.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Takes one field after the other. Values are visible ASCII and spaces.
trait Fields {
    fn field(&mut self, name: Name, value: impl FnOnce(&mut Vec<u8>));

    fn text(&mut self, name: Name, text: &[u8]) {
        self.field(name, |value| value.extend_from_slice(text));
    }

    fn number(&mut self, name: Name, number: impl Integer) {
        self.field(name, |value| self::number(value, number));
    }
}

struct Lines<'a>(&'a mut Vec<u8>);

impl Fields for Lines<'_> {
    fn field(&mut self, (_, name): Name, value: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(name.as_bytes());
        value(self.0);
        self.0.extend_from_slice(b"\r\n");
    }
}

struct Map<'a> {
    headers: &'a mut HeaderMap,
    value: Vec<u8>,
}

impl Fields for Map<'_> {
    fn field(&mut self, (name, _): Name, value: impl FnOnce(&mut Vec<u8>)) {
        self.value.clear();
        value(&mut self.value);
        let value = HeaderValue::from_bytes(&self.value).expect("it is a value by what it is of");
        self.headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_map_have_the_same_names() {
        for (name, line) in
            [REQUEST_ID, APP_ID, REGION, LIMIT, REMAINING, RESET, POLICY, RATE_LIMIT]
        {
            assert_eq!(line.to_lowercase(), format!("{name}: "));
        }
    }
}
