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
use authsome_shared::clock::Clock;
use authsome_shared::id::{NodeId, PlatformId};
use authsome_shared::node::{Ack, Frame, HEARTBEAT_SECONDS};
use authsome_shared::snapshot::encoding;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::ledger::Ledger;
use crate::limit::Limits;
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
    pub limits: Limits,
    pub ledger: Arc<Ledger>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
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
        let quotas = self.limits.quotas.clone();
        let (next, bytes) = tokio::task::spawn_blocking(move || {
            let header = encoding::Reader::open(&bytes).context("the snapshot is damaged")?.header;
            refuse_the_past(&current, &header.platform, header.revision)?;
            let next = current.replaced_by(&bytes, &quotas).context("the snapshot is damaged")?;
            anyhow::Ok((next, bytes))
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
        self.metrics.applied.set(self.clock.now().timestamp());
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
                let next = current.advanced_by(revision, changes.clone(), &self.limits.quotas);
                // Kept before it is acknowledged: a revocation that was told applied survives.
                self.store.lock().await.append(revision, changes);
                self.swap(next);
                self.seen(revision);
            }
            Frame::Fleet { proxies } => {
                self.limits.share.set(proxies);
                self.metrics.fleet.set(i64::from(self.limits.share.proxies()));
            }
            Frame::Totals { totals } => self.limits.quotas.confirm(&totals),
            Frame::Ping { revision } => self.seen(revision),
        }
        Ok(None)
    }

    /// The control plane's log stands at this revision.
    fn seen(&self, revision: u64) {
        self.metrics.heard.set(self.clock.now().timestamp());
        let lag = revision.saturating_sub(self.snapshot.load().revision);
        self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Acknowledges each change at once, and gives a sign of life between them.
    pub async fn acknowledge(self: Arc<Self>) {
        let mut applied = self.applied.subscribe();
        let mut failed = false;
        loop {
            let applied_now = *applied.borrow_and_update();
            if self.snapshot.load().platform.is_some() {
                match self.client.ack(&self.report(applied_now, false)).await {
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

    fn report(&self, (revision, quarantined): (u64, u64), leaving: bool) -> Ack {
        Ack {
            node: self.node.clone(),
            version: crate::VERSION.to_owned(),
            revision,
            quarantined,
            unshipped: self.ledger.unshipped(),
            strict: self.limits.strict.state(),
            leaving,
        }
    }

    /// Says that this proxy answers no more requests, so that the others take over its share at
    /// once. Untold, they do when it has been silent for a while.
    pub async fn leave(&self, limit: Duration) {
        let applied = *self.applied.borrow();
        let told = timeout(limit, self.client.ack(&self.report(applied, true))).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!("the control plane could not be told of the end");
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
