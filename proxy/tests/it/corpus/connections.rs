//! Several requests on one connection, and what belongs to none: RFC 9112, sections 2.2 and 9;
//! RFC 9110, sections 7.8 and 10.1.1.

use super::{BAD, BAD_OR_CLOSED, Case, EITHER, OK, ends, must, policy};

const GET: &[u8] = b"GET {P}/a HTTP/1.1\r\n{H}{A}\r\n";
const POST: &[u8] = b"POST {P}/b HTTP/1.1\r\n{H}{A}Content-Length: 5\r\n\r\nhello";
const CHUNKS: &[u8] =
    b"POST {P}/c HTTP/1.1\r\n{H}{A}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const WRONG: &[u8] = b"GET {P}/a HTTP/1.1\r\n{A}\r\n";

fn get_with(lines: &[u8]) -> Vec<u8> {
    [b"GET {P}/a HTTP/1.1\r\n{H}{A}".as_slice(), lines, b"\r\n"].concat()
}

pub fn cases() -> Vec<Case> {
    let expect = |value: &str| {
        format!(
            "POST {{P}}/a HTTP/1.1\r\n{{H}}{{A}}Expect: {value}\r\nContent-Length: 5\r\n\r\nhello"
        )
    };
    vec![
        must("three at once", [GET, GET, GET].concat(), &[&[200, 200, 200]]),
        must("bodies between", [POST, GET, CHUNKS, GET].concat(), &[&[200, 200, 200, 200]]),
        must("twenty at once", GET.repeat(20), &[&[200; 20]]),
        must("a bad second", [GET, WRONG, GET].concat(), &[&[200, 400]]),
        must("a bad one after a body", [POST, WRONG, GET].concat(), &[&[200, 400]]),
        must("a bad one after chunks", [CHUNKS, WRONG, GET].concat(), &[&[200, 400]]),
        must("a bad first", [WRONG, GET].concat(), BAD),
        must("rubbish after a request", [GET, b"\x01\x02\r\n\r\n"].concat(), &[&[200, 400], &[200]]),
        must("a body that was not announced", [GET, b"hello\r\n\r\n"].concat(), &[&[200, 400]]),
        must("more than was announced", [POST, b"!!\r\n\r\n"].concat(), &[&[200, 400]]),
        must("more after the last chunk", [CHUNKS, b"!!\r\n\r\n"].concat(), &[&[200, 400]]),
        must("close, then another", [&*get_with(b"Connection: close\r\n"), GET].concat(), OK),
        must("close in a list", [&*get_with(b"Connection: x-a, Close\r\n"), GET].concat(), OK),
        must("keep-alive", [&*get_with(b"Connection: keep-alive\r\n"), GET].concat(), &[&[200, 200]]),
        must("an empty line between", [POST, b"\r\n", GET].concat(), &[&[200, 200]]),
        must("an empty line first", [b"\r\n", GET].concat(), OK),
        must("two empty lines first", [b"\r\n\r\n", GET].concat(), EITHER),
        policy("a line feed first", [b"\n", GET].concat(), BAD),
        must("a blank line first", [b" \r\n", GET].concat(), BAD),
        must("expecting to continue", expect("100-continue"), OK),
        must("expecting in capitals", expect("100-CONTINUE"), OK),
        must("expecting something else", expect("200-ok"), &[&[200], &[417]]),
        must("expecting without a body", get_with(b"Expect: 100-continue\r\n"), OK),
        must(
            "expecting in HTTP/1.0",
            b"POST {P}/a HTTP/1.0\r\n{H}{A}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            OK,
        ),
        must("an upgrade nobody takes", get_with(b"Connection: upgrade\r\nUpgrade: foo/2\r\n"), OK),
        must("an upgrade without Connection", get_with(b"Upgrade: websocket\r\n"), OK),
        must(
            "an upgrade to HTTP/2",
            get_with(
                b"Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                  HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ),
            OK,
        ),
        must(
            "a request behind an upgrade nobody takes",
            [&*get_with(b"Connection: upgrade\r\nUpgrade: websocket\r\n"), GET].concat(),
            &[&[200, 200], &[200], &[400]],
        ),
        must(
            "a request in a body",
            [b"POST {P}/a HTTP/1.1\r\n{H}{A}Content-Length: 28\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"
                .as_slice(), GET]
            .concat(),
            &[&[200, 200], &[200, 400]],
        ),
        policy(
            "a request hidden behind two framings",
            b"POST {P}/a HTTP/1.1\r\n{H}{A}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n\
              0\r\n\r\nGET {P}/admin HTTP/1.1\r\n{H}{A}\r\n",
            BAD,
        ),
        ends("nothing", b"", BAD_OR_CLOSED),
        ends("an empty line only", b"\r\n", BAD_OR_CLOSED),
        ends("half a request line", b"GET {P}", BAD_OR_CLOSED),
        ends("half a head", b"GET {P}/a HTTP/1.1\r\nHost: a\r\n", BAD_OR_CLOSED),
    ]
}
