//! Header fields: RFC 9112, sections 2.2 and 5; RFC 9110, section 5.

use super::{Allowed, BAD, Case, EITHER, OK, must, policy};

fn bytes(lines: &[u8]) -> Vec<u8> {
    [b"GET {P}/a HTTP/1.1\r\n{H}{A}".as_slice(), lines, b"\r\n"].concat()
}

fn field(name: &str, lines: &[u8], allowed: Allowed) -> Case {
    must(&format!("field: {name}"), bytes(lines), allowed)
}

fn strict(name: &str, lines: &[u8]) -> Case {
    policy(&format!("field: {name}"), bytes(lines), BAD)
}

pub fn cases() -> Vec<Case> {
    let long = [b"X: ".as_slice(), &vec![b'a'; 4_000], b"\r\n"].concat();
    vec![
        field("plain", b"X-A: b\r\n", OK),
        field("without a blank", b"X-A:b\r\n", OK),
        field("empty", b"X-A:\r\n", OK),
        field("blank", b"X-A:   \t \r\n", OK),
        field("with tabs inside", b"X-A: b\tc\r\n", OK),
        field("with colons", b"X-A: b:c: d\r\n", OK),
        field("twice", b"X-A: b\r\nX-A: c\r\n", OK),
        field("every byte of a token", b"!#$%&'*+-.^_`|~0aZ: b\r\n", OK),
        field("underscore", b"X_A: b\r\n", OK),
        field("Latin-1", b"X-A: \xfc\r\n", EITHER),
        field("UTF-8", b"X-A: \xc3\xbc\r\n", EITHER),
        field("of 4,000 bytes", &long, OK),
        field("blank before the colon", b"X-A : b\r\n", BAD),
        field("tab before the colon", b"X-A\t: b\r\n", BAD),
        field("no colon", b"X-A\r\n", BAD),
        field("no name", b": b\r\n", BAD),
        field("blank in the name", b"X A: b\r\n", BAD),
        field("tab in the name", b"X\tA: b\r\n", BAD),
        field("control byte in the name", b"X\x01A: b\r\n", BAD),
        field("NUL in the name", b"X\0A: b\r\n", BAD),
        field("DEL in the name", b"X\x7fA: b\r\n", BAD),
        field("UTF-8 in the name", b"X-\xc3\x84: b\r\n", BAD),
        field("parentheses in the name", b"X(A): b\r\n", BAD),
        field("quotes in the name", b"\"X\": b\r\n", BAD),
        field("slash in the name", b"X/A: b\r\n", BAD),
        field("comma in the name", b"X,A: b\r\n", BAD),
        field("at sign in the name", b"X@A: b\r\n", BAD),
        field("equals sign in the name", b"X=A: b\r\n", BAD),
        field("brackets in the name", b"X[A]: b\r\n", BAD),
        field("NUL in the value", b"X-A: b\0c\r\n", EITHER),
        field("carriage return in the value", b"X-A: b\rc\r\n", EITHER),
        field("carriage return and a field", b"X-A: b\rContent-Length: 5\r\n", EITHER),
        field("two carriage returns", b"X-A: b\r\r\n", EITHER),
        strict("control byte in the value", b"X-A: b\x01c\r\n"),
        strict("vertical tab in the value", b"X-A: b\x0bc\r\n"),
        strict("escape in the value", b"X-A: \x1b[31m\r\n"),
        strict("DEL in the value", b"X-A: b\x7f\r\n"),
        strict("folded", b"X-A: b\r\n c\r\n"),
        strict("folded with a tab", b"X-A: b\r\n\tc\r\n"),
        strict("folded to nothing", b"X-A: b\r\n \r\n"),
        strict("line feed at the end", b"X-A: b\n"),
        strict("line feed in the value", b"X-A: b\nX-B: c\r\n"),
        must("field: blank before the first", b"GET {P}/a HTTP/1.1\r\n X-A: b\r\n{H}{A}\r\n", BAD),
        must("field: blank line with a blank first", b"GET {P}/a HTTP/1.1\r\n \r\n{H}{A}\r\n", BAD),
        policy("line feeds only", b"GET {P}/a HTTP/1.1\nHost: api.test\n\n", BAD),
        policy("line feed after the first line", b"GET {P}/a HTTP/1.1\n{H}{A}\r\n", BAD),
        policy("line feed as the last line", b"GET {P}/a HTTP/1.1\r\n{H}{A}\n", BAD),
        must("carriage returns only", b"GET {P}/a HTTP/1.1\rHost: a\r\r\n\r\n", BAD),
    ]
}
