//! Methods: RFC 9110, section 9; RFC 9112, section 3.1.

use super::{Allowed, BAD, BAD_OR_CLOSED, Case, OK, must, policy};

const UNKNOWN: Allowed = &[&[200], &[400], &[501]];
const NOT_PASSED_ON: Allowed = &[&[400], &[405], &[501]];

fn method(method: &str, allowed: Allowed) -> Case {
    let line = format!("{method} {{P}}/a HTTP/1.1\r\n{{H}}{{A}}\r\n");
    must(&format!("method: {}", method.escape_debug()), line, allowed)
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        .map(|known| method(known, OK))
        .into();
    cases.extend(["PROPFIND", "FOOBAR", "M-SEARCH", "get", "Get"].map(|it| method(it, UNKNOWN)));
    cases.extend(
        [
            "", "GE T", "G@T", "GET:", "\"GET\"", "GE\x01T", "GET\0", "G\u{c4}T", "GE(T)", "GET/",
            "{}",
        ]
        .map(|it| method(it, BAD)),
    );
    let long = "A".repeat(40);
    cases.push(must(
        "method: of 40 bytes",
        format!("{long} {{P}}/a HTTP/1.1\r\n{{H}}{{A}}\r\n"),
        UNKNOWN,
    ));
    let long = "A".repeat(100_000);
    cases.push(must(
        "method: of 100,000 bytes",
        format!("{long} {{P}}/a HTTP/1.1\r\n{{H}}{{A}}\r\n"),
        &[&[400], &[414], &[431], &[501]],
    ));
    // TRACE would show the trusted fields to the caller.
    cases.push(policy("method: TRACE", b"TRACE {P}/a HTTP/1.1\r\n{H}{A}\r\n", NOT_PASSED_ON));
    cases.push(method("CONNECT", NOT_PASSED_ON));
    cases.push(must(
        "CONNECT to an authority",
        b"CONNECT api.test:443 HTTP/1.1\r\n{H}{A}\r\n",
        NOT_PASSED_ON,
    ));
    cases.push(must(
        "a broken preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n",
        &[&[400], &[505], &[]],
    ));
    cases.push(must("a greeting of SSH", b"SSH-2.0-client\r\n\r\n", BAD_OR_CLOSED));
    cases.push(must(
        "a greeting of TLS",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03\r\n\r\n",
        BAD_OR_CLOSED,
    ));
    cases
}
