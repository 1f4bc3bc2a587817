//! What a proxy stands on before it serves: its folder and the lock of it, its sockets, and all
//! that is on the disk. A process that takes over from a running one gets the lock and the sockets
//! from that, and reads on until it has all that the other has written.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use authsome_shared::envelope::Envelope;
use authsome_shared::id::NodeId;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::config::Config;
use crate::handover::Predecessor;
use crate::ledger::Ledger;
use crate::ledger::cursor::Cursor;
use crate::limit::Limits;
use crate::limit::quota::Quotas;
use crate::listener::refusal::Refusals;
use crate::listener::{self, Socket};
use crate::metrics::Metrics;
use crate::reload::Settings;
use crate::reports::Reports;
use crate::snapshot::Snapshot;
use crate::snapshot::store::{self, Loaded, Store};
use crate::sync::Sync;
use crate::sync::client::Client;
use crate::trace::export::Exporter;
use crate::{node, upgrade};

pub struct Premises {
    pub settings: Settings,
    /// Ours in the data directory.
    pub dir: PathBuf,
    pub lock: File,
    pub node: NodeId,
    pub client: Client,
    pub metrics: Arc<Metrics>,
    pub sockets: Vec<Socket>,
    /// Its address in the settings, where the port may be 0, and the socket.
    pub admin_socket: (SocketAddr, Arc<TcpListener>),
    pub reports: Arc<Reports>,
    pub exporter: Option<Exporter>,
    pub limits: Limits,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub store: Arc<Mutex<Store>>,
    pub ledger: Arc<Ledger>,
    /// Where to ship on from.
    pub cursor: Cursor,
}

impl Premises {
    /// Binds, or takes over, and recovers what is on disk.
    pub async fn open(
        config: Config,
        clock: &Clock,
        mut predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        config.validate().context("invalid configuration")?;
        let token = config.node_token()?;
        let dir = config.server.data_dir.join("proxy");
        let lock = match &mut predecessor {
            None => node::lock(&dir)?,
            Some(predecessor) => predecessor.lock(&config.server.data_dir)?,
        };
        let node = node::identity(&dir)?;
        let envelope = Arc::new(Envelope::new(token.expose()));
        let client = Client::new(&config.control, token)?;
        let metrics = Arc::new(Metrics::new()?);
        let failures = metrics.tls_reload_failures.clone();
        let sockets = Socket::open(&config, predecessor.as_deref_mut(), failures).await?;
        let configured = config.server.admin_listen;
        let admin =
            listener::take_up("server.admin_listen", configured, predecessor.as_deref_mut())
                .await?;
        let (reports, exporter) = Reports::open(&config, &node, &metrics, &client, clock)?;
        let limits = Limits::open(&dir, &config, clock.clone(), &metrics)?;
        // What is not confirmed, the process before this one has counted.
        let counted = predecessor.is_some();
        let empty = Snapshot::empty_with(Some(envelope));
        let (snapshot, store) =
            recover(&dir.join("snapshots"), empty, &limits.quotas, predecessor).await?;
        metrics.revision.set(i64::try_from(snapshot.revision).unwrap_or(i64::MAX));
        let journal = dir.join("journal");
        let (ledger, cursor) =
            Ledger::open(&journal, &config.ledger, &limits.quotas, counted, metrics.clone())?;
        Ok(Self {
            settings: Arc::new(ArcSwap::from_pointee(config)),
            dir,
            lock,
            node,
            client,
            metrics,
            sockets,
            admin_socket: (configured, admin),
            reports,
            exporter,
            limits,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            store: Arc::new(Mutex::new(store)),
            ledger: Arc::new(ledger),
            cursor,
        })
    }
}

impl Premises {
    /// What follows the control plane from here.
    pub fn sync(&self, clock: &Clock) -> Arc<Sync> {
        let snapshot = self.snapshot.load();
        Arc::new(Sync {
            client: self.client.clone(),
            node: self.node.clone(),
            snapshot: self.snapshot.clone(),
            store: self.store.clone(),
            limits: self.limits.clone(),
            ledger: self.ledger.clone(),
            metrics: self.metrics.clone(),
            clock: clock.clone(),
            applied: watch::Sender::new((snapshot.revision, snapshot.quarantined)),
        })
    }

    pub fn refusals(&self, clock: &Clock) -> Refusals {
        Refusals {
            metrics: self.metrics.clone(),
            reports: self.reports.clone(),
            clock: clock.clone(),
        }
    }
}

/// What is on disk, as far as the process before this one has brought it, and the store that
/// goes on from there.
async fn recover(
    dir: &Path,
    empty: Snapshot,
    quotas: &Quotas,
    predecessor: Option<&mut Predecessor>,
) -> anyhow::Result<(Snapshot, Store)> {
    let loaded = store::read(dir)?;
    let folded = loaded.as_ref().map(|loaded| loaded.header.revision);
    let mut snapshot = first_snapshot(empty, loaded, quotas);
    if let Some(predecessor) = predecessor {
        let frozen = predecessor.prepared().await?;
        snapshot = upgrade::caught_up(snapshot, &frozen, dir, quotas)?;
    }
    let stands = snapshot.platform.clone().map(|platform| (platform, snapshot.revision));
    Ok((snapshot, Store::open(dir, stands, folded)))
}

/// What is on disk, or nothing.
pub fn first_snapshot(empty: Snapshot, loaded: Option<Loaded>, quotas: &Quotas) -> Snapshot {
    let Some(Loaded { base, changes, .. }) = loaded else {
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
