//! The rest of what the engine asks of a [`Connection`]: writing, and who is at the other end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::Connection;
use super::websocket::Frames;

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.leave > 0 {
            // Nothing may follow on a last word.
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let this = &mut *self;
        let fields = this.fields.get_mut();
        let stream = Pin::new(&mut this.stream);
        let written = if fields.belong_to(bytes) {
            fields.poll_write(stream, context, bytes)
        } else {
            stream.poll_write(context, bytes)
        };
        let written = ready!(this.poll_unread(written, context));
        if let Ok(length) = written
            && *this.raw.get_mut()
            && !this.multiplexed
        {
            this.frames.get_or_insert_with(Frames::new).pass(&bytes[..length]);
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.poll_unread(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connection {
    /// Nor is it waited for ever that a client reads: of HTTP/2 the engine sees to that, stream by
    /// stream.
    fn poll_unread<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() || self.multiplexed {
            self.unread = None;
            return written;
        }
        let deadline = *self.unread.get_or_insert_with(|| Instant::now() + self.limits.unread);
        self.poll_until(deadline, context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().descriptor()
    }
}

impl Ssl for Connection {
    /// Its presence is what counts: the gateway tells the upstream `https` by it.
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        let tls = self.stream.get_ref().is_tls();
        tls.then(|| Arc::new(SslDigest::new("", "", None, None, Vec::new())))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.alpn.clone()
    }
}

#[async_trait]
impl Peek for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    /// No proxy's, but the one that has room for what is ours.
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.user.clone()
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}
