//! The request line and its target: RFC 9112, section 3; RFC 3986, sections 2 and 3.3.

use super::{Allowed, BAD, Case, EITHER, OK, must, policy};

fn bytes(target: &[u8]) -> Vec<u8> {
    [b"GET ".as_slice(), target, b" HTTP/1.1\r\n{H}{A}\r\n"].concat()
}

fn target(name: &str, target: &[u8], allowed: Allowed) -> Case {
    must(&format!("target: {name}"), bytes(target), allowed)
}

/// A path that is authorised as one thing and may be served as another.
fn path(name: &str, target: &[u8]) -> Case {
    policy(&format!("target: {name}"), bytes(target), BAD)
}

fn line(name: &str, line: &[u8], allowed: Allowed) -> Case {
    must(&format!("request line: {name}"), [line, b"\r\n{H}{A}\r\n"].concat(), allowed)
}

/// A recipient may take words at any blanks (RFC 9112, section 3).
fn loose(name: &str, line: &[u8]) -> Case {
    policy(&format!("request line: {name}"), [line, b"\r\n{H}{A}\r\n"].concat(), BAD)
}

pub fn cases() -> Vec<Case> {
    vec![
        target("a path", b"{P}/a/b", OK),
        target("with a query", b"{P}/a?b=c&d", OK),
        target("with an empty query", b"{P}/a?", OK),
        target("question marks and slashes in a query", b"{P}/a?b=/c?d", OK),
        target("escapes", b"{P}/a%20b%C3%BC", OK),
        target("all that needs no escape", b"{P}/aZ09-._~!$&'()*+,;=:@", OK),
        target("double slash", b"{P}/a//b", OK),
        target("slash at the end", b"{P}/a/", OK),
        target("a hidden file", b"{P}/.a/...", OK),
        target("escaped line end in a query", b"{P}/a?b=%0d%0a", EITHER),
        target("braces", b"{P}/a?b={c}", EITHER),
        target("a bar", b"{P}/a?b|c", EITHER),
        target("angles", b"{P}/a?<b>", EITHER),
        target("quotes", b"{P}/a?\"b\"", EITHER),
        target("asterisk", b"*", BAD),
        must("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n{H}{A}\r\n", EITHER),
        target("authority", b"api.test:80", BAD),
        target("no slash", b"a/b", BAD),
        target("a query only", b"?a=b", BAD),
        path("another scheme", b"ftp://api.test/a"),
        target("a scheme without slashes", b"http:/api.test/a", BAD),
        target("control byte", b"{P}/a\x01b", BAD),
        target("NUL", b"{P}/a\0b", BAD),
        target("DEL", b"{P}/a\x7fb", BAD),
        target("tab", b"{P}/a\tb", BAD),
        target("vertical tab", b"{P}/a\x0bb", BAD),
        target("carriage return", b"{P}/a\rb", BAD),
        target("blank", b"{P}/a b", BAD),
        target("blanks", b"{P}/a b c", BAD),
        target("blank in a query", b"{P}/a?b c", BAD),
        target("UTF-8", b"{P}/\xc3\xbc", BAD),
        target("Latin-1", b"{P}/\xfc", BAD),
        target("UTF-8 in a query", b"{P}/a?\xc3\xbc", BAD),
        target("fragment", b"{P}/a#b", BAD),
        target("fragment after a query", b"{P}/a?b#c", BAD),
        path("dots", b"{P}/../a"),
        path("dots at the end", b"{P}/a/.."),
        path("a dot", b"{P}/./a"),
        path("dots, escaped", b"{P}/%2e%2E/a"),
        path("dots, half escaped", b"{P}/.%2e/a"),
        path("dots with a parameter", b"{P}/..;a=b/a"),
        path("dots beyond the root", b"/../../a"),
        path("slash, escaped", b"{P}/a%2fb"),
        path("slash, escaped in capitals", b"{P}/a%2Fb"),
        path("backslash", b"{P}/a\\b"),
        path("backslash, escaped", b"{P}/a%5cb"),
        path("NUL, escaped", b"{P}/a%00b"),
        path("line end, escaped", b"{P}/a%0d%0ab"),
        path("DEL, escaped", b"{P}/a%7f"),
        path("percent alone", b"{P}/100%"),
        path("half an escape", b"{P}/a%2"),
        path("no escape", b"{P}/a%zz"),
        path("no escape in a query", b"{P}/a?b=%g0"),
        line("no target", b"GET HTTP/1.1", BAD),
        line("an empty target", b"GET  HTTP/1.1", BAD),
        line("only a method", b"GET", BAD),
        loose("two blanks before the target", b"GET  {P}/a HTTP/1.1"),
        loose("two blanks after the target", b"GET {P}/a  HTTP/1.1"),
        loose("a tab before the target", b"GET\t{P}/a HTTP/1.1"),
        loose("a tab after the target", b"GET {P}/a\tHTTP/1.1"),
        line("a blank at the beginning", b" GET {P}/a HTTP/1.1", BAD),
        loose("a blank at the end", b"GET {P}/a HTTP/1.1 "),
        line("a fourth part", b"GET {P}/a HTTP/1.1 b", BAD),
        line("NUL at the beginning", b"\0GET {P}/a HTTP/1.1", BAD),
    ]
}
