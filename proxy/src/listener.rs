//! The public listeners, plain and TLS: our own accept loop around the engine, for the port, the
//! order of draining, and the bounds and deadlines that the engine lacks. What happens on a
//! connection is in `serve`; what a request means is for the gateway.
//!
//! Draining: stop accepting; announce it, so that answers close their connections; leave idle ones
//! a moment, because a request may be on its way; then close those and wait for the rest.

pub mod body;
pub mod connection;
pub mod head;
pub mod pace;
pub mod refusal;
mod serve;
mod slots;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pingora::apps::HttpServerApp;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use prometheus::IntCounter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::config::Config;
use crate::gateway::Gateway;
use crate::tls::Tls;
use connection::Limits;
use refusal::Refusals;
use slots::Slots;

/// Binds, and says plainly what is in the way.
pub async fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {address} ({what}): is another process using the port?")
    })
}

/// What is listened on: plain, or by TLS.
pub struct Socket {
    pub listener: TcpListener,
    pub tls: Option<Arc<Tls>>,
}

impl Socket {
    /// All that the settings name, the plain one first.
    pub async fn open(config: &Config, failures: IntCounter) -> anyhow::Result<Vec<Self>> {
        let listener = bind("server.listen", config.server.listen).await?;
        let mut sockets = vec![Self { listener, tls: None }];
        if let Some(listen) = config.tls.listen {
            let tls = Some(Arc::new(Tls::new(&config.tls, failures)?));
            sockets.push(Self { listener: bind("tls.listen", listen).await?, tls });
        }
        Ok(sockets)
    }
}

/// Listeners that accept.
pub struct Listener {
    pub address: SocketAddr,
    pub tls_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    announce: watch::Sender<bool>,
    accepting: Vec<AbortOnDropHandle<()>>,
}

struct Shared {
    engine: Arc<HttpProxy<Gateway>>,
    limits: Limits,
    handshake_limit: Duration,
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
        sockets: Vec<Socket>,
        gateway: Gateway,
        config: &Config,
        refusals: Refusals,
    ) -> anyhow::Result<Self> {
        let address = |tls: bool| sockets.iter().find(|it| it.tls.is_some() == tls);
        let address = |tls| address(tls).map(|it| it.listener.local_addr()).transpose();
        let tls_address = address(true)?;
        let address = address(false)?.context("there is no plain listener")?;
        let (announce, shutdown) = watch::channel(false);
        let connections = &config.connections;
        let shared = Arc::new(Shared {
            engine: Arc::new(serve::engine(gateway, connections)),
            limits: connections.limits(),
            handshake_limit: Duration::from_millis(config.tls.handshake_timeout_ms),
            slots: Slots::new(
                connections.max,
                connections.max_per_address,
                refusals.metrics.connections.clone(),
            ),
            refusals,
            idle: Duration::from_millis(config.drain.idle_ms),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        });
        let accept = |socket| tokio::spawn(shared.clone().accept(socket, shutdown.clone()));
        let accepting = sockets.into_iter().map(accept).map(AbortOnDropHandle::new).collect();
        Ok(Self { address, tls_address, shared, announce, accepting })
    }

    /// Drains, for at most `limit`.
    pub async fn drain(mut self, limit: Duration) {
        self.shared.stop.cancel();
        for accepting in &mut self.accepting {
            let _ = accepting.await;
        }
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

impl Shared {
    async fn accept(self: Arc<Self>, socket: Socket, shutdown: ShutdownWatch) {
        loop {
            // What has connected already is served, also when accepting is to stop.
            let accepted = tokio::select! {
                biased;
                accepted = socket.listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.clone().take_up(stream, peer, socket.tls.clone(), &shutdown);
                }
                Err(error) => {
                    // Out of descriptors, most likely: others may close some.
                    tracing::error!(%error, "can't accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Serves a connection in a task of its own, or closes it at once when there is no room.
    fn take_up(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<Tls>>,
        shutdown: &ShutdownWatch,
    ) {
        let slot = match self.slots.take(peer.ip()) {
            Ok(slot) => slot,
            Err(full) => {
                let refused = &self.refusals.metrics.connections_refused;
                return refused.with_label_values(&[full.as_str()]).inc();
            }
        };
        let kill = self.kill.clone();
        let connections = self.connections.clone();
        let serving = self.serve(stream, peer, tls, shutdown.clone());
        connections.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = serving => {}
                () = kill.cancelled() => {}
            }
        });
    }
}
