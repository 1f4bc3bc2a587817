//! Keeps the configuration current: one stream from the control plane, applied change by change,
//! each swapped in, kept on disk and acknowledged. While the control plane is away the proxy goes
//! on with what it has. A platform's revisions never go back: a control plane that knows less than
//! we do was restored from a backup, and following it would admit keys that were revoked.

pub mod backoff;
pub mod client;
mod line;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use authsome_shared::id::{NodeId, PlatformId};
use authsome_shared::node::{Ack, Frame, HEARTBEAT_SECONDS};
use authsome_shared::snapshot::encoding;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::ledger::Ledger;
use crate::limit::quota::Quotas;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::snapshot::store::Store;
use backoff::Backoff;
use client::Client;

/// A stream that is silent for this long is dead; the control plane pings every second.
const SILENCE: Duration = Duration::from_secs(5);

pub struct Sync {
    pub client: Client,
    pub node: NodeId,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub store: Arc<Mutex<Store>>,
    pub quotas: Arc<Quotas>,
    pub ledger: Arc<Ledger>,
    pub metrics: Arc<Metrics>,
    /// Revision and quarantined count that are to be acknowledged.
    pub applied: watch::Sender<(u64, u64)>,
}

/// Why a stream ended without an error.
enum Ended {
    /// The changes do not follow on ours.
    NeedsSnapshot,
    Closed,
}

impl Sync {
    /// Follows the control plane for ever.
    pub async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            let had = self.snapshot.load().revision;
            if let Err(error) = self.follow().await {
                self.metrics.sync_failures.inc();
                tracing::warn!(
                    error = format!("{error:#}"),
                    revision = self.snapshot.load().revision,
                    "lost the control plane; serving what is known"
                );
            }
            let connected = self.metrics.connected.get() == 1;
            self.metrics.connected.set(0);
            if connected || self.snapshot.load().revision != had {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn follow(&self) -> anyhow::Result<()> {
        if self.snapshot.load().platform.is_none() {
            self.fetch().await?;
        }
        loop {
            match self.stream().await? {
                Ended::Closed => return Ok(()),
                Ended::NeedsSnapshot => self.fetch().await?,
            }
        }
    }

    /// Takes a whole snapshot, unless it would turn back time.
    async fn fetch(&self) -> anyhow::Result<()> {
        let bytes = self.client.snapshot().await.context("no snapshot")?;
        let current = self.snapshot.load_full();
        let quotas = self.quotas.clone();
        let (next, bytes) = tokio::task::spawn_blocking(move || {
            let decoded = encoding::decode(&bytes).context("the snapshot is damaged")?;
            refuse_the_past(&current, &decoded.header.platform, decoded.header.revision)?;
            anyhow::Ok((current.replaced_by(decoded, &quotas), bytes))
        })
        .await??;
        let (platform, revision) = (next.platform.clone(), next.revision);
        tracing::info!(
            revision,
            keys = next.keys(),
            applications = next.applications(),
            quarantined = next.quarantined,
            "took a whole snapshot"
        );
        self.swap(next);
        if let Some(platform) = platform {
            self.store.lock().await.replace(platform, revision, bytes).await;
        }
        Ok(())
    }

    fn swap(&self, next: Snapshot) {
        self.metrics.revision.set(i64::try_from(next.revision).unwrap_or(i64::MAX));
        self.metrics.quarantined.set(i64::try_from(next.quarantined).unwrap_or(i64::MAX));
        let applied = (next.revision, next.quarantined);
        self.snapshot.store(Arc::new(next));
        self.applied.send_replace(applied);
    }

    async fn stream(&self) -> anyhow::Result<Ended> {
        let (platform, revision) = {
            let current = self.snapshot.load();
            let platform = current.platform.clone().context("there is no snapshot yet")?;
            (platform, current.revision)
        };
        let response = self.client.stream(&self.node, &platform, revision).await?;
        let mut lines = line::Lines::new(response);
        loop {
            let line = timeout(SILENCE, lines.next()).await;
            let Some(line) = line.context("the stream fell silent")?? else {
                return Ok(Ended::Closed);
            };
            let frame = match serde_json::from_slice::<Frame>(&line) {
                Ok(frame) => frame,
                Err(error) => {
                    tracing::debug!(%error, "an unknown frame is ignored");
                    continue;
                }
            };
            if let Some(ended) = self.take(frame).await? {
                return Ok(ended);
            }
        }
    }

    async fn take(&self, frame: Frame) -> anyhow::Result<Option<Ended>> {
        let current = self.snapshot.load_full();
        match frame {
            Frame::Hello { platform, revision } => {
                if current.platform.as_ref() != Some(&platform) {
                    return Ok(Some(Ended::NeedsSnapshot));
                }
                refuse_the_past(&current, &platform, revision)?;
                self.seen(revision);
                self.metrics.connected.set(1);
            }
            Frame::Reset { platform, revision } => {
                refuse_the_past(&current, &platform, revision)?;
                return Ok(Some(Ended::NeedsSnapshot));
            }
            Frame::Delta { revision, .. } if revision <= current.revision => {}
            Frame::Delta { revision, .. } if revision != current.revision + 1 => {
                tracing::warn!(revision, ours = current.revision, "a gap in the revisions");
                return Ok(Some(Ended::NeedsSnapshot));
            }
            Frame::Delta { revision, changes } => {
                let next = current.advanced_by(revision, changes.clone(), &self.quotas);
                // Kept before it is acknowledged: a revocation that was told applied survives.
                self.store.lock().await.append(revision, changes);
                self.swap(next);
                self.seen(revision);
            }
            Frame::Totals { totals } => self.quotas.confirm(&totals),
            Frame::Ping { revision } => self.seen(revision),
        }
        Ok(None)
    }

    /// The control plane's log stands at this revision.
    fn seen(&self, revision: u64) {
        let lag = revision.saturating_sub(self.snapshot.load().revision);
        self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Acknowledges each change at once, and gives a sign of life between them.
    pub async fn acknowledge(self: Arc<Self>) {
        let mut applied = self.applied.subscribe();
        let mut failed = false;
        loop {
            let (revision, quarantined) = *applied.borrow_and_update();
            if self.snapshot.load().platform.is_some() {
                let ack = Ack {
                    node: self.node.clone(),
                    version: crate::VERSION.to_owned(),
                    revision,
                    quarantined,
                    unshipped: self.ledger.unshipped(),
                };
                match self.client.ack(&ack).await {
                    Ok(()) => failed = false,
                    Err(error) if !failed => {
                        failed = true;
                        tracing::warn!(error = format!("{error:#}"), "can't acknowledge");
                    }
                    Err(_) => {}
                }
            }
            let beat = if failed { 500 } else { HEARTBEAT_SECONDS * 1_000 };
            // Too long or changed: either way it is time for the next.
            let _ = timeout(Duration::from_millis(beat), applied.changed()).await;
        }
    }
}

/// A lower revision of the same platform is never taken.
fn refuse_the_past(current: &Snapshot, platform: &PlatformId, revision: u64) -> anyhow::Result<()> {
    if current.platform.as_ref() == Some(platform) && revision < current.revision {
        tracing::error!(
            theirs = revision,
            ours = current.revision,
            "the control plane's configuration is older than ours: it was restored from a backup. \
             Following it would admit keys that were revoked since; keeping what is known. To \
             accept it, empty proxy/snapshots in the data directory and restart"
        );
        bail!("the control plane is at revision {revision}, behind ours");
    }
    Ok(())
}
