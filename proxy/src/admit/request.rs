//! Strict framing: what a request must look like before anything is looked up. The engine is
//! lenient in places where two servers may read one request differently; here such a request is
//! refused, so that what is authorised is exactly what is forwarded. It never changes a request.

use authsome_shared::code::Code;
use authsome_shared::scan;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use memchr::memchr;

use super::Head;
use crate::denied::Cause;

/// Longest method, in bytes.
const MAX_METHOD: usize = 32;
/// Longest target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;
/// Largest head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most header fields.
pub const MAX_FIELDS: usize = 100;

/// A target taken apart; every piece is a part of the bytes that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// `None` when it is not of the form `/v1/{application}/…`.
    pub application: Option<&'a str>,
    /// What follows the application; `/` when nothing does.
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// The announced length of the body.
    pub length: Option<u64>,
}

fn refuse(code: Code, reason: &'static str, message: &'static str) -> Cause {
    Cause::Request { code, reason, message }
}

fn invalid(reason: &'static str, message: &'static str) -> Cause {
    refuse(Code::InvalidRequest, reason, message)
}

/// Checks a head and takes its target apart.
pub fn check<'a>(head: &Head<'a>) -> Result<Target<'a>, Cause> {
    size(head)?;
    method(head.method.as_bytes())?;
    let framing = Framing::of(head.headers);
    host(&framing.host, head.authority)?;
    let length = body_length(&framing, head.two_framings)?;
    let target = printable(head.target)?;
    let (path, query) = split_query(target);
    check_path(path)?;
    if let Some(query) = query {
        check_escapes(query)?;
    }
    let (application, path) = split_path(path);
    Ok(Target { application, path, query, length })
}

/// The path, and the query if there is one.
pub fn split_query(target: &str) -> (&str, Option<&str>) {
    match memchr(b'?', target.as_bytes()) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

fn size(head: &Head) -> Result<(), Cause> {
    if head.target.len() > MAX_TARGET {
        return Err(refuse(Code::UriTooLong, "uri_too_long", "The request target is too long"));
    }
    if head.bytes > MAX_HEAD || head.headers.len() > MAX_FIELDS {
        let message = "The request's header fields are too large";
        return Err(refuse(Code::HeadersTooLarge, "headers_too_large", message));
    }
    Ok(())
}

/// A token of capital letters that is not one of those that no gateway passes on.
pub fn method(method: &[u8]) -> Result<(), Cause> {
    let is_part = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-' || *byte == b'_';
    let well_formed =
        !method.is_empty() && method.len() <= MAX_METHOD && method.iter().all(is_part);
    if !well_formed {
        return Err(invalid("method", "The method must be a token of capital letters"));
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        let message = "The method is not implemented";
        return Err(refuse(Code::NotImplemented, "method", message));
    }
    Ok(())
}

/// The fields that say whom a message is for and where it ends, each of which may come once.
#[derive(Default)]
struct Framing<'a> {
    host: Once<'a>,
    coding: Once<'a>,
    length: Once<'a>,
}

#[derive(Default)]
struct Once<'a> {
    value: Option<&'a [u8]>,
    repeated: bool,
}

impl<'a> Framing<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut framing = Self::default();
        for (name, value) in headers {
            let once = if *name == HOST {
                &mut framing.host
            } else if *name == CONTENT_LENGTH {
                &mut framing.length
            } else if *name == TRANSFER_ENCODING {
                &mut framing.coding
            } else {
                continue;
            };
            once.repeated = once.value.replace(value.as_bytes()).is_some();
        }
        framing
    }
}

/// Exactly one valid host: the `Host` field, or the authority of HTTP/2.
fn host(field: &Once, authority: Option<&str>) -> Result<(), Cause> {
    match (authority.map(str::as_bytes), field) {
        (Some(authority), Once { value: None, .. }) => host_value(authority),
        (authority, Once { value: Some(host), repeated: false })
            if authority.is_none_or(|it| it == *host) =>
        {
            host_value(host)
        }
        _ => Err(invalid("host", "The request needs one Host")),
    }
}

/// `host[:port]`, without anything that two servers could read differently.
pub fn host_value(host: &[u8]) -> Result<(), Cause> {
    let valid = is_plain_host(host)
        || host.iter().all(|byte| HOST_BYTES[usize::from(*byte)])
            && http::uri::Authority::try_from(host).is_ok()
            && has_numeric_port(host);
    if valid { Ok(()) } else { Err(invalid("host", "The Host is not valid")) }
}

/// A name or an IPv4 address, with or without a port: what nearly all are, and seen at once.
fn is_plain_host(host: &[u8]) -> bool {
    let (name, port) = match memchr(b':', host) {
        Some(at) => (&host[..at], &host[at + 1..]),
        None => (host, &b""[..]),
    };
    !name.is_empty()
        && !scan::any(name, |byte| !byte.is_ascii_alphanumeric() && byte != b'.' && byte != b'-')
        && port.iter().all(u8::is_ascii_digit)
}

