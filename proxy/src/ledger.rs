//! The metering ledger of this proxy: one record per admitted request, appended to a journal on
//! disk before the client sees its response end, and shipped to the control plane, which applies
//! it exactly once. `journal` writes and recovers, `ship` sends; here both meet the quotas and the
//! policy for a full disk. It decides nothing about a request but whether it can be recorded.

pub mod cursor;
pub mod frame;
pub mod journal;
pub mod line;
pub mod read;
pub mod ship;
mod space;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use authsome_shared::usage::UsageRecord;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::config;
use crate::limit::quota::Quotas;
use crate::metrics::Metrics;
use crate::seldom::Seldom;
use cursor::Cursor;
use journal::Journal;
use line::Line;

/// Everything that is kept of usage on this proxy.
pub struct Ledger {
    journal: Journal,
    when_full: config::WhenFull,
    metrics: Arc<Metrics>,
    lost: Seldom,
    unwritable: Seldom,
    /// When the oldest record that is being shipped was made, in milliseconds since the epoch; 0:
    /// there is none.
    oldest: AtomicI64,
    /// Rung when there is something to ship.
    appended: Notify,
}

impl Ledger {
    /// Opens the journal under `dir`, begins a new epoch, and counts into `quotas` what earlier
    /// epochs have left unshipped, unless that is known otherwise (`counted`). Gives the cursor to
    /// ship on from.
    pub fn open(
        dir: &Path,
        config: &config::Ledger,
        quotas: &Quotas,
        counted: bool,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<(Self, Cursor)> {
        let cursor = Cursor::load(dir);
        if !counted {
            quotas.confirm(&cursor.totals);
        }
        let (journal, damaged) = Journal::open(dir, config, &cursor)?;
        if damaged > 0 {
            tracing::warn!(places = damaged, "the journal was damaged; what is lost shows as gaps");
        }
        let mut unshipped = 0;
        read::each_unshipped(&journal, &cursor, |line| {
            unshipped += 1;
            if counted {
                return;
            }
            match serde_json::from_slice::<UsageRecord>(line) {
                Ok(record) => quotas.recount(&record),
                Err(error) => tracing::warn!(%error, "an old usage record can't be read"),
            }
        })?;
        journal.set_unshipped(unshipped);
        metrics.ledger.max_bytes.set(i64::try_from(config.max_bytes).unwrap_or(i64::MAX));
        if unshipped > 0 {
            tracing::info!(records = unshipped, "usage records of earlier runs wait to be shipped");
        }
        let ledger = Self {
            journal,
            when_full: config.when_full,
            metrics,
            lost: Seldom::default(),
            unwritable: Seldom::default(),
            oldest: AtomicI64::new(0),
            appended: Notify::new(),
        };
        Ok((ledger, cursor))
    }

    /// May a request be admitted, as far as recording it goes?
    pub fn has_room(&self) -> bool {
        self.when_full == config::WhenFull::Drop || self.journal.has_room()
    }

    /// Notes one admitted request, to be committed with others. A record that can't be noted or
    /// written is counted as lost: its response has been decided and can't be taken back.
    pub fn note(&self, line: Line) -> Option<u64> {
        match self.journal.note(line) {
            Ok(number) => Some(number),
            Err(error) => {
                self.lose(1, &error);
                None
            }
        }
    }

    /// Writes what is noted up to this number and beyond, unless that was done by another.
    pub fn commit(&self, number: u64) {
        match self.journal.commit(number) {
            // It was written beside another.
            Ok(None) => {}
            Ok(Some(took)) => {
                self.metrics.latency.ledger.observe(took.as_secs_f64());
                self.appended.notify_one();
            }
            Err(lost) => self.lose(lost.records, &lost),
        }
    }

    fn lose(&self, records: u64, error: &dyn std::error::Error) {
        self.metrics.ledger.lost.inc_by(records);
        if let Some(before) = self.lost.due() {
            tracing::error!(%error, before, "a usage record is lost");
        }
    }

    /// Another process may have appended to this journal; what it left is shipped, too.
    pub fn expect_others(&self) {
        self.journal.expect_others();
    }

    /// Records that the control plane has not confirmed.
    pub fn unshipped(&self) -> u64 {
        self.journal.unshipped()
    }

    /// Whole seconds since the oldest record was made that the control plane has not confirmed; 0
    /// when it has confirmed all.
    pub fn lag(&self, now: DateTime<Utc>) -> i64 {
        match self.oldest.load(Ordering::Relaxed) {
            0 => 0,
            oldest => (now.timestamp_millis() - oldest).max(0) / 1_000,
        }
    }

    /// Bytes that the journal takes on disk.
    pub fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// Brings what was appended to the disk, again and again, and tries to recover from a failed
    /// write.
    pub async fn sync_forever(self: Arc<Self>, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let ledger = self.clone();
            let _ = tokio::task::spawn_blocking(move || ledger.sync()).await;
        }
    }

    fn complain(&self, error: &io::Error) {
        if self.unwritable.due().is_none() {
            return;
        }
        if error.kind() == io::ErrorKind::StorageFull {
            let dir = self.journal.dir().display();
            match self.when_full {
                config::WhenFull::Refuse => tracing::error!(
                    %dir, "the disk is full: requests are refused until there is space again"
                ),
                config::WhenFull::Drop => tracing::error!(
                    %dir, "the disk is full: requests are served, and soon without being billed"
                ),
            }
        } else {
            tracing::error!(%error, "the journal can't be brought to disk");
        }
    }

    /// Brings everything to the disk, also what was noted by whoever ended before it was committed.
    pub fn sync(&self) {
        self.commit(u64::MAX);
        if let Err(error) = self.journal.sync() {
            self.complain(&error);
        }
    }
}
