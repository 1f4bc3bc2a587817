//! Sends the journal to the control plane: batch after batch, each until it is confirmed, with
//! jittered back-off while that fails. Nothing is ever dropped here; a batch that is sent twice is
//! applied once, by its node, epoch and sequence numbers. The answers carry the fleet's totals.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use authsome_shared::clock::Clock;
use authsome_shared::id::{EpochId, NodeId};
use authsome_shared::usage::{Applied, BatchHeader, MAX_BATCH_RECORDS};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::Ledger;
use super::cursor::Cursor;
use super::read::{self, Batch, Position};
use crate::limit::quota::{Month, Quotas};
use crate::sync::backoff::Backoff;
use crate::sync::client::Client;

/// How long further records may join a batch.
const LINGER: Duration = Duration::from_millis(200);

/// So many records are shipped without waiting for more.
const ENOUGH: u64 = MAX_BATCH_RECORDS as u64 / 2;

/// How long to wait for news when nothing rings.
const IDLE: Duration = Duration::from_secs(1);

pub struct Shipper {
    pub ledger: Arc<Ledger>,
    pub client: Client,
    pub quotas: Arc<Quotas>,
    pub clock: Clock,
    pub node: NodeId,
    state: Mutex<State>,
    /// One batch at a time, whoever sends it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct State {
    cursor: Cursor,
    position: Position,
    /// The cursor as it is on disk; only what that confirms may be deleted.
    saved: Cursor,
    saved_at: Instant,
}

/// With more totals than this, the cursor is saved at intervals only.
const FEW_TOTALS: usize = 1_000;
const SAVE_EVERY: Duration = Duration::from_secs(2);

impl Shipper {
    pub fn new(
        ledger: Arc<Ledger>,
        cursor: Cursor,
        client: Client,
        quotas: Arc<Quotas>,
        clock: Clock,
        node: NodeId,
    ) -> Self {
        let state = Mutex::new(State {
            saved: cursor.clone(),
            cursor,
            position: Position::default(),
            saved_at: Instant::now(),
        });
        Self { ledger, client, quotas, clock, node, state, turn: Arc::default() }
    }

