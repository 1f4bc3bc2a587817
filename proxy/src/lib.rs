//! The data plane of AuthSome Cloud: checks API keys, limits and quotas in front of customers'
//! APIs, forwards what is admitted, and records every admitted request in a durable ledger. It
//! stands alone: no database and no control plane on a request's path, and it restarts from what it
//! keeps on disk.

mod access_log;
mod admin;
mod admit;
pub mod config;
mod ctx;
pub mod decision;
mod denied;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod ledger;
mod limit;
mod listener;
mod metrics;
mod node;
mod recent;
mod reports;
mod seldom;
mod snapshot;
mod sync;
#[cfg(test)]
mod testing;
mod tls;
mod trace;
mod upstream;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use authsome_shared::envelope::Envelope;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use admin::Admin;
pub use config::Config;
use gateway::Gateway;
use ledger::Ledger;
use ledger::ship::Shipper;
use limit::Limits;
use limit::quota::Quotas;
use limit::strict::Strict;
use listener::refusal::Refusals;
use listener::{Listener, Socket};
use metrics::Metrics;
use reports::Reports;
use snapshot::Snapshot;
use snapshot::store::{self, Store};
use sync::Sync;
use sync::client::Client;
use trace::export::Exporter;
use upstream::address::Resolver;
use upstream::echo::Echo;
use upstream::probe::Prober;
use upstream::registry::Pools;

/// This release, as it is told the control plane.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The last attempt to ship usage at a shutdown may take this long.
const LAST_SHIPMENT: Duration = Duration::from_secs(5);

/// So long may telling the control plane that this proxy leaves, and giving back what it holds of
/// strict limits.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The last export of spans at a shutdown may take this long.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// A running proxy. Dropping it ends it at once; [`Proxy::shutdown`] lets it finish.
pub struct Proxy {
    listener: Listener,
    admin_address: SocketAddr,
    draining: Arc<AtomicBool>,
    drain_timeout: Duration,
    ledger: Arc<Ledger>,
    shipper: Arc<Shipper>,
    sync: Arc<Sync>,
    strict: Arc<Strict>,
    store: Arc<Mutex<Store>>,
    /// What follows the control plane.
    following: [AbortOnDropHandle<()>; 2],
    exporter: Option<Exporter>,
    tasks: Vec<AbortOnDropHandle<()>>,
    _echo: Echo,
    /// Held while it runs; another process can't have the same data directory.
    _lock: File,
}

impl Proxy {
    /// Starts serving: binds, recovers what is on disk, and follows the control plane from there.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        config.validate().context("invalid configuration")?;
        let dir = config.server.data_dir.join("proxy");
        let lock = node::lock(&dir)?;
        let node = node::identity(&dir)?;
        let token = config.node_token()?;
        let envelope = Arc::new(Envelope::new(token.expose()));
        let client = Client::new(&config.control, token)?;
        let metrics = Arc::new(Metrics::new()?);
        let sockets = Socket::open(&config, metrics.tls_reload_failures.clone()).await?;
        let watches: Vec<_> = sockets.iter().filter_map(|socket| socket.tls.clone()).collect();
        let admin = listener::bind("server.admin_listen", config.server.admin_listen).await?;
        let admin_address = admin.local_addr()?;
        metrics.started.set(clock.now().timestamp());
        let (reports, exporter) = Reports::open(&config, &node, &metrics)?;
        let limits = Limits::open(&dir, &config, clock.clone(), &metrics)?;
        let quotas = limits.quotas.clone();
        let (store, loaded) = Store::open(&dir.join("snapshots"))?;
        let snapshot = Arc::new(ArcSwap::from_pointee(first_snapshot(loaded, &quotas, envelope)));
        let served = snapshot.load().revision;
        metrics.revision.set(i64::try_from(served).unwrap_or(i64::MAX));
        let (ledger, cursor) =
            Ledger::open(&dir.join("journal"), &config.ledger, &quotas, metrics.clone())?;
        let ledger = Arc::new(ledger);
        let store = Arc::new(Mutex::new(store));
        let echo = Echo::start().await?;

