//! Further fields for the head of the answer that is sent next, put between the engine's last field
//! and the head's end as it passes. A head that the engine could not write whole is continued where
//! it was.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::AsyncWrite;

const END: &[u8] = b"\r\n\r\n";

/// Lines that wait for their head.
#[derive(Debug, Default)]
pub struct Fields {
    /// Whole lines; empty: there are none.
    lines: Vec<u8>,
    /// Of the answer that they belong to: interim ones pass before it.
    status: [u8; 3],
    /// Bytes of the head and these that are written.
    written: usize,
}

impl Fields {
    /// Begins anew for the answer with this status; `write` appends whole lines.
    pub fn set(&mut self, status: StatusCode, write: impl FnOnce(&mut Vec<u8>)) {
        self.lines.clear();
        self.written = 0;
        self.status.copy_from_slice(status.as_str().as_bytes());
        write(&mut self.lines);
    }

    /// Are these bytes the head that the lines wait for?
    pub fn belong_to(&self, bytes: &[u8]) -> bool {
        !self.lines.is_empty()
            && bytes.starts_with(b"HTTP/1.")
            && bytes.get(9..12) == Some(&self.status[..])
            && bytes.ends_with(END)
    }

    /// Writes the head with the lines in it, and forgets them. To be called again with the same
    /// head until it is ready.
    pub fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
        head: &[u8],
    ) -> Poll<io::Result<usize>> {
        let before = &head[..head.len() - END.len() / 2];
        let parts = [before, &self.lines, &END[END.len() / 2..]];
        let mut begin = 0;
        for part in parts {
            while self.written < begin + part.len() {
                let rest = &part[self.written - begin..];
                match ready!(stream.as_mut().poll_write(context, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    more => self.written += more,
                }
            }
            begin += part.len();
        }
        self.lines.clear();
        Poll::Ready(Ok(head.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at a time, and waits after each.
    struct Narrow {
        width: usize,
        waits: bool,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.waits = !self.waits;
            if self.waits {
                return Poll::Pending;
            }
            let length = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn lines_end_the_head_however_it_is_cut() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for width in 1..80 {
            let mut fields = Fields::default();
            fields.set(StatusCode::OK, |lines| lines.extend_from_slice(b"A: 1\r\nB: 2\r\n"));
            assert!(fields.belong_to(head));
            let mut stream = Narrow { width, waits: false, taken: vec![] };
            let mut context = Context::from_waker(Waker::noop());
            let written = loop {
                let polled = fields.poll_write(Pin::new(&mut stream), &mut context, head);
                if let Poll::Ready(written) = polled {
                    break written.expect("written");
                }
            };
            assert_eq!(written, head.len());
            let expected = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\nB: 2\r\n\r\n";
            assert_eq!(stream.taken, expected, "{width} at a time");
            assert!(!fields.belong_to(head), "they are written once");
        }
    }

    #[test]
    fn interim_answers_and_bodies_pass_as_they_are() {
        let mut fields = Fields::default();
        fields.set(StatusCode::OK, |lines| lines.extend_from_slice(b"A: 1\r\n"));
        for other in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n", "a body\r\n\r\n"] {
            assert!(!fields.belong_to(other.as_bytes()), "{other}");
        }
    }
}
