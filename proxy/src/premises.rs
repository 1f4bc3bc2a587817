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
use authsome_shared::id::NodeId;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::handover::Predecessor;
use crate::ledger::Ledger;
use crate::ledger::cursor::Cursor;
use crate::limit::quota::Quotas;
use crate::listener::refusal::Refusals;
use crate::listener::{self, Socket};
use crate::metrics::Metrics;
use crate::reload::Settings;
use crate::snapshot::Snapshot;
use crate::snapshot::store::{self, Loaded, Store};
use crate::sync::Sync;
use crate::sync::client::Client;
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
    pub access_log: Arc<AccessLog>,
    pub quotas: Arc<Quotas>,
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
        let client = Client::new(&config.control, token)?;
        let metrics = Arc::new(Metrics::new()?);
        let failures = metrics.tls_reload_failures.clone();
        let sockets = Socket::open(&config, predecessor.as_deref_mut(), failures).await?;
        let configured = config.server.admin_listen;
        let admin =
            listener::take_up("server.admin_listen", configured, predecessor.as_deref_mut())
                .await?;
        let access_log = Arc::new(AccessLog::open(&config.log.access_log, metrics.clone())?);
        let quotas = Arc::new(Quotas::default());
        // What is not confirmed, the process before this one has counted.
        let counted = predecessor.is_some();
        let (snapshot, store) = recover(&dir.join("snapshots"), &quotas, predecessor).await?;
        metrics.revision.set(i64::try_from(snapshot.revision).unwrap_or(i64::MAX));
        let journal = dir.join("journal");
        let (ledger, cursor) =
            Ledger::open(&journal, &config.ledger, &quotas, counted, metrics.clone())?;
        Ok(Self {
            settings: Arc::new(ArcSwap::from_pointee(config)),
            dir,
            lock,
            node,
            client,
            metrics,
            sockets,
            admin_socket: (configured, admin),
            access_log,
            quotas,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            store: Arc::new(Mutex::new(store)),
            ledger: Arc::new(ledger),
            cursor,
        })
    }
}

impl Premises {
    /// What follows the control plane from here.
    pub fn sync(&self) -> Arc<Sync> {
        let snapshot = self.snapshot.load();
        Arc::new(Sync {
            client: self.client.clone(),
            node: self.node.clone(),
            snapshot: self.snapshot.clone(),
            store: self.store.clone(),
            quotas: self.quotas.clone(),
            ledger: self.ledger.clone(),
            metrics: self.metrics.clone(),
            applied: watch::Sender::new((snapshot.revision, snapshot.quarantined)),
        })
    }

    pub fn refusals(&self, clock: &Clock) -> Refusals {
        Refusals {
            metrics: self.metrics.clone(),
            access_log: self.access_log.clone(),
            clock: clock.clone(),
        }
    }
}

/// What is on disk, as far as the process before this one has brought it, and the store that
/// goes on from there.
async fn recover(
    dir: &Path,
    quotas: &Quotas,
    predecessor: Option<&mut Predecessor>,
) -> anyhow::Result<(Snapshot, Store)> {
    let loaded = store::read(dir)?;
    let folded = loaded.as_ref().map(|loaded| loaded.base.header.revision);
    let mut snapshot = first_snapshot(loaded, quotas);
    if let Some(predecessor) = predecessor {
        let frozen = predecessor.prepared().await?;
        snapshot = upgrade::caught_up(snapshot, &frozen, dir, quotas)?;
    }
    let stands = snapshot.platform.clone().map(|platform| (platform, snapshot.revision));
    Ok((snapshot, Store::open(dir, stands, folded)))
}

/// What is on disk, or nothing.
pub fn first_snapshot(loaded: Option<Loaded>, quotas: &Quotas) -> Snapshot {
    let empty = Snapshot::empty();
    let Some(Loaded { base, changes }) = loaded else {
        tracing::warn!(
            "no configuration on disk; refusing requests until the control plane answers"
        );
        return empty;
    };
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
