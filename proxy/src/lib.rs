//! The data plane of AuthSome Cloud: checks API keys, limits and quotas in front of customers'
//! APIs, forwards what is admitted, and records every admitted request in a durable ledger. It
//! stands alone: no database and no control plane on a request's path, and it restarts from what it
//! keeps on disk.

mod access_log;
mod admin;
mod admit;
pub mod config;
mod ctx;
mod denied;
mod gateway;
mod ledger;
mod limit;
mod listener;
mod metrics;
mod node;
mod snapshot;
mod sync;
#[cfg(test)]
mod testing;
mod tls;
mod upstream;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use authsome_shared::snapshot::encoding::Decoded;
use tokio::sync::{Mutex, watch};
use tokio_util::task::AbortOnDropHandle;

use access_log::AccessLog;
use admin::Admin;
pub use config::Config;
use gateway::Gateway;
use ledger::Ledger;
use ledger::ship::Shipper;
use limit::quota::Quotas;
use listener::refusal::Refusals;
use listener::{Listener, Socket};
use metrics::Metrics;
use snapshot::Snapshot;
use snapshot::store::{self, Store};
use sync::Sync;
use sync::client::Client;
use upstream::address::Resolver;
use upstream::echo::Echo;
use upstream::probe::Prober;
use upstream::registry::Pools;

/// This release, as it is told the control plane.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The last attempt to ship usage at a shutdown may take this long.
const LAST_SHIPMENT: Duration = Duration::from_secs(5);

/// A running proxy. Dropping it ends it at once; [`Proxy::shutdown`] lets it finish.
pub struct Proxy {
    listener: Listener,
    admin_address: SocketAddr,
    draining: Arc<AtomicBool>,
    drain_timeout: Duration,
    ledger: Arc<Ledger>,
    shipper: Arc<Shipper>,
    store: Arc<Mutex<Store>>,
    tasks: Vec<AbortOnDropHandle<()>>,
    _echo: Echo,
    /// Held while it runs; another process can't have the same data directory.
    _lock: File,
}

impl Proxy {
    /// Starts serving: binds, recovers what is on disk, and follows the control plane from there.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        config.validate().context("invalid configuration")?;
        let token = config.node_token()?;
        let dir = config.server.data_dir.join("proxy");
        let lock = node::lock(&dir)?;
        let node = node::identity(&dir)?;
        let client = Client::new(&config.control, token)?;
        let metrics = Arc::new(Metrics::new()?);
        let sockets = Socket::open(&config, metrics.tls_reload_failures.clone()).await?;
        let watches: Vec<_> = sockets.iter().filter_map(|socket| socket.tls.clone()).collect();
        let admin = listener::bind("server.admin_listen", config.server.admin_listen).await?;
        let admin_address = admin.local_addr()?;
        let access_log = Arc::new(AccessLog::open(&config.log.access_log, metrics.clone())?);
        let quotas = Arc::new(Quotas::default());
        let snapshots = dir.join("snapshots");
        let loaded = store::read(&snapshots)?;
        let folded = loaded.as_ref().map(|loaded| loaded.base.header.revision);
        let first = first_snapshot(loaded, &quotas);
        let stands = first.platform.clone().map(|platform| (platform, first.revision));
        let store = Store::open(&snapshots, stands, folded);
        let snapshot = Arc::new(ArcSwap::from_pointee(first));
        let served = snapshot.load().revision;
        metrics.revision.set(i64::try_from(served).unwrap_or(i64::MAX));
        let (ledger, cursor) =
            Ledger::open(&dir.join("journal"), &config.ledger, &quotas, false, metrics.clone())?;
        let ledger = Arc::new(ledger);
        let store = Arc::new(Mutex::new(store));
        let echo = Echo::start().await?;

