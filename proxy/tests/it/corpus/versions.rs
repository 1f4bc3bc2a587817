//! Versions: RFC 9110, sections 2.5 and 6.2; RFC 9112, section 2.3.

use super::{Allowed, BAD_OR_CLOSED, Case, EITHER, OK, must};

const REFUSED: Allowed = &[&[400], &[505]];

fn version(version: &str, allowed: Allowed) -> Case {
    let line = format!("GET {{P}}/a {version}\r\n{{H}}{{A}}\r\n");
    must(&format!("version: {}", version.escape_debug()), line, allowed)
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        version("HTTP/1.1", OK),
        version("HTTP/1.0", OK),
        version("HTTP/1.2", &[&[200], &[400], &[505]]),
        must("HTTP/1.0 without host", b"GET {P}/a HTTP/1.0\r\n{A}\r\n", EITHER),
        must(
            "HTTP/1.0 closes",
            b"GET {P}/a HTTP/1.0\r\n{H}{A}\r\nGET {P}/b HTTP/1.0\r\n{H}{A}\r\n",
            OK,
        ),
        must(
            "HTTP/1.0 keeps alive",
            b"GET {P}/a HTTP/1.0\r\n{H}{A}Connection: keep-alive\r\n\r\n\
              GET {P}/b HTTP/1.0\r\n{H}{A}\r\n",
            &[&[200, 200], &[200]],
        ),
        must(
            "HTTP/1.0 with a length",
            b"POST {P}/a HTTP/1.0\r\n{H}{A}Content-Length: 5\r\n\r\nhello",
            OK,
        ),
        must("HTTP/1.0 POST without a length", b"POST {P}/a HTTP/1.0\r\n{H}{A}\r\n", EITHER),
        must("HTTP/0.9", b"GET {P}/a\r\n", BAD_OR_CLOSED),
        must("HTTP/0.9 with an empty line", b"GET {P}/a\r\n\r\n", BAD_OR_CLOSED),
    ];
    cases.extend(
        [
            "HTTP/0.9",
            "HTTP/2.0",
            "HTTP/2",
            "HTTP/3.0",
            "HTTP/9.9",
            "HTTP/1",
            "HTTP/1.",
            "HTTP/11",
            "HTTP/1.10",
            "HTTP/1.1.1",
            "HTTP/01.1",
            "HTTP/1,1",
            "HTTP/x.y",
            "HTTP/+1.1",
            "HTTP/-1.1",
            "HTTP/1.1a",
            "http/1.1",
            "Http/1.1",
            "HTTPS/1.1",
            "HTTP//1.1",
            "HTTP1.1",
            "ICE/1.0",
            "/1.1",
            "HTTP/1.1\t",
            "HTTP/1.1\0",
            "HTTP/１.1",
        ]
        .map(|it| version(it, REFUSED)),
    );
    cases
}
