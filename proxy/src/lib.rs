//! The data plane of AuthSome Cloud: checks API keys, limits and quotas in front of customers'
//! APIs, forwards what is admitted, and records every admitted request in a durable ledger. It
//! stands alone: no database and no control plane on a request's path, and it restarts from what it
//! keeps on disk.

mod access_log;
mod admin;
mod admit;
mod application_log;
pub mod config;
mod ctx;
pub mod decision;
mod denied;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
pub mod handover;
mod ledger;
mod limit;
mod listener;
mod metrics;
mod node;
pub mod operate;
mod premises;
mod recent;
pub mod reload;
mod reports;
mod seldom;
mod snapshot;
pub mod status;
pub mod supervisor;
mod sync;
#[cfg(test)]
mod testing;
mod tls;
mod trace;
pub mod upgrade;
mod upstream;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use admin::Admin;
pub use config::Config;
use gateway::Gateway;
use handover::Predecessor;
use ledger::Ledger;
use ledger::ship::Shipper;
use limit::Limits;
use listener::Listener;
use metrics::Metrics;
use premises::Premises;
use reload::Settings;
use reports::Reports;
use snapshot::Snapshot;
use snapshot::store::{self, Store};
use status::StatusFile;
use sync::Sync;
use tls::Tls;
use trace::export::Exporter;
use upstream::address::Resolver;
use upstream::echo::Echo;
use upstream::kept::Kept;
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
    settings: Settings,
    clock: Clock,
    metrics: Arc<Metrics>,
    reports: Arc<Reports>,
    exporter: Option<Exporter>,
    status: StatusFile,
    listener: Listener,
    kept: Arc<Kept>,
    tls: Option<Arc<Tls>>,
    admin: Arc<Admin>,
    /// Its address in the settings, where the port may be 0, and the socket.
    admin_socket: (SocketAddr, Option<Arc<TcpListener>>),
    admin_address: SocketAddr,
    admin_stop: Option<CancellationToken>,
    draining: Arc<AtomicBool>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    limits: Limits,
    ledger: Arc<Ledger>,
    shipper: Arc<Shipper>,
    /// Held while another process may ship.
    shipping: Option<OwnedMutexGuard<()>>,
    store: Arc<Mutex<Store>>,
    sync: Arc<Sync>,
    /// Follows the control plane.
    following: AbortOnDropHandle<()>,
    acknowledging: Option<AbortOnDropHandle<()>>,
    prober: Option<Prober>,
    tasks: Vec<AbortOnDropHandle<()>>,
    /// Another process serves; this one only drains.
    handed_over: bool,
    _echo: Echo,
    /// Held while it runs, or until it has handed over; another process can't have the same data
    /// directory.
    lock: Option<File>,
}

