//! The public listener: our own accept loop around the engine, for the port, the order of draining
//! and the deadlines that the engine lacks. A connection that begins with the HTTP/2 preface is
//! HTTP/2, any other HTTP/1.1. What a request means is for the gateway.
//!
//! Draining: stop accepting; announce it, so that answers close their connections; leave idle ones
//! a moment, because a request may be on its way; then close those and wait for the rest.

mod body;
pub mod connection;
mod engine;
mod head;
mod pace;
pub mod refusal;
mod slots;
mod transport;

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::config::{Connections, Drain};
use crate::gateway::Gateway;
use crate::upstream::MAX_ATTEMPTS;
use connection::{Connection, End, Limits, Protocol};
use refusal::Refusals;
use slots::{Slot, Slots};
use transport::Transport;

/// Decoded header list of one HTTP/2 request.
const H2_HEADER_LIST: u32 = 16 * 1024;

/// Requests at once on one HTTP/2 connection.
const H2_STREAMS: u32 = 32;

/// Of an answer that its client does not read, in bytes. The engine's own would be 400 KiB.
const H2_SEND_BUFFER: usize = 16 * 1024;

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
    limits: Limits,
    refusals: Refusals,
    /// How long idle connections stay when draining.
    idle: Duration,
    slots: Arc<Slots>,
    connections: TaskTracker,
    /// Ends accepting.
    stop: CancellationToken,
    /// Ends what is left when the time for draining is over.
    kill: CancellationToken,
}

impl Listener {
    pub fn start(
        listener: TcpListener,
        gateway: Gateway,
        config: &Connections,
        drain: &Drain,
        refusals: Refusals,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let (announce, shutdown) = watch::channel(false);
        let shared = Arc::new(Shared {
            engine: Arc::new(engine(gateway, config)),
            limits: config.limits(),
            slots: Slots::new(
                config.max,
                config.max_per_address,
                refusals.metrics.connections.clone(),
            ),
            refusals,
            idle: Duration::from_millis(drain.idle_ms),
            connections: TaskTracker::new(),
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
    h2.max_header_list_size(H2_HEADER_LIST)
        .max_concurrent_streams(H2_STREAMS)
        .max_send_buffer_size(H2_SEND_BUFFER);
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
                    let slot = match self.slots.take(peer.ip()) {
                        Ok(slot) => slot,
                        Err(full) => {
                            let refused = &self.refusals.metrics.connections_refused;
                            refused.with_label_values(&[full.as_str()]).inc();
                            continue;
                        }
                    };
                    let serving = self.clone().serve(stream, peer, slot, shutdown.clone());
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

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        _slot: Slot,
        shutdown: ShutdownWatch,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            return tracing::debug!(%peer, %error, "a connection failed at once");
        }
        let stream = Transport::Plain(stream);
        let mut connection = Connection::new(stream, peer, None, self.limits);
        let mut over = pin!(over(shutdown.clone(), self.idle));
        let protocol = tokio::select! {
            protocol = connection.protocol() => protocol,
            () = &mut over => return,
        };
        match protocol {
            Ok(Protocol::Http1) => self.http1(connection, peer, &shutdown, over).await,
            Ok(Protocol::Http2) => {
                self.engine.process_new(Box::new(connection), &shutdown).await;
            }
            Err(end) => self.end(connection, peer, end).await,
        }
    }

    /// Request after request on one connection.
    async fn http1(
        &self,
        connection: Connection,
        peer: SocketAddr,
        shutdown: &ShutdownWatch,
        mut over: Pin<&mut impl Future<Output = ()>>,
    ) {
        let mut connection = Box::new(connection);
        let mut settings: Option<HttpPersistentSettings> = None;
        loop {
            let head = tokio::select! {
                biased;
                head = connection.next_head() => head,
                () = &mut over => return,
            };
            if let Err(end) = head {
                return self.end(*connection, peer, end).await;
            }
            let mut session = ServerSession::new_http1(connection);
            match settings {
                None => session.set_keepalive(Some(self.limits.idle.as_secs())),
                Some(settings) => settings.apply_to_session(&mut session),
            }
            let Some(reused) = self.engine.process_new_http(session, shutdown).await else {
                return;
            };
            let stream;
            (stream, settings) = reused.consume();
            let Ok(same) = stream.into_any().downcast() else { return };
            connection = same;
        }
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

/// Ready when shutdown was announced and idle connections have had their moment.
async fn over(mut shutdown: ShutdownWatch, idle: Duration) {
    let _ = shutdown.wait_for(|announced| *announced).await;
    sleep(idle).await;
}
