//! Where a chunked body ends: the same in whatever pieces it arrives, and where a reading of whole
//! lines says. Nothing after the end is taken.

use crate::listener::body::{Body, Malformed};
use crate::listener::head::{is_text, is_token};

pub fn run(bytes: &[u8]) {
    let step = 1 + bytes.len() % 13;
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, step), whole, "it depends on how it arrives");
    let end = whole.ok().filter(|(_, done)| *done).map(|(taken, _)| taken);
    assert_eq!(end, naive(bytes));
    // A body of announced length.
    let length = bytes.first().map_or(0, |byte| usize::from(*byte) * 8);
    let mut body = Body::of_length(length as u64);
    let taken: usize = bytes.chunks(step).map(|it| body.take(it).expect("any bytes will do")).sum();
    assert_eq!((taken, body.is_done()), (length.min(bytes.len()), length <= bytes.len()));
}

/// Bytes taken and whether the body has ended.
fn read(bytes: &[u8], step: usize) -> Result<(usize, bool), Malformed> {
    let mut body = Body::chunked();
    let mut taken = 0;
    for piece in bytes.chunks(step) {
        let over = body.is_done();
        let now = body.take(piece)?;
        assert!(!over || now == 0, "taken beyond the end");
        assert!(now == piece.len() || body.is_done(), "stopped before the end");
        taken += now;
    }
    Ok((taken, body.is_done()))
}

/// The end of a whole chunked body; `None` for anything else or less.
fn naive(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    loop {
        let line = line(&mut rest)?;
        let size = line.split(|byte| *byte == b';').next()?;
        let extension = line.get(size.len() + 1..).unwrap_or_default();
        let right = (1..=15).contains(&size.len())
            && size.iter().all(u8::is_ascii_hexdigit)
            && extension.len() <= 1024
            && extension.iter().copied().all(is_text);
        let size = right.then(|| std::str::from_utf8(size).ok())??;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let mut trailers = 0;
    loop {
        let line = line(&mut rest)?;
        if line.is_empty() {
            return Some(bytes.len() - rest.len());
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        trailers += line.len();
        let right = colon > 0
            && line[..colon].iter().copied().all(is_token)
            && line[colon + 1..].iter().copied().all(is_text)
            && line.len() <= 1024
            && trailers <= 8 * 1024;
        right.then_some(())?;
    }
}

/// Up to the next CR, which must be followed by LF.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    let line = &rest[..end];
    *rest = rest[end + 1..].strip_prefix(b"\n")?;
    Some(line)
}
