//! Cuts a response's body into lines, as they come.

use anyhow::bail;
use bytes::{Buf, Bytes, BytesMut};
use reqwest::Response;

/// Longest line: one revision may change many entities.
const MAX_LINE: usize = 64 * 1024 * 1024;

pub struct Lines {
    response: Response,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
}

impl Lines {
    pub fn new(response: Response) -> Self {
        Self { response, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line without its end; `None` when the body is over. Cancel-safe.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            let rest = &self.buffer[self.searched..];
            if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                bail!("a line of the stream is too long");
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
