//! Content-Length: RFC 9110, section 8.6; RFC 9112, section 6.

use super::{Allowed, BAD, BAD_OR_CLOSED, Case, EITHER, OK, ends, must};

fn length(name: &str, lines: &[u8], allowed: Allowed) -> Case {
    let start = b"POST {P}/a HTTP/1.1\r\n{H}{A}".as_slice();
    must(name, [start, lines, b"\r\nhello"].concat(), allowed)
}

/// No body follows: the field is not read as its length.
fn other_field(name: &str, line: &[u8]) -> Case {
    must(name, [b"GET {P}/a HTTP/1.1\r\n{H}{A}".as_slice(), line, b"\r\n"].concat(), OK)
}

pub fn cases() -> Vec<Case> {
    vec![
        length("length", b"Content-Length: 5\r\n", OK),
        length("length in small letters", b"content-length:5\r\n", OK),
        length("length in blanks", b"Content-Length: \t5 \r\n", OK),
        length("length with zeros", b"Content-Length: 0000005\r\n", EITHER),
        length("length twice, alike", b"Content-Length: 5\r\nContent-Length: 5\r\n", EITHER),
        length("length in a list, alike", b"Content-Length: 5, 5\r\n", EITHER),
        length("length and a comma", b"Content-Length: 5,\r\n", EITHER),
        length("comma and length", b"Content-Length: ,5\r\n", EITHER),
        length("length twice, unlike", b"Content-Length: 5\r\nContent-Length: 6\r\n", BAD),
        length("length twice, one empty", b"Content-Length: 5\r\nContent-Length:\r\n", BAD),
        length("length in a list, unlike", b"Content-Length: 5, 6\r\n", BAD),
        length("length with a plus", b"Content-Length: +5\r\n", BAD),
        length("length with a minus", b"Content-Length: -5\r\n", BAD),
        length("length of minus nothing", b"Content-Length: -0\r\n", BAD),
        length("length with a blank inside", b"Content-Length: 5 5\r\n", BAD),
        length("length with a tab inside", b"Content-Length: 5\t5\r\n", BAD),
        length("length in hexadecimal", b"Content-Length: 0x5\r\n", BAD),
        length("length with a letter", b"Content-Length: 5a\r\n", BAD),
        length("length with a point", b"Content-Length: 5.0\r\n", BAD),
        length("length with an exponent", b"Content-Length: 5e0\r\n", BAD),
        length("length with a separator", b"Content-Length: 5_0\r\n", BAD),
        length("length in words", b"Content-Length: five\r\n", BAD),
        length("length in quotes", b"Content-Length: \"5\"\r\n", BAD),
        length("length with a parameter", b"Content-Length: 5;a=b\r\n", BAD),
        length("length in wide digits", "Content-Length: ５\r\n".as_bytes(), BAD),
        length("length empty", b"Content-Length:\r\n", BAD),
        length("length of 2^64 + 5", b"Content-Length: 18446744073709551621\r\n", BAD),
        length("length of 30 digits", b"Content-Length: 999999999999999999999999999999\r\n", BAD),
        length("length with NUL", b"Content-Length: 5\0\r\n", BAD),
        length("length with a vertical tab", b"Content-Length: \x0b5\r\n", BAD),
        length("blank before the colon of length", b"Content-Length : 5\r\n", BAD),
        must("no length", b"POST {P}/a HTTP/1.1\r\n{H}{A}\r\n", OK),
        must("length of nothing", b"POST {P}/a HTTP/1.1\r\n{H}{A}Content-Length: 0\r\n\r\n", OK),
        must("GET with a body", b"GET {P}/a HTTP/1.1\r\n{H}{A}Content-Length: 5\r\n\r\nhello", OK),
        other_field("underscore for hyphen in length", b"Content_Length: 5\r\n"),
        other_field("a longer name than length", b"X-Content-Length: 5\r\n"),
        ends(
            "body broken off",
            b"POST {P}/a HTTP/1.1\r\n{H}{A}Content-Length: 50\r\n\r\nhello",
            BAD_OR_CLOSED,
        ),
        ends("no body", b"POST {P}/a HTTP/1.1\r\n{H}{A}Content-Length: 5\r\n\r\n", BAD_OR_CLOSED),
    ]
}