        let sync = Arc::new(Sync {
            client: client.clone(),
            node: node.clone(),
            snapshot: snapshot.clone(),
            store: store.clone(),
            quotas: quotas.clone(),
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            applied: watch::Sender::new((served, snapshot.load().quarantined)),
        });
        let shipper =
            Arc::new(Shipper::new(ledger.clone(), cursor, client, quotas, clock.clone(), node));
        let refusals = Refusals {
            metrics: metrics.clone(),
            access_log: access_log.clone(),
            clock: clock.clone(),
        };
        let resolver = Arc::new(Resolver::default());
        let pools = Arc::new(Pools::new(metrics.clone()));
        let prober = Arc::new(Prober::new(snapshot.clone(), pools.clone(), resolver.clone()));
        let gateway = Gateway {
            snapshot: snapshot.clone(),
            ledger: ledger.clone(),
            resolver,
            pools,
            sockets: Arc::default(),
            echo: echo.address,
            clock,
            metrics: metrics.clone(),
            access_log,
            keep_alive_seconds: config.connections.keep_alive_seconds,
            body_timeout: Duration::from_millis(config.connections.body_timeout_ms),
        };
        let listener = Listener::start(sockets, gateway, &config, refusals)?;
        let draining = Arc::new(AtomicBool::new(false));
        let admin_server = Arc::new(Admin {
            snapshot,
            metrics,
            ledger: ledger.clone(),
            draining: draining.clone(),
        });
        let fsync = Duration::from_millis(config.ledger.fsync_interval_ms);
        let mut tasks = vec![
            spawn(sync.clone().run()),
            spawn(sync.acknowledge()),
            spawn(shipper.clone().run()),
            spawn(ledger.clone().sync_forever(fsync)),
            spawn(sync_store(store.clone())),
            spawn(admin_server.serve(admin)),
            spawn(prober.run()),
        ];
        tasks.extend(watches.into_iter().map(|tls| spawn(tls.watch())));
        tracing::info!(
            listen = %listener.address,
            tls = listener.tls_address.map(tracing::field::display),
            admin = %admin_address,
            control = %config.control.url,
            revision = served,
            "the proxy serves"
        );
        Ok(Self {
            listener,
            admin_address,
            draining,
            drain_timeout: config.drain_timeout(),
            ledger,
            shipper,
            store,
            tasks,
            _echo: echo,
            _lock: lock,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Where clients connect by TLS, if they can.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.listener.tls_address
    }

    /// Where health, readiness and metrics are served.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Stops accepting, lets requests finish, and ships what is left of the journal if the control
    /// plane answers. What can't be shipped stays for the next start.
    pub async fn shutdown(self) {
        let Self { listener, draining, drain_timeout, ledger, shipper, store, tasks, .. } = self;
        draining.store(true, Ordering::Relaxed);
        listener.drain(drain_timeout).await;
        shipper.drain(LAST_SHIPMENT).await;
        ledger.sync();
        store::sync(&store).await;
        drop(tasks);
        tracing::info!(unshipped = ledger.unshipped(), "the proxy has stopped");
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn sync_store(store: Arc<Mutex<Store>>) {
    loop {
        tokio::time::sleep(store::SYNC_EVERY).await;
        store::sync(&store).await;
    }
}

/// What is on disk, or nothing.
fn first_snapshot(loaded: Option<store::Loaded>, quotas: &Quotas) -> Snapshot {
    let empty = Snapshot::empty();
    let Some(store::Loaded { base, changes }) = loaded else {
        tracing::warn!(
            "no configuration on disk; refusing requests until the control plane answers"
        );
        return empty;
    };
    let base: Decoded = base;
    let mut snapshot = empty.replaced_by(base, quotas);
    for entry in changes {
        snapshot = snapshot.advanced_by(entry.revision, entry.changes, quotas);
    }
    tracing::info!(
        revision = snapshot.revision,
        keys = snapshot.keys(),
        applications = snapshot.applications(),
        "took up the last good configuration from disk"
    );
    snapshot
}