impl Proxy {
    /// Starts serving: binds, recovers what is on disk, and follows the control plane from there.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let mut proxy = Self::begin(config, clock, None).await?;
        proxy.attend();
        Ok(proxy)
    }

    /// Starts serving in the place of a running process. An error is told to that, too, which then
    /// goes on.
    pub async fn take_over(
        config: Config,
        clock: Clock,
        mut predecessor: Predecessor,
    ) -> anyhow::Result<Self> {
        match Self::begin(config, clock, Some(&mut predecessor)).await {
            Ok(mut proxy) => {
                predecessor.serving().await;
                proxy.metrics.process.upgrades.with_label_values(&["succeeded"]).inc();
                proxy.attend();
                Ok(proxy)
            }
            Err(error) => {
                predecessor.failed(&error).await;
                Err(error)
            }
        }
    }

    /// Everything up to accepting connections.
    async fn begin(
        config: Config,
        clock: Clock,
        mut predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        let premises = Premises::open(config, &clock, predecessor.as_deref_mut()).await?;
        let sync = premises.sync(&clock);
        let refusals = premises.refusals(&clock);
        let Premises { dir, lock, node, client, sockets, admin_socket, cursor, .. } = premises;
        let Premises { settings, metrics, reports, exporter, limits, .. } = premises;
        let Premises { snapshot, store, ledger, .. } = premises;
        let tls = sockets.iter().find_map(|socket| socket.tls.clone());
        let admin_address = admin_socket.1.local_addr()?;
        let served = snapshot.load().revision;
        let echo = Echo::start().await?;

        let (announce, draining) = watch::channel(false);
        let quotas = limits.quotas.clone();
        let shipper = Shipper::new(ledger.clone(), cursor, client, quotas, clock.clone(), node);
        let resolver = Arc::new(Resolver::default());
        let pools = Arc::new(Pools::new(metrics.clone(), resolver.clone()));
        let prober = Prober::new(snapshot.clone(), pools.clone(), resolver.clone());
        let kept = Arc::new(Kept::new());
        let gateway = Gateway {
            snapshot: snapshot.clone(),
            limits: limits.clone(),
            ledger: ledger.clone(),
            resolver,
            pools,
            kept: kept.clone(),
            sockets: Arc::default(),
            echo: echo.address,
            clock: clock.clone(),
            metrics: metrics.clone(),
            reports: reports.clone(),
            settings: settings.clone(),
            under_way: TaskTracker::new(),
            draining,
        };
        let following = spawn(sync.clone().run());
        if let Some(predecessor) = &mut predecessor {
            upgrade::take_over_state(predecessor, &metrics, &snapshot, &limits.quotas).await?;
        }
        let listener = Listener::start(sockets, gateway, settings.clone(), announce, refusals)?;
        metrics.process.reloaded_at.set(clock.now().timestamp());
        metrics.started.set(clock.now().timestamp());
        let draining = Arc::new(AtomicBool::new(false));
        let admin = Arc::new(Admin {
            snapshot: snapshot.clone(),
            metrics: metrics.clone(),
            ledger: ledger.clone(),
            draining: draining.clone(),
            reports: reports.clone(),
            clock: clock.clone(),
        });
        let took_over_from = predecessor.map(|predecessor| predecessor.pid());
        let mut proxy = Self {
            settings,
            clock,
            metrics,
            reports,
            exporter,
            status: StatusFile::new(&dir, took_over_from),
            listener,
            kept,
            tls,
            admin,
            admin_socket: (admin_socket.0, Some(admin_socket.1)),
            admin_address,
            admin_stop: None,
            draining,
            snapshot,
            limits,
            ledger,
            shipper: Arc::new(shipper),
            shipping: None,
            store,
            sync,
            following,
            acknowledging: None,
            prober: Some(prober),
            tasks: Vec::new(),
            handed_over: false,
            _echo: echo,
            lock: Some(lock),
        };
        proxy.serve_admin();
        tracing::info!(
            listen = %proxy.address(),
            tls = proxy.tls_address().map(tracing::field::display),
            admin = %admin_address,
            control = %proxy.settings.load().control.url,
            revision = served,
            "the proxy serves"
        );
        Ok(proxy)
    }

    /// Begins what only one process at a time may do for a data directory, and what goes on beside
    /// requests.
    fn attend(&mut self) {
        let fsync = Duration::from_millis(self.settings.load().ledger.fsync_interval_ms);
        self.tasks.extend([
            spawn(self.shipper.clone().run()),
            spawn(self.ledger.clone().sync_forever(fsync)),
            spawn(sync_store(self.store.clone())),
            spawn(self.limits.strict.clone().run()),
            spawn(self.reports.application_log.clone().run()),
        ]);
        self.tasks.extend(self.prober.take().map(|prober| spawn(Arc::new(prober).run())));
        let kept = self.kept.clone();
        self.tasks.push(spawn(async move { kept.look_after().await }));
        self.tasks.extend(self.tls.clone().map(|tls| spawn(tls.watch())));
        self.acknowledge();
    }

    /// Lets `status.json` name this process as the one that answers signals. One that has a proxy
    /// inside, and does not, must not be found there.
    pub fn answer_signals(&self) {
        self.status.say(|_| {});
    }

    fn acknowledge(&mut self) {
        self.acknowledging = Some(spawn(self.sync.clone().acknowledge()));
    }

    /// Begins to serve the admin listener, unless that is done already.
    fn serve_admin(&mut self) {
        if self.admin_stop.is_none()
            && let Some(listener) = self.admin_socket.1.clone()
        {
            let stop = CancellationToken::new();
            self.tasks.push(spawn(self.admin.clone().serve(listener, stop.clone())));
            self.admin_stop = Some(stop);
        }
    }

    /// Leaves the admin listener to another process.
    fn stop_admin(&mut self) {
        if let Some(stop) = self.admin_stop.take() {
            stop.cancel();
        }
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
    /// plane answers. What can't be shipped stays for the next start, or for the process that has
    /// taken over.
    pub async fn shutdown(mut self) {
        self.take_back_storage().await;
        self.draining.store(true, Ordering::Relaxed);
        let drain = self.settings.load().drain.clone();
        self.listener.drain(&drain, self.handed_over).await;
        let _ = timeout(LAST_WORD, self.limits.strict.close()).await;
        if !self.handed_over {
            // The next report would take the share of the limits back.
            drop((self.following, self.acknowledging));
            self.sync.leave(LAST_WORD).await;
            self.shipper.drain(LAST_SHIPMENT).await;
        }
        self.reports.application_log.flush(LAST_WORD).await;
        if let Some(exporter) = self.exporter {
            exporter.stop(LAST_SPANS).await;
        }
        self.ledger.sync();
        store::sync(&self.store).await;
        drop(self.tasks);
        self.reports.access_log.close().await;
        tracing::info!(unshipped = self.ledger.unshipped(), "the proxy has stopped");
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