        let sync = Arc::new(Sync {
            client: client.clone(),
            node: node.clone(),
            snapshot: snapshot.clone(),
            store: store.clone(),
            limits: limits.clone(),
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            applied: watch::Sender::new((served, snapshot.load().quarantined)),
        });
        let shipper =
            Arc::new(Shipper::new(ledger.clone(), cursor, client, quotas, clock.clone(), node));
        let refusals =
            Refusals { metrics: metrics.clone(), reports: reports.clone(), clock: clock.clone() };
        let resolver = Arc::new(Resolver::default());
        let pools = Arc::new(Pools::new(metrics.clone()));
        let prober = Arc::new(Prober::new(snapshot.clone(), pools.clone(), resolver.clone()));
        let gateway = Gateway {
            snapshot: snapshot.clone(),
            limits: limits.clone(),
            ledger: ledger.clone(),
            resolver,
            pools,
            sockets: Arc::default(),
            echo: echo.address,
            clock: clock.clone(),
            metrics: metrics.clone(),
            reports: reports.clone(),
            keep_alive_seconds: config.connections.keep_alive_seconds,
            body_timeout: Duration::from_millis(config.connections.body_timeout_ms),
            connection: config.connections.limits(),
        };
        let listener = Listener::start(sockets, gateway, &config, refusals)?;
        let draining = Arc::new(AtomicBool::new(false));
        let admin_server = Arc::new(Admin {
            snapshot,
            metrics,
            ledger: ledger.clone(),
            draining: draining.clone(),
            reports,
            clock,
        });
        let fsync = Duration::from_millis(config.ledger.fsync_interval_ms);
        let following = [spawn(sync.clone().run()), spawn(sync.clone().acknowledge())];
        let mut tasks = vec![
            spawn(shipper.clone().run()),
            spawn(ledger.clone().sync_forever(fsync)),
            spawn(sync_store(store.clone())),
            spawn(admin_server.serve(admin)),
            spawn(prober.run()),
            spawn(limits.strict.clone().run()),
        ];
        tasks.extend(watches.into_iter().map(|tls| spawn(tls.watch())));
        announce(&listener, admin_address, &config, served);
        Ok(Self {
            listener,
            admin_address,
            draining,
            drain_timeout: config.drain_timeout(),
            ledger,
            shipper,
            sync,
            strict: limits.strict,
            store,
            following,
            exporter,
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
        let Self { listener, draining, drain_timeout, ledger, shipper, sync, strict, .. } = self;
        draining.store(true, Ordering::Relaxed);
        listener.drain(drain_timeout).await;
        // The next report would take the share back.
        drop(self.following);
        sync.leave(LAST_WORD).await;
        let _ = timeout(LAST_WORD, strict.close()).await;
        shipper.drain(LAST_SHIPMENT).await;
        if let Some(exporter) = self.exporter {
            exporter.stop(LAST_SPANS).await;
        }
        ledger.sync();
        store::sync(&self.store).await;
        drop(self.tasks);
        tracing::info!(unshipped = ledger.unshipped(), "the proxy has stopped");
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

fn announce(listener: &Listener, admin: SocketAddr, config: &Config, revision: u64) {
    tracing::info!(
        listen = %listener.address,
        tls = listener.tls_address.map(tracing::field::display),
        %admin,
        control = %config.control.url,
        revision,
        "the proxy serves"
    );
}

async fn sync_store(store: Arc<Mutex<Store>>) {
    loop {
        tokio::time::sleep(store::SYNC_EVERY).await;
        store::sync(&store).await;
    }
}

/// What is on disk, or nothing.
fn first_snapshot(
    loaded: Option<store::Loaded>,
    quotas: &Quotas,
    envelope: Arc<Envelope>,
) -> Snapshot {
    let mut empty = Snapshot::empty();
    empty.envelope = Some(envelope);
    let Some(store::Loaded { base, changes, .. }) = loaded else {
        tracing::warn!(
            "no configuration on disk; refusing requests until the control plane answers"
        );
        return empty;
    };
    let mut snapshot = match empty.replaced_by(&base, quotas) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tracing::error!(%error, "the configuration on disk can't be taken up");
            return empty;
        }
    };
    drop(base);
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
