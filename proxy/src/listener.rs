//! The public listeners, plain and TLS: our own accept loop around the engine, for the port, the
//! order of draining, and the bounds and deadlines that the engine lacks. What happens on a
//! connection is in `serve`; what a request means is for the gateway.
//!
//! Draining: stop accepting; announce it, so that answers close their connections; leave idle ones
//! a moment, because a request may be on its way; then close those and wait for the rest, for
//! requests and for streams as long as each is given.

mod accept;
pub mod body;
pub mod connection;
mod drain;
mod ends;
pub mod head;
pub mod pace;
pub mod patience;
pub mod refusal;
mod serve;
mod slots;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use pingora::proxy::HttpProxy;
use prometheus::IntCounter;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Connections};
use crate::gateway::Gateway;
use crate::gateway::phases::Phases;
use crate::handover::Predecessor;
use crate::reload::Settings;
use crate::tls::Tls;
use accept::Accepting;
use ends::Ends;
use refusal::Refusals;
use slots::Slots;

/// Binds, and says plainly what is in the way.
pub async fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {address} ({what}): is another process using the port?")
    })
}

/// The same, but for a socket that the process before this one hands over.
pub async fn take_up(
    what: &str,
    address: SocketAddr,
    predecessor: Option<&mut Predecessor>,
) -> anyhow::Result<Arc<TcpListener>> {
    let listener = match predecessor.and_then(|it| it.socket(address)) {
        Some(listener) => TcpListener::from_std(listener).context("a socket handed over")?,
        None => bind(what, address).await?,
    };
    Ok(Arc::new(listener))
}

/// What is listened on: plain, or by TLS.
#[derive(Clone)]
pub struct Socket {
    /// As it is in the settings, where the port may be 0.
    pub configured: SocketAddr,
    pub listener: Arc<TcpListener>,
    pub tls: Option<Arc<Tls>>,
}

impl Socket {
    /// All that the settings name, the plain one first.
    pub async fn open(
        config: &Config,
        mut predecessor: Option<&mut Predecessor>,
        failures: IntCounter,
    ) -> anyhow::Result<Vec<Self>> {
        let configured = config.server.listen;
        let listener = take_up("server.listen", configured, predecessor.as_deref_mut()).await?;
        let mut sockets = vec![Self { configured, listener, tls: None }];
        if let Some(configured) = config.tls.listen {
            let tls = Some(Arc::new(Tls::new(&config.tls, failures)?));
            let listener = take_up("tls.listen", configured, predecessor).await?;
            sockets.push(Self { configured, listener, tls });
        }
        Ok(sockets)
    }
}

/// Listeners that accept.
pub struct Listener {
    pub address: SocketAddr,
    pub tls_address: Option<SocketAddr>,
    sockets: Vec<Socket>,
    shared: Arc<Shared>,
    announce: watch::Sender<bool>,
    accepting: Option<Accepting>,
}

struct Shared {
    gateway: Arc<Gateway>,
    engine: Arc<HttpProxy<Phases>>,
    settings: Settings,
    refusals: Refusals,
    slots: Arc<Slots>,
    connections: TaskTracker,
    requests: TaskTracker,
    ends: Arc<Ends>,
    /// Ends what is left when the time for draining is over.
    kill: CancellationToken,
}

impl Listener {
    pub fn start(
        sockets: Vec<Socket>,
        gateway: Gateway,
        settings: Settings,
        announce: watch::Sender<bool>,
        refusals: Refusals,
    ) -> anyhow::Result<Self> {
        let gateway = Arc::new(gateway);
        let address = |tls: bool| sockets.iter().find(|it| it.tls.is_some() == tls);
        let address = |tls| address(tls).map(|it| it.listener.local_addr()).transpose();
        let tls_address = address(true)?;
        let address = address(false)?.context("there is no plain listener")?;
        let config = settings.load_full();
        let connections = &config.connections;
        let shared = Arc::new(Shared {
            requests: gateway.under_way.clone(),
            gateway: gateway.clone(),
            engine: Arc::new(serve::engine(gateway, connections)),
            slots: Slots::new(
                connections.max,
                connections.max_per_address,
                refusals.metrics.connections.clone(),
            ),
            settings,
            refusals,
            connections: TaskTracker::new(),
            ends: Arc::default(),
            kill: CancellationToken::new(),
        });
        let mut listener =
            Self { address, tls_address, sockets, shared, announce, accepting: None };
        listener.accept();
        Ok(listener)
    }

    /// What it listens on, to be handed over.
    pub fn sockets(&self) -> &[Socket] {
        &self.sockets
    }

    /// Takes up changed settings.
    pub fn reload(&self, connections: &Connections) {
        self.shared.slots.bound(connections.max, connections.max_per_address);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.kill.cancel();
    }
}
