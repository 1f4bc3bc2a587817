//! Transfer-Encoding: RFC 9112, sections 6.1, 6.3 and 7.

use super::{Allowed, BAD, Case, EITHER, OK, must, policy};

const REFUSED: Allowed = &[&[400], &[501]];
/// Valid, but no client needs it.
const TAKEN_OR_REFUSED: Allowed = &[&[200], &[400], &[501]];

fn bytes(lines: &[u8]) -> Vec<u8> {
    let start = b"POST {P}/a HTTP/1.1\r\n{H}{A}".as_slice();
    [start, lines, b"\r\n5\r\nhello\r\n0\r\n\r\n"].concat()
}

fn coding(name: &str, lines: &[u8], allowed: Allowed) -> Case {
    must(name, bytes(lines), allowed)
}

pub fn cases() -> Vec<Case> {
    const TE: &[u8] = b"Transfer-Encoding: chunked\r\n";
    vec![
        coding("chunked", TE, OK),
        coding("chunked, no blank", b"transfer-encoding:chunked\r\n", OK),
        coding("chunked, blank after", b"Transfer-Encoding: chunked \r\n", OK),
        coding("chunked, tab before", b"Transfer-Encoding:\tchunked\r\n", EITHER),
        coding("Chunked", b"Transfer-Encoding: Chunked\r\n", TAKEN_OR_REFUSED),
        coding("CHUNKED", b"Transfer-Encoding: CHUNKED\r\n", TAKEN_OR_REFUSED),
        coding("comma, chunked", b"Transfer-Encoding: , chunked\r\n", TAKEN_OR_REFUSED),
        coding("chunked, comma", b"Transfer-Encoding: chunked,\r\n", TAKEN_OR_REFUSED),
        policy("length and chunked", bytes(&[b"Content-Length: 5\r\n", TE].concat()), BAD),
        policy("chunked and length", bytes(&[TE, b"Content-Length: 5\r\n"].concat()), BAD),
        policy(
            "chunked and length of nothing",
            bytes(&[TE, b"Content-Length: 0\r\n"].concat()),
            BAD,
        ),
        policy("chunked and a bad length", bytes(&[TE, b"Content-Length: x\r\n"].concat()), BAD),
        policy("chunked and an empty length", bytes(&[TE, b"Content-Length:\r\n"].concat()), BAD),
        coding("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", REFUSED),
        coding("gzip", b"Transfer-Encoding: gzip\r\n", REFUSED),
        coding("identity", b"Transfer-Encoding: identity\r\n", REFUSED),
        coding("identity, chunked", b"Transfer-Encoding: identity, chunked\r\n", REFUSED),
        coding("chunked, identity", b"Transfer-Encoding: chunked, identity\r\n", REFUSED),
        coding("chunked, gzip", b"Transfer-Encoding: chunked, gzip\r\n", REFUSED),
        coding("chunked, chunked", b"Transfer-Encoding: chunked, chunked\r\n", REFUSED),
        coding("chunked twice", &[TE, TE].concat(), REFUSED),
        coding("chunked and identity", &[TE, b"Transfer-Encoding: identity\r\n"].concat(), REFUSED),
        coding("identity and chunked", &[b"Transfer-Encoding: identity\r\n", TE].concat(), REFUSED),
        coding("gzip and chunked", &[b"Transfer-Encoding: gzip\r\n", TE].concat(), REFUSED),
        coding("chunked and cow", &[TE, b"Transfer-encoding: cow\r\n"].concat(), REFUSED),
        coding("chunked and nothing", &[TE, b"Transfer-Encoding:\r\n"].concat(), REFUSED),
        coding("no coding", b"Transfer-Encoding:\r\n", REFUSED),
        coding("xchunked", b"Transfer-Encoding: xchunked\r\n", REFUSED),
        coding("chunkedx", b"Transfer-Encoding: chunkedx\r\n", REFUSED),
        coding("chun ked", b"Transfer-Encoding: chun ked\r\n", REFUSED),
        coding("chunked with a parameter", b"Transfer-Encoding: chunked;a=b\r\n", REFUSED),
        coding("chunked in quotes", b"Transfer-Encoding: \"chunked\"\r\n", REFUSED),
        coding("chunked with a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", REFUSED),
        coding("chunked with a form feed", b"Transfer-Encoding: chunked\x0c\r\n", REFUSED),
        coding("chunked with NUL", b"Transfer-Encoding: chunked\0\r\n", REFUSED),
        coding("chunked not in ASCII", b"Transfer-Encoding: chunk\xc3\xa9d\r\n", REFUSED),
        coding("blank before the colon", b"Transfer-Encoding : chunked\r\n", BAD),
        coding("tab before the colon", b"Transfer-Encoding\t: chunked\r\n", BAD),
        policy("chunked, folded", bytes(b"Transfer-Encoding:\r\n chunked\r\n"), BAD),
        policy("folded into another", bytes(b"X: y\r\n Transfer-Encoding: chunked\r\n"), BAD),
        must(
            "chunked in HTTP/1.0",
            b"POST {P}/a HTTP/1.0\r\n{H}{A}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            REFUSED,
        ),
        must(
            "chunked GET",
            b"GET {P}/a HTTP/1.1\r\n{H}{A}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            OK,
        ),
        must(
            "underscore for hyphen in coding",
            b"GET {P}/a HTTP/1.1\r\n{H}{A}Transfer_Encoding: chunked\r\n\r\n",
            OK,
        ),
        must("TE is another field", b"GET {P}/a HTTP/1.1\r\n{H}{A}TE: chunked\r\n\r\n", OK),
    ]
}