const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'@' | b'/'
                    | b'\\'
                    | b'?'
                    | b'#'
                    | b'<'
                    | b'>'
                    | b'"'
                    | b'{'
                    | b'}'
                    | b'|'
                    | b'^'
                    | b'`'
            );
        byte += 1;
    }
    table
};

/// The port, if there is one, is digits only; colons in brackets belong to the address.
fn has_numeric_port(host: &[u8]) -> bool {
    let after = host.iter().rposition(|byte| *byte == b']').map_or(host, |at| &host[at + 1..]);
    let mut parts = after.splitn(2, |byte| *byte == b':').skip(1);
    parts.next().is_none_or(|port| port.iter().all(u8::is_ascii_digit))
}

/// One way, and one only, to tell where the body ends. Gives the announced length.
fn body_length(framing: &Framing, two_framings: bool) -> Result<Option<u64>, Cause> {
    let Framing { coding, length, .. } = framing;
    if two_framings || (coding.value.is_some() && length.value.is_some()) {
        let message = "Content-Length and Transfer-Encoding exclude each other";
        return Err(invalid("framing", message));
    }
    if coding.repeated || coding.value.is_some_and(|coding| coding != b"chunked") {
        let message = "Only the transfer coding `chunked` is implemented";
        return Err(refuse(Code::NotImplemented, "transfer_encoding", message));
    }
    match length.value.map(number) {
        None => Ok(None),
        Some(Some(number)) if !length.repeated => Ok(Some(number)),
        Some(_) => Err(invalid("content_length", "Content-Length must be one number")),
    }
}

/// Digits and nothing else; the largest number that any server reads alike.
pub fn number(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    if valid { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

/// A target in origin form, as text.
pub fn printable(target: &[u8]) -> Result<&str, Cause> {
    is_printable(target)?;
    std::str::from_utf8(target).map_err(|_| invalid("target", NOT_PRINTABLE))
}

const NOT_PRINTABLE: &str = "The request target must be printable ASCII without a fragment";

/// Is it in origin form?
pub fn is_printable(target: &[u8]) -> Result<(), Cause> {
    if !target.starts_with(b"/") {
        return Err(invalid("target", "The request target must begin with `/`"));
    }
    if scan::any(target, |byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(invalid("target", NOT_PRINTABLE));
    }
    Ok(())
}

fn check_escapes(text: &str) -> Result<(), Cause> {
    let bad = memchr(b'%', text.as_bytes()).is_some()
        && text
            .match_indices('%')
            .any(|(at, _)| decode_escape(&text.as_bytes()[at + 1..]).is_none());
    if bad {
        return Err(invalid("escape", "A percent sign must begin an escape of two digits"));
    }
    Ok(())
}

fn decode_escape(after_percent: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*after_percent.first()?)? << 4 | digit(*after_percent.get(1)?)?)
}

/// No escape, segment or separator that another server could read as a different path.
fn check_path(path: &str) -> Result<(), Cause> {
    #[expect(clippy::needless_bitwise_bool, reason = "many bytes are judged at once")]
    let is_special = |byte| (byte == b'%') | (byte == b'\\') | (byte == b'.');
    if !scan::any(path.as_bytes(), is_special) {
        return Ok(());
    }
    check_escapes(path)?;
    for (at, _) in path.match_indices('%') {
        match decode_escape(&path.as_bytes()[at + 1..]) {
            Some(b'/' | b'\\') => {
                return Err(invalid("path", "The path must not hold an encoded slash"));
            }
            Some(0..=0x1f | 0x7f) => {
                return Err(invalid("path", "The path must not hold control characters"));
            }
            _ => {}
        }
    }
    if path.contains('\\') {
        return Err(invalid("path", "The path must not hold a backslash"));
    }
    if path.split('/').any(is_dot_segment) {
        return Err(invalid("path", "The path must not hold dot segments"));
    }
    Ok(())
}

/// `.` or `..` in any spelling, also with path parameters (`..;x`).
fn is_dot_segment(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    if name.len() > 6 || !name.starts_with(['.', '%']) {
        return false;
    }
    let plain = name.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// `/v1/{application}{path}`
pub fn split_path(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v1/") else { return (None, path) };
    match memchr(b'/', rest.as_bytes()) {
        Some(at) => (Some(&rest[..at]), &rest[at..]),
        None => (Some(rest), "/"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_host_that_is_seen_at_once_is_one_by_every_rule(host in "[a-z0-9A-Z:._%@-]{0,24}") {
            if is_plain_host(host.as_bytes()) {
                prop_assert!(http::uri::Authority::try_from(&*host).is_ok(), "{}", host);
                prop_assert!(has_numeric_port(host.as_bytes()), "{}", host);
            }
        }
    }
}
