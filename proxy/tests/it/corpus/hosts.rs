//! Host and the target's authority: RFC 9112, section 3.2; RFC 9110, sections 4.2 and 7.2.

use super::{BAD, Case, EITHER, OK, must, policy};

fn host(name: &str, line: &[u8], allowed: super::Allowed) -> Case {
    must(name, [b"GET {P}/a HTTP/1.1\r\n".as_slice(), line, b"{A}\r\n"].concat(), allowed)
}

pub fn cases() -> Vec<Case> {
    vec![
        host("host", b"Host: api.test\r\n", OK),
        host("host in capitals", b"HOST: API.TEST\r\n", OK),
        host("host without a blank", b"Host:api.test\r\n", OK),
        host("host in blanks and tabs", b"Host: \t api.test \t\r\n", OK),
        host("host with a port", b"Host: api.test:8080\r\n", OK),
        host("host is IPv4", b"Host: 127.0.0.1:80\r\n", OK),
        host("host is IPv6", b"Host: [::1]:80\r\n", OK),
        host("host with an empty port", b"Host: api.test:\r\n", EITHER),
        host("host with a port out of range", b"Host: api.test:99999\r\n", EITHER),
        host("host with an escape", b"Host: a%41\r\n", EITHER),
        host("host missing", b"", BAD),
        host("host twice, alike", b"Host: api.test\r\nHost: api.test\r\n", BAD),
        host("host twice, unlike", b"Host: api.test\r\nHost: other.test\r\n", BAD),
        host("host twice, one empty", b"Host: api.test\r\nHost:\r\n", BAD),
        policy("host empty", b"GET {P}/a HTTP/1.1\r\nHost:\r\n{A}\r\n", BAD),
        host("host with a user", b"Host: user@api.test\r\n", BAD),
        host("host with user and password", b"Host: u:p@api.test\r\n", BAD),
        host("host with a path", b"Host: api.test/a\r\n", BAD),
        host("host with a query", b"Host: api.test?a\r\n", BAD),
        host("host with a fragment", b"Host: api.test#a\r\n", BAD),
        host("host with a scheme", b"Host: http://api.test\r\n", BAD),
        host("host with a blank inside", b"Host: api test\r\n", BAD),
        host("host with a tab inside", b"Host: api\ttest\r\n", BAD),
        host("hosts in a list", b"Host: api.test, other.test\r\n", BAD),
        host("host with a port of letters", b"Host: api.test:http\r\n", BAD),
        host("host with two ports", b"Host: api.test:80:81\r\n", BAD),
        host("host with an open bracket", b"Host: [::1\r\n", BAD),
        host("host with a backslash", b"Host: api\\test\r\n", BAD),
        host("host with a quote", b"Host: \"api.test\"\r\n", BAD),
        host("host not in ASCII", b"Host: \xc3\xa4pi.test\r\n", BAD),
        host("host with a bad escape", b"Host: a%zz\r\n", BAD),
        host("blank before the colon of host", b"Host : api.test\r\n", BAD),
        policy("host folded", b"GET {P}/a HTTP/1.1\r\nHost:\r\n api.test\r\n{A}\r\n", BAD),
        must("absolute form", b"GET http://api.test{P}/a HTTP/1.1\r\n{H}{A}\r\n", EITHER),
        must("absolute form, other host", b"GET http://b{P}/a HTTP/1.1\r\n{H}{A}\r\n", EITHER),
        must("absolute form without host", b"GET http://api.test{P}/a HTTP/1.1\r\n{A}\r\n", BAD),
        policy("absolute form, user", b"GET http://u@api.test{P}/a HTTP/1.1\r\n{H}{A}\r\n", BAD),
        policy("absolute form, no host in it", b"GET http://{P}/a HTTP/1.1\r\n{H}{A}\r\n", BAD),
    ]
}
