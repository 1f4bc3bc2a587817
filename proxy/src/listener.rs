//! The public listener: our own accept loop around the engine, for the port, the order of draining
//! and the deadlines that the engine lacks. A connection that begins with the HTTP/2 preface is
//! HTTP/2, any other HTTP/1.1. What a request means is for the gateway.
//!
//! Draining: stop accepting; announce it, so that answers close their connections; leave idle ones
//! a moment, because a request may be on its way; then close those and wait for the rest.

pub mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pingora::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::config::{Connections, Drain};
use crate::gateway::Gateway;
use crate::upstream::MAX_ATTEMPTS;
use connection::{Connection, Protocol};

/// Decoded header list of one HTTP/2 request; the gateway's own bound is on less.
const H2_HEADER_LIST: u32 = 32 * 1024;

/// Requests at once on one HTTP/2 connection.
const H2_STREAMS: u32 = 100;

/// Binds, and says plainly what is in the way.
pub async fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {address} ({what}): is another process using the port?")
    })
}

/// A listener that accepts.
pub struct Listener {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    announce: watch::Sender<bool>,
    accepting: AbortOnDropHandle<()>,
}

struct Shared {
    engine: Arc<HttpProxy<Gateway>>,
    config: Connections,
    idle: Duration,
    connections: TaskTracker,
    open: IntGauge,
    /// Ends accepting.
    stop: CancellationToken,
    /// Ends what is left when the time for draining is over.
    kill: CancellationToken,
}

impl Listener {
    pub fn start(
        listener: TcpListener,
        gateway: Gateway,
        config: Connections,
        drain: &Drain,
        open: IntGauge,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let (announce, shutdown) = watch::channel(false);
        let shared = Arc::new(Shared {
            engine: Arc::new(engine(gateway, &config)),
            config,
            idle: Duration::from_millis(drain.idle_ms),
            connections: TaskTracker::new(),
            open,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        let accepting = tokio::spawn(shared.clone().accept(listener, shutdown));
        Ok(Self { address, shared, announce, accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Drains, for at most `limit`.
    pub async fn drain(mut self, limit: Duration) {
        self.shared.stop.cancel();
        let _ = (&mut self.accepting).await;
        self.announce.send_replace(true);
        let connections = &self.shared.connections;
        connections.close();
        if timeout(self.shared.idle.min(limit), connections.wait()).await.is_err() {
            self.shared.engine.http_cleanup().await;
            if timeout(limit, connections.wait()).await.is_err() {
                tracing::warn!(connections = connections.len(), "closing what did not finish");
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.kill.cancel();
    }
}

fn engine(gateway: Gateway, config: &Connections) -> HttpProxy<Gateway> {
    let conf = ServerConf { max_retries: MAX_ATTEMPTS + 1, ..ServerConf::default() };
    let mut engine = pingora::proxy::http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(Duration::from_secs(config.keep_alive_seconds));
    engine.server_options = Some(options);
    let mut h2 = H2Options::default();
    h2.max_header_list_size(H2_HEADER_LIST).max_concurrent_streams(H2_STREAMS);
    engine.h2_options = Some(h2);
    engine
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener, shutdown: ShutdownWatch) {
        loop {
            // What has connected already is served, also when accepting is to stop.
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let serving = self.clone().serve(stream, peer, shutdown.clone());
                    let kill = self.kill.clone();
                    self.connections.spawn(async move {
                        tokio::select! {
                            () = serving => {}
                            () = kill.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: others may close some.
                    tracing::error!(%error, "can't accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, shutdown: ShutdownWatch) {
        let _open = Open::new(&self.open);
        let head_limit = Duration::from_millis(self.config.header_timeout_ms);
        let mut connection = match Connection::new(stream, peer, head_limit) {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%peer, %error, "a connection failed at once"),
        };
        let keep_alive = Duration::from_secs(self.config.keep_alive_seconds);
        let protocol = tokio::select! {
            protocol = timeout(keep_alive, connection.protocol()) => protocol,
            () = over(shutdown.clone(), self.idle) => return,
        };
        match protocol {
            Ok(Ok(Protocol::Http1)) => self.http1(connection, &shutdown).await,
            Ok(Ok(Protocol::Http2)) => {
                self.engine.process_new(Box::new(connection), &shutdown).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection ended before a request"),
            Err(_) => tracing::debug!(%peer, "a connection sent nothing"),
        }
    }

    /// Request after request on one connection.
    async fn http1(&self, connection: Connection, shutdown: &ShutdownWatch) {
        let mut stream: Stream = Box::new(connection);
        let mut settings = None;
        loop {
            if let Some(connection) = (*stream).as_any().downcast_ref::<Connection>() {
                connection.begin_head();
            }
            let mut session = ServerSession::new_http1(stream);
            match settings {
                None => session.set_keepalive(Some(self.config.keep_alive_seconds)),
                Some(settings) => {
                    pingora::apps::HttpPersistentSettings::apply_to_session(settings, &mut session);
                }
            }
            match self.engine.process_new_http(session, shutdown).await {
                Some(reused) => (stream, settings) = reused.consume(),
                None => return,
            }
        }
    }
}

/// Ready when shutdown was announced and idle connections have had their moment.
async fn over(mut shutdown: ShutdownWatch, idle: Duration) {
    let _ = shutdown.wait_for(|announced| *announced).await;
    sleep(idle).await;
}

/// Counts a connection while it lives.
struct Open(IntGauge);

impl Open {
    fn new(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