    /// Ships for ever.
    pub async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match self.ship_one().await {
                Ok(true) => {
                    backoff.reset();
                    // A batch costs both sides much the same whatever is in it.
                    if self.ledger.unshipped() < ENOUGH {
                        sleep(LINGER).await;
                    }
                }
                Ok(false) => {
                    backoff.reset();
                    let news = timeout(IDLE, self.ledger.appended.notified()).await;
                    if news.is_ok() {
                        sleep(LINGER).await;
                    }
                }
                Err(error) => {
                    self.ledger.metrics.ledger.ship_failures.inc();
                    let wait = backoff.next();
                    tracing::warn!(
                        error = format!("{error:#}"),
                        ?wait,
                        unshipped = self.ledger.unshipped(),
                        "usage can't be shipped; trying again"
                    );
                    sleep(wait).await;
                }
            }
        }
    }

    /// Ships all there is, for a shutdown; gives up at the first failure or after `limit`.
    pub async fn drain(self: &Arc<Self>, limit: Duration) {
        let all = async {
            loop {
                match self.ship_one().await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            unshipped = self.ledger.unshipped(),
                            "usage stays in the journal for the next start"
                        );
                        return;
                    }
                }
            }
        };
        let _ = timeout(limit, all).await;
    }

    /// Lets the batch under way end, and no other begin while the guard lives: the process that
    /// takes over ships on from the cursor that is then on disk.
    pub async fn pause(&self) -> anyhow::Result<tokio::sync::OwnedMutexGuard<()>> {
        let turn = self.turn.clone().lock_owned().await;
        self.save(true, 0)?;
        Ok(turn)
    }

    /// Ships the next batch; `false` when there is none.
    async fn ship_one(self: &Arc<Self>) -> anyhow::Result<bool> {
        let _turn = self.turn.lock().await;
        let this = self.clone();
        let Some((batch, body)) = apart(move || this.next()).await? else { return Ok(false) };
        let answer = self.client.usage(body).await?;
        let this = self.clone();
        apart(move || this.confirm(&batch, &answer)).await?;
        self.ledger.metrics.ledger.batches.inc();
        Ok(true)
    }

    /// The next batch, and what is sent of it.
    fn next(&self) -> anyhow::Result<Option<(Batch, Vec<u8>)>> {
        let batch = {
            let mut state = self.state.lock();
            let State { cursor, position, .. } = &mut *state;
            self.ledger.journal.survey(cursor)?;
            read::next_batch(&self.ledger.journal, cursor, position)?
        };
        let oldest = batch.as_ref().map_or(0, |batch| first_at(&batch.lines));
        self.ledger.oldest.store(oldest, Ordering::Relaxed);
        let Some(batch) = batch else {
            self.save(true, 0)?;
            return Ok(None);
        };
        let body = self.encode(&batch)?;
        Ok(Some((batch, body)))
    }

    fn encode(&self, batch: &Batch) -> anyhow::Result<Vec<u8>> {
        let epoch: EpochId = batch.epoch.parse()?;
        let header =
            BatchHeader { node: self.node.clone(), epoch, first: batch.first, count: batch.count };
        let mut body = Vec::with_capacity(read::HEADER_ROOM + batch.lines.len());
        serde_json::to_writer(&mut body, &header)?;
        body.push(b'\n');
        body.extend_from_slice(&batch.lines);
        Ok(body)
    }

    fn confirm(&self, batch: &Batch, answer: &[u8]) -> anyhow::Result<()> {
        let applied: Applied = serde_json::from_slice(answer).context("an unreadable answer")?;
        anyhow::ensure!(
            applied.watermark + 1 >= batch.first,
            "the control plane confirmed {} and so lacks records that it had confirmed before {}",
            applied.watermark,
            batch.first
        );
        self.quotas.confirm(&applied.totals);
        let watermark = applied.watermark.min(batch.last());
        self.state.lock().cursor.confirmed.insert(batch.epoch.clone(), watermark);
        self.save(false, (watermark + 1).saturating_sub(batch.first))
    }

    /// Keeps what is confirmed, then lets the journal forget it. `records` are newly confirmed.
    fn save(&self, idle: bool, records: u64) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        let few = state.cursor.totals.len() < FEW_TOTALS;
        let due = idle || few || state.saved_at.elapsed() >= SAVE_EVERY;
        if due && state.cursor.confirmed != state.saved.confirmed {
            state.cursor.totals = self.quotas.confirmed(Month::of(self.clock.now()));
            if self.write(&state.cursor)? {
                state.saved = state.cursor.clone();
                state.saved_at = Instant::now();
            }
        }
        self.ledger.journal.confirmed(&state.saved, records)?;
        let live = self.ledger.journal.segments();
        state.cursor.confirmed.retain(|epoch, _| live.iter().any(|it| it.epoch == *epoch));
        Ok(())
    }

    /// Brings the cursor to the disk; `false` when that is full. It is tried again, and meanwhile
    /// an older cursor there does no harm.
    fn write(&self, cursor: &Cursor) -> anyhow::Result<bool> {
        let dir = self.ledger.journal.dir();
        if cursor.save(dir).is_ok() {
            return Ok(true);
        }
        // On a full disk the cursor needs the very space that what is confirmed holds. Ending
        // between the two costs the totals, which the control plane tells anew.
        self.ledger.journal.confirmed(cursor, 0)?;
        match cursor.save(dir) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.ledger.complain(&error);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reading and writing files, and large answers, are not for threads that serve requests: thousands
/// of records at once would hold them up for milliseconds.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("shipping broke off")?
}

/// When the first record of a batch was made, in milliseconds since the epoch; 0 when it can't be
/// read.
fn first_at(lines: &[u8]) -> i64 {
    #[derive(serde::Deserialize)]
    struct Record {
        at: i64,
    }
    let line = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice::<Record>(line).map_or(0, |record| record.at)
}
