//! The strict reading of an HTTP/1 request's head, before the engine's. The engine repairs what it
//! can (blanks in targets, bare line feeds, folded lines, two framings), so that it would forward
//! something else than what came; here such a head is refused. It only reads: what the request is
//! allowed to do is for `admit`.

use authsome_shared::code::Code;
use authsome_shared::scan;
use memchr::{memchr, memrchr};

use super::body::Body;
use crate::admit::request::{self, MAX_FIELDS, MAX_HEAD, MAX_TARGET};
use crate::denied::Cause;

/// What comes before the target in the first line, at most: a method and a blank.
const MAX_BEFORE_TARGET: usize = 64;

/// A whole head at the beginning of what was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// In bytes, with the empty line.
    pub length: usize,
    pub body: Body,
}

/// Takes a head up line by line as it arrives.
#[derive(Debug, Default)]
pub struct Reader {
    /// What has been checked, in whole lines.
    checked: usize,
    /// How far a line's end has been looked for.
    searched: usize,
    lines: usize,
    fields: Fields,
}

/// What the framing depends on.
#[derive(Debug, Default)]
struct Fields {
    old: bool,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
}

fn refuse(code: Code, reason: &'static str, message: &'static str) -> Cause {
    Cause::Request { code, reason, message }
}

fn invalid(reason: &'static str, message: &'static str) -> Cause {
    refuse(Code::InvalidRequest, reason, message)
}

impl Reader {
    /// Reads on; `bytes` begins with the head and may hold more than it. `None`: not whole yet.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Head>, Cause> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            // First, so that a line too long is the same refusal however it arrives.
            self.within_limits(end + 1)?;
            let Some(line) = bytes[self.checked..end].strip_suffix(b"\r") else {
                return Err(invalid("line_end", "Lines must end with CR and LF"));
            };
            self.checked = end + 1;
            self.searched = self.checked;
            if self.lines == 0 {
                self.first(line)?;
            } else if line.is_empty() {
                return self.fields.finish(self.checked).map(Some);
            } else {
                self.fields.take(line)?;
            }
            self.lines += 1;
            if self.lines > MAX_FIELDS + 1 {
                return Err(too_large());
            }
        }
        self.searched = bytes.len();
        self.within_limits(bytes.len())?;
        Ok(None)
    }

    fn within_limits(&self, length: usize) -> Result<(), Cause> {
        if self.lines == 0 && length > MAX_TARGET + MAX_BEFORE_TARGET {
            return Err(too_long());
        }
        if length > MAX_HEAD {
            return Err(too_large());
        }
        Ok(())
    }

    /// `method SP target SP version`, and nothing besides.
    fn first(&mut self, line: &[u8]) -> Result<(), Cause> {
        let parts = memchr(b' ', line).zip(memrchr(b' ', line)).filter(|(at, last)| at < last);
        let parts = parts.map(|(at, last)| (&line[..at], &line[at + 1..last], &line[last + 1..]));
        let Some((method, target, version)) =
            parts.filter(|(_, target, _)| memchr(b' ', target).is_none())
        else {
            return Err(invalid("request_line", "The request line is not valid"));
        };
        self.fields.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(invalid("version", "The version must be HTTP/1.1 or HTTP/1.0")),
        };
        request::method(method)?;
        if target.len() > MAX_TARGET {
            return Err(too_long());
        }
        request::is_printable(target)
    }
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), Cause> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(invalid("folded", "Header fields must not be folded"));
        }
        // What ends the name is the colon, or nothing that may follow one.
        let end = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let Some(value) = rest.strip_prefix(b":").filter(|_| !name.is_empty()) else {
            return Err(match memchr(b':', line) {
                None => invalid("field", "A header field needs a colon"),
                Some(_) => invalid("field_name", "A header field's name is not valid"),
            });
        };
        if scan::any(value, |byte| !is_text(byte)) {
            return Err(invalid("field_value", "A header field's value is not valid"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value.trim_ascii()),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.coding(value.trim_ascii())
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Cause> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(invalid("host", "The request needs one Host"));
        }
        request::host_value(value)
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Cause> {
        match (self.length, request::number(value)) {
            (None, Some(length)) => self.length = Some(length),
            _ => return Err(invalid("content_length", "Content-Length must be one number")),
        }
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Cause> {
        if self.old {
            return Err(invalid("framing", "HTTP/1.0 has no Transfer-Encoding"));
        }
        if !self.chunked && value == b"chunked" {
            self.chunked = true;
            return Ok(());
        }
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        if !self.chunked && value.contains(&b',') && last == b"chunked" && !repeats_chunked(value) {
            let message = "Only the transfer coding `chunked` is implemented";
            return Err(refuse(Code::NotImplemented, "transfer_encoding", message));
        }
        Err(invalid("transfer_encoding", "Transfer-Encoding must be `chunked`, once"))
    }

    fn finish(&self, length: usize) -> Result<Head, Cause> {
        if self.hosts == 0 {
            return Err(invalid("host", "The request needs one Host"));
        }
        let body = match (self.chunked, self.length) {
            (true, Some(_)) => {
                let message = "Content-Length and Transfer-Encoding exclude each other";
                return Err(invalid("framing", message));
            }
            (true, None) => Body::chunked(),
            (false, length) => Body::of_length(length.unwrap_or(0)),
        };
        Ok(Head { length, body })
    }
}

fn repeats_chunked(value: &[u8]) -> bool {
    let coding = |part: &&[u8]| part.trim_ascii().eq_ignore_ascii_case(b"chunked");
    value.split(|byte| *byte == b',').filter(coding).count() > 1
}

fn too_long() -> Cause {
    refuse(Code::UriTooLong, "uri_too_long", "The request target is too long")
}

fn too_large() -> Cause {
    let message = "The request's header fields are too large";
    refuse(Code::HeadersTooLarge, "headers_too_large", message)
}

/// RFC 9110, section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

/// What a field's value may hold: RFC 9110, section 5.5.
#[expect(clippy::needless_bitwise_bool, reason = "many bytes are judged at once")]
pub fn is_text(byte: u8) -> bool {
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn a_head_is_the_same_however_it_arrives() {
        let whole = Reader::default().read(GOOD).expect("valid").expect("whole");
        assert_eq!(whole, Head { length: GOOD.len() - 5, body: Body::of_length(5) });
        let mut reader = Reader::default();
        for end in 0..whole.length {
            assert_eq!(reader.read(&GOOD[..end]).expect("valid so far"), None, "{end}");
        }
        assert_eq!(reader.read(&GOOD[..whole.length]).expect("valid"), Some(whole));
    }

    #[test]
    fn an_endless_line_is_refused_before_it_ends() {
        for (bytes, wanted) in [
            ([b"GET /".as_slice(), &vec![b'a'; 9_000]].concat(), Code::UriTooLong),
            (
                [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 17_000]].concat(),
                Code::HeadersTooLarge,
            ),
        ] {
            assert_eq!(Reader::default().read(&bytes).expect_err("refused").code(), wanted);
        }
    }

    #[test]
    fn tokens_are_those_of_the_rfc() {
        for byte in 0..=u8::MAX {
            let wanted = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(byte), wanted, "{byte:#x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Reader::default().read(&bytes);
            let _ = Reader::default().read(&[b"GET / HTTP/1.1\r\n".as_slice(), &bytes].concat());
        }
    }
}
