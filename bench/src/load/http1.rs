//! HTTP/1.1 as a caller that costs little: requests made by joining bytes, answers read as far as
//! their length and status. An answer without `Content-Length` is none.

use std::io;

/// One request, written anew over the last one.
#[derive(Debug)]
pub struct Request {
    before: Vec<u8>,
    after: Vec<u8>,
    bytes: Vec<u8>,
}

impl Request {
    pub fn new(path: &str, host: &str, body: usize) -> Self {
        let method = if body > 0 { "POST" } else { "GET" };
        let before = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench/1\r\n\
             Accept: application/json\r\nAuthorization: Bearer "
        );
        let after = match body {
            0 => "\r\n\r\n".to_owned(),
            length => format!("\r\nContent-Length: {length}\r\n\r\n"),
        };
        Self { before: before.into(), after: after.into(), bytes: Vec::new() }
    }

    /// The request's head with this key.
    pub fn with(&mut self, key: &str) -> &[u8] {
        self.bytes.clear();
        self.bytes.extend_from_slice(&self.before);
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(&self.after);
        &self.bytes
    }
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub struct Response {
    head: Vec<u8>,
    parsed: Option<Head>,
    body: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Bytes of the body.
    pub length: usize,
    pub closes: bool,
}

impl Response {
    /// Takes what has come; gives the head when the answer is whole.
    pub fn take(&mut self, mut bytes: &[u8]) -> io::Result<Option<Head>> {
        let head = match self.parsed {
            Some(head) => head,
            None => {
                let before = self.head.len();
                self.head.extend_from_slice(bytes);
                let from = before.saturating_sub(3);
                let Some(at) = find(&self.head[from..], b"\r\n\r\n") else { return Ok(None) };
                let end = from + at + 4;
                bytes = &bytes[end - before..];
                let head = parse(&self.head[..end])?;
                self.parsed = Some(head);
                head
            }
        };
        self.body += bytes.len();
        if self.body > head.length {
            return Err(io::Error::other("more came than was announced"));
        }
        if self.body < head.length {
            return Ok(None);
        }
        self.head.clear();
        self.parsed = None;
        self.body = 0;
        Ok(Some(head))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse(head: &[u8]) -> io::Result<Head> {
    let bad = || io::Error::other("an answer that can't be read");
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).ok_or_else(bad)?;
    let mut head = Head { status, length: usize::MAX, closes: false };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.trim().parse().map_err(|_| bad())?;
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    if head.length == usize::MAX { Err(bad()) } else { Ok(head) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_however_it_was_cut() {
        let answer =
            b"HTTP/1.1 429 Too Many\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        for cut in 0..answer.len() {
            let mut response = Response::default();
            for _ in 0..2 {
                assert_eq!(response.take(&answer[..cut]).expect("valid"), None, "at {cut}");
                let head = Head { status: 429, length: 5, closes: true };
                assert_eq!(response.take(&answer[cut..]).expect("valid"), Some(head), "at {cut}");
            }
        }
    }

    #[test]
    fn what_has_no_length_is_no_answer() {
        assert!(Response::default().take(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
