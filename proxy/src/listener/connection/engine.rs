//! The rest of what the engine asks of a [`Connection`]: writing, and who is at the other end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

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
        if let Poll::Ready(Ok(length)) = written
            && *self.raw.get_mut()
            && !self.multiplexed
        {
            self.frames.get_or_insert_with(Frames::new).pass(&bytes[..length]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
