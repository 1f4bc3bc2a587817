//! What the engine gets to read of a [`Connection`], and when. Every byte passes here once: the head
//! that was checked, then the body as far as it is one, and nothing of the next request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::super::ends::Wait;
use super::websocket::{Frames, GOING_AWAY};
use super::{Connection, Fault, READ_SIZE};

/// While a request is served, the next ones are read ahead up to this, to notice a closed end.
const READ_AHEAD: usize = 16 * 1024;

impl Connection {
    fn poll_raw(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.ahead.is_empty() {
            let read = Pin::new(&mut self.stream).poll_read(context, buffer);
            if read.is_pending() {
                return self.poll_slow(context);
            }
            let length = buffer.filled().len() - before;
            self.pace.received(length, Instant::now);
            if length == 0 {
                return read;
            }
        } else {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(length));
        }
        let came = &buffer.filled()[before..];
        match self.body.take(came) {
            Ok(taken) => {
                let rest = &came[taken..];
                if !rest.is_empty() {
                    let later = std::mem::take(&mut self.ahead);
                    self.ahead.extend_from_slice(rest);
                    self.ahead.unsplit(later);
                }
                buffer.set_filled(before + taken);
                Poll::Ready(Ok(()))
            }
            Err(_) => {
                self.fault = Some(Fault::Malformed);
                buffer.set_filled(before);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
        }
    }

    /// The client is waited for.
    fn poll_slow(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.limits.body_bytes_per_second == 0 {
            return Poll::Pending;
        }
        let deadline = self.pace.wait(Instant::now());
        ready!(self.poll_until(deadline, context));
        self.fault = Some(Fault::Slow);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The message is over; the engine only looks whether the client goes away.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended && self.ahead.len() < READ_AHEAD {
            self.ahead.reserve(READ_SIZE);
            match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.ahead) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) if self.ahead.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        // Requests wait already; a client that then goes away is noticed when it is answered.
        Poll::Pending
    }

    /// After a fault nothing is given on; reading ends with the client's closing.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.ahead.clear();
            self.ahead.reserve(READ_SIZE);
            match poll_read_buf(Pin::new(&mut self.stream), context, &mut self.ahead) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
        }
    }
}

impl Connection {
    /// Tells a WebSocket's client that we go, if that can be told between two messages.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.frames.as_ref().is_some_and(Frames::is_between) {
            return Poll::Ready(());
        }
        while let rest @ [_, ..] = &GOING_AWAY[self.leave..] {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(written @ 1..) => self.leave += written,
                _ => return Poll::Ready(()),
            }
        }
        Pin::new(&mut self.stream).poll_flush(context).map(|_| ())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.multiplexed {
            return this.poll_raw(context, buffer);
        }
        let wait = if *this.streaming.get_mut() { Wait::Stream } else { Wait::Request };
        if this.fault.is_none() && this.head == 0 && this.ending.poll(wait, context) {
            ready!(this.poll_leave(context));
            this.fault = Some(Fault::Ended);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if *this.raw.get_mut() {
            return this.poll_raw(context, buffer);
        }
        if this.fault.is_some() {
            return this.poll_discard(context);
        }
        if this.head > 0 {
            let length = this.head.min(buffer.remaining());
            this.head -= length;
            buffer.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        if this.body.is_done() {
            return this.poll_idle(context);
        }
        this.poll_body(context, buffer)
    }
}
