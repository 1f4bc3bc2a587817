//! The head of an HTTP/1 request: the same answer in whatever pieces it arrives, the same as a
//! reading by the letter, and nothing that the engine's own parser (httparse) reads differently.

use crate::admit::request::{MAX_FIELDS, MAX_HEAD, MAX_TARGET, host_value, method, printable};
use crate::listener::body::Body;
use crate::listener::head::{Head, Reader, is_text, is_token};

pub fn run(bytes: &[u8]) {
    let whole = Reader::default().read(bytes);
    assert_eq!(in_pieces(bytes), whole, "it depends on how it arrives");
    let found = whole.ok().flatten();
    assert_eq!(found, naive(bytes));
    let Some(head) = found else { return };
    let again = as_the_engine_reads(&bytes[..head.length]);
    // Written anew it may have grown over a bound.
    if again.len() <= head.length {
        let again = Reader::default().read(&again).expect("valid").expect("whole");
        assert_eq!(again.body, head.body);
    }
}

fn in_pieces(bytes: &[u8]) -> Result<Option<Head>, crate::denied::Cause> {
    let step = 1 + bytes.len() % 61;
    let mut reader = Reader::default();
    let mut end = 0;
    loop {
        end = bytes.len().min(end + step);
        match reader.read(&bytes[..end]) {
            Ok(None) if end < bytes.len() => {}
            answer => return answer,
        }
    }
}

/// What httparse makes of a head that passed, written out again.
fn as_the_engine_reads(bytes: &[u8]) -> Vec<u8> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).expect("the engine refuses what was let through");
    assert_eq!(parsed, httparse::Status::Complete(bytes.len()));
    let version = request.version.expect("parsed");
    let (method, target) = (request.method.expect("parsed"), request.path.expect("parsed"));
    let mut again = format!("{method} {target} HTTP/1.{version}\r\n").into_bytes();
    assert!(bytes.starts_with(&again), "the first line is another");
    let lines = bytes.split(|byte| *byte == b'\n').count() - 3;
    assert_eq!(request.headers.len(), lines, "other fields");
    for field in request.headers.iter() {
        again.extend_from_slice(field.name.as_bytes());
        again.push(b':');
        again.extend_from_slice(field.value);
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(b"\r\n");
    again
}

/// A head by the letter of RFC 9112 within our bounds; `None` for anything else or less.
fn naive(bytes: &[u8]) -> Option<Head> {
    let length = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let text = &bytes[..length - 4];
    let lines = split(text, b"\r\n");
    let (first, fields) = lines.split_first()?;
    let parts = split(first, b" ");
    let [verb, target, version] = parts[..] else { return None };
    let old = version == b"HTTP/1.0";
    let first_right = (old || version == b"HTTP/1.1")
        && method(verb).is_ok()
        && printable(target).is_ok()
        && target.len() <= MAX_TARGET
        && first.len() + 2 <= MAX_TARGET + 64;
    if !first_right || length > MAX_HEAD || fields.len() > MAX_FIELDS {
        return None;
    }
    let mut pairs = Vec::new();
    for line in fields {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let right = !name.is_empty()
            && name.iter().copied().all(is_token)
            && value.iter().copied().all(is_text);
        pairs.push(right.then(|| (name.to_ascii_lowercase(), value.trim_ascii()))?);
    }
    let all = |name: &[u8]| -> Vec<&[u8]> {
        pairs.iter().filter(|(own, _)| own == name).map(|(_, value)| *value).collect()
    };
    let [host] = all(b"host")[..] else { return None };
    host_value(host).ok()?;
    let body = match (&all(b"content-length")[..], &all(b"transfer-encoding")[..]) {
        ([], []) => Body::of_length(0),
        ([digits], []) => {
            let right = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            let digits = std::str::from_utf8(digits).ok().filter(|_| right)?;
            Body::of_length(digits.parse().ok()?)
        }
        ([], [b"chunked"]) if !old => Body::chunked(),
        _ => return None,
    };
    Some(Head { length, body })
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(by.len()).position(|it| it == by) {
        parts.push(&rest[..at]);
        rest = &rest[at + by.len()..];
    }
    parts.push(rest);
    parts
}
