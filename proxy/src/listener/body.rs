//! Where an HTTP/1 request's body ends, byte by byte as it passes: by its length, or by chunks that
//! are held to the letter of RFC 9112, section 7.1. It keeps and changes nothing, so that the engine
//! reads one message and never the beginning of the next.

use super::head::{is_text, is_token};

/// Longest chunk extension or trailer line, in bytes.
const MAX_LINE: usize = 1024;
/// All trailers together, in bytes.
const MAX_TRAILERS: usize = 8 * 1024;

/// The bytes are not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What is still to come of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Done,
    Length(u64),
    Chunked(Chunks),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    /// Of the present chunk, what is still to come.
    size: u64,
    /// Bytes of the present line, or digits of the size.
    line: usize,
    trailers: usize,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer's first byte, or the end's CR.
    Line,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl Body {
    pub fn of_length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    pub fn chunked() -> Self {
        Self::Chunked(Chunks { at: At::Size, size: 0, line: 0, trailers: 0 })
    }

    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// How many of these bytes belong to the body; fewer than all only at its end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Done => Ok(0),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |it| it.min(bytes.len()));
                *self = Self::of_length(*left - taken as u64);
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let (taken, ended) = chunks.take(bytes)?;
                if ended {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            if self.at == At::Data {
                let rest = (bytes.len() - taken) as u64;
                let skipped = self.size.min(rest);
                self.size -= skipped;
                taken += usize::try_from(skipped).map_err(|_| Malformed)?;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            taken += 1;
            if self.step(*byte)? {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// One byte that is not data; `true` when it is the body's last.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.at = match (self.at, byte) {
            (At::Size, b'\r') if self.line > 0 => At::SizeLf,
            (At::Size, b';') if self.line > 0 => {
                self.line = 0;
                At::Extension
            }
            (At::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
                self.line += 1;
                // 15 digits hold any size that is not an attack.
                if self.line > 15 {
                    return Err(Malformed);
                }
                self.size = self.size << 4 | u64::from(digit);
                At::Size
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, byte) if is_text(byte) => self.longer(At::Extension)?,
            (At::SizeLf, b'\n') => {
                self.line = 0;
                if self.size == 0 { At::Line } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Line, b'\r') => At::EndLf,
            (At::Line | At::TrailerName, byte) if is_token(byte) => self.longer(At::TrailerName)?,
            (At::TrailerName, b':') => self.longer(At::TrailerValue)?,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, byte) if is_text(byte) => self.longer(At::TrailerValue)?,
            (At::TrailerLf, b'\n') => {
                self.trailers += self.line;
                self.line = 0;
                if self.trailers > MAX_TRAILERS {
                    return Err(Malformed);
                }
                At::Line
            }
            (At::EndLf, b'\n') => return Ok(true),
            _ => return Err(Malformed),
        };
        Ok(false)
    }

    fn longer(&mut self, at: At) -> Result<At, Malformed> {
        self.line += 1;
        if self.line > MAX_LINE { Err(Malformed) } else { Ok(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes taken and whether the body has ended.
    fn read(bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut body = Body::chunked();
        let taken = body.take(bytes)?;
        Ok((taken, body.is_done()))
    }

    #[test]
    fn chunks_end_exactly() {
        for (bytes, after) in [
            ("0\r\n\r\n", "GET"),
            ("5\r\nhello\r\n0\r\n\r\n", ""),
            ("5;a=b;c=\"d e\"\r\nhello\r\n00\r\n\r\n", "x"),
            ("A\r\n0123456789\r\n0\r\nX-A: b\r\nY:\r\n\r\n", "\r\n"),
        ] {
            let whole = format!("{bytes}{after}");
            assert_eq!(read(whole.as_bytes()), Ok((bytes.len(), true)), "{whole:?}");
            let mut body = Body::chunked();
            for byte in bytes.bytes() {
                assert!(!body.is_done());
                assert_eq!(body.take(&[byte]), Ok(1), "{whole:?}");
            }
            assert!(body.is_done());
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for bytes in [
            "\r\n",
            ";a\r\n",
            "g\r\n",
            "0x5\r\nhello",
            "-1\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\nhello",
            "5\r\nhello0\r\n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n",
            "5\r\rhello",
            "0\r\n\n",
            "0\r\n X: y\r\n",
            "0\r\n: y\r\n",
            "0\r\nX y\r\n",
            "0\r\nX: \0\r\n",
            "5;\0\r\n",
            "fffffffffffffffff\r\n",
            "0000000000000000\r\n",
        ] {
            assert_eq!(read(bytes.as_bytes()), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(read(format!("5;{}", "a".repeat(1_025)).as_bytes()), Err(Malformed));
        assert_eq!(read(format!("0\r\n{}", "X: y\r\n".repeat(3_000)).as_bytes()), Err(Malformed));
    }

    #[test]
    fn a_length_ends_exactly() {
        let mut body = Body::of_length(5);
        assert_eq!(body.take(b"hel"), Ok(3));
        assert_eq!(body.take(b"loGET"), Ok(2));
        assert!(body.is_done());
        assert!(Body::of_length(0).is_done());
    }
}
