//! The life of one connection: a TLS handshake where that is spoken, the protocol, then request
//! after request through the gateway. A connection that begins with the HTTP/2 preface, or agrees on
//! it by TLS, is HTTP/2, any other HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::ALPN;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::connection::{Connection, End, Protocol};
use super::ends::Wait;
use super::transport::Transport;
use crate::config::Connections;
use crate::gateway::Gateway;
use crate::gateway::phases::Phases;
use crate::gateway::serve::Served;
use crate::tls::Tls;
use crate::upstream::{MAX_ATTEMPTS, MAX_IDLE};

/// Decoded header list of one HTTP/2 request.
const H2_HEADER_LIST: u32 = 16 * 1024;

/// Requests at once on one HTTP/2 connection.
const H2_STREAMS: u32 = 32;

/// Of an answer that its client does not read, in bytes. The engine's own would be 400 KiB.
const H2_SEND_BUFFER: usize = 16 * 1024;

pub fn engine(gateway: Arc<Gateway>, config: &Connections) -> HttpProxy<Phases> {
    let conf = ServerConf {
        max_retries: MAX_ATTEMPTS + 1,
        upstream_keepalive_pool_size: MAX_IDLE,
        ..ServerConf::default()
    };
    let mut engine = pingora::proxy::http_proxy(&Arc::new(conf), Phases(gateway));
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(Duration::from_secs(config.keep_alive_seconds));
    engine.server_options = Some(options);
    let mut h2 = H2Options::default();
    h2.max_header_list_size(H2_HEADER_LIST)
        .max_concurrent_streams(H2_STREAMS)
        .max_send_buffer_size(H2_SEND_BUFFER);
    engine.h2_options = Some(h2);
    engine
}

impl Shared {
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<Tls>>,
        shutdown: ShutdownWatch,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            return tracing::debug!(%peer, %error, "a connection failed at once");
        }
        // One connection, one version of the settings.
        let settings = self.settings.load_full();
        let limits = settings.connections.limits();
        let (stream, alpn) = match tls {
            None => (Transport::Plain(stream), None),
            Some(tls) => match self.handshake(stream, peer, &tls, settings.tls.handshake()).await {
                Some(agreed) => agreed,
                None => return,
            },
        };
        let ending = self.ends.of(stream.descriptor());
        // Whoever has just shaken hands gets its moment, too.
        let moment = ending.is_over(Wait::Idle).then(|| settings.drain.idle());
        let mut connection = Connection::new(stream, peer, alpn, limits, ending, moment);
        match connection.protocol().await {
            Ok(Protocol::Http1) => self.http1(connection, peer, &shutdown).await,
            Ok(Protocol::Http2) => {
                self.engine.process_new(Box::new(connection), &shutdown).await;
            }
            Err(end) => self.end(connection, peer, end).await,
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: &Tls,
        limit: Duration,
    ) -> Option<(Transport, Option<ALPN>)> {
        let accepting = TlsAcceptor::from(tls.server.clone()).accept(stream);
        let error = match timeout(limit, accepting).await {
            Ok(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let alpn = if h2 { ALPN::H2 } else { ALPN::H1 };
                return Some((Transport::Tls(Box::new(stream)), Some(alpn)));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        self.refusals.metrics.tls_handshake_failures.inc();
        tracing::debug!(%peer, error, "a TLS handshake failed");
        None
    }

    /// Request after request on one connection.
    async fn http1(&self, connection: Connection, peer: SocketAddr, shutdown: &ShutdownWatch) {
        let mut connection = Box::new(connection);
        loop {
            // A request that has begun is waited for, also when draining.
            if let Err(end) = connection.next_head().await {
                return self.end(*connection, peer, end).await;
            }
            connection = match self.gateway.serve(connection).await {
                Served::Kept(connection) => connection,
                Served::Ended => return,
                Served::Left(connection) => match self.by_engine(connection, shutdown).await {
                    Some(connection) => connection,
                    None => return,
                },
            };
        }
    }

    /// One request through the engine; gives the connection back if another may follow.
    async fn by_engine(
        &self,
        connection: Box<Connection>,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<Connection>> {
        let idle = connection.idle_limit();
        let mut session = ServerSession::new_http1(connection);
        session.set_keepalive(Some(idle.as_secs()));
        let (stream, _) = self.engine.process_new_http(session, shutdown).await?.consume();
        stream.into_any().downcast().ok()
    }

    async fn end(&self, connection: Connection, peer: SocketAddr, end: End) {
        match end {
            End::Quiet => tracing::debug!(%peer, "a connection ended without a request"),
            End::Refused(cause) => {
                let answer = self.refusals.tell(&cause, peer);
                connection.answer_and_close(&answer).await;
            }
        }
    }
}
