//! Chunked bodies: RFC 9112, section 7.1.

use super::{Allowed, BAD_OR_CLOSED, Case, EITHER, OK, ends, must, policy};

const START: &[u8] = b"POST {P}/a HTTP/1.1\r\n{H}{A}Transfer-Encoding: chunked\r\n\r\n";

/// Refused; the request may have gone on by then, so closing is an answer too.
const BROKEN: Allowed = BAD_OR_CLOSED;

fn whole(body: &[u8]) -> Vec<u8> {
    [START, body].concat()
}

fn chunks(name: &str, body: &[u8], allowed: Allowed) -> Case {
    must(&format!("chunks: {name}"), whole(body), allowed)
}

pub fn cases() -> Vec<Case> {
    let long = "a".repeat(20_000);
    vec![
        chunks("one", b"5\r\nhello\r\n0\r\n\r\n", OK),
        chunks("three", b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", OK),
        chunks("none", b"0\r\n\r\n", OK),
        chunks("size in small letters", b"a\r\n0123456789\r\n0\r\n\r\n", OK),
        chunks("size in capitals", b"A\r\n0123456789\r\n0\r\n\r\n", OK),
        chunks("data that looks like an end", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", OK),
        chunks("zeros before the size", b"005\r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("many zeros as the last", b"000\r\n\r\n", EITHER),
        chunks("extension", b"5;a=b\r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("extension without a value", b"5;a\r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("extension in quotes", b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("blank and extension", b"5 ;a=b\r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("extension of the last", b"5\r\nhello\r\n0;a=b\r\n\r\n", EITHER),
        chunks("trailer", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", OK),
        chunks("two trailers", b"0\r\nX-Sum: 1\r\nX-Other:\r\n\r\n", OK),
        chunks("a length as trailer", b"0\r\nContent-Length: 5\r\n\r\n", EITHER),
        chunks("a host as trailer", b"0\r\nHost: b\r\n\r\n", EITHER),
        chunks("no size", b"\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("extension without a size", b";a=b\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("size is no number", b"g\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("size with a minus", b"-5\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("size with a plus", b"+5\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("blank before the size", b" 5\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("blank after the size", b"5 \r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("blank in the size", b"5 5\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("size in wide digits", "５\r\nhello\r\n0\r\n\r\n".as_bytes(), BROKEN),
        chunks("size over 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("size of 64 bits", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("line feed after the size", b"5\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("carriage return after the size", b"5\rhello\r\n0\r\n\r\n", BROKEN),
        chunks("nothing after the data", b"5\r\nhello0\r\n\r\n", BROKEN),
        chunks("line feed after the data", b"5\r\nhello\n0\r\n\r\n", BROKEN),
        chunks("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n", BROKEN),
        chunks("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("line feeds at the end", b"5\r\nhello\r\n0\n\n", BROKEN),
        chunks("line feed as the last line", b"5\r\nhello\r\n0\r\n\n", BROKEN),
        chunks("line feed in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("carriage return in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("NUL in an extension", b"5;a=\0\r\nhello\r\n0\r\n\r\n", BROKEN),
        chunks("trailer without a colon", b"0\r\nX-Sum\r\n\r\n", BROKEN),
        chunks("trailer without a name", b"0\r\n: 1\r\n\r\n", BROKEN),
        chunks("trailer with a blank in its name", b"0\r\nX Sum: 1\r\n\r\n", BROKEN),
        chunks("trailer with a blank before its colon", b"0\r\nX-Sum : 1\r\n\r\n", BROKEN),
        chunks("trailer with NUL", b"0\r\nX-Sum: \0\r\n\r\n", BROKEN),
        chunks("trailer that ends in a line feed", b"0\r\nX-Sum: 1\n\r\n", BROKEN),
        policy("chunks: trailer folded", whole(b"0\r\nX-Sum: 1\r\n 2\r\n\r\n"), BROKEN),
        policy(
            "chunks: long extension",
            whole(format!("5;a={long}\r\nhello\r\n0\r\n\r\n").as_bytes()),
            &[&[400], &[413], &[]],
        ),
        policy(
            "chunks: long trailer",
            whole(format!("0\r\nX-Sum: {long}\r\n\r\n").as_bytes()),
            &[&[400], &[413], &[431], &[]],
        ),
        ends("chunks: end in a size", whole(b"5"), BROKEN),
        ends("chunks: end in data", whole(b"5\r\nhel"), BROKEN),
        ends("chunks: end after data", whole(b"5\r\nhello"), BROKEN),
        ends("chunks: end before the last", whole(b"5\r\nhello\r\n"), BROKEN),
        ends("chunks: end in the last", whole(b"5\r\nhello\r\n0\r\n"), BROKEN),
        ends("chunks: end in a trailer", whole(b"5\r\nhello\r\n0\r\nX-Sum: 1"), BROKEN),
    ]
}
