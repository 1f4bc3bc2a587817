//! The last good configuration on disk: generations of a whole snapshot in the wire encoding, and
//! logs of the changes since, one checksummed line per revision. A change is appended at once and
//! brought to the disk within [`SYNC_EVERY`], without rewriting a million keys; the log is folded
//! into a new base in the background, at once while the base is small, else when it has grown long.
//! The generation before the newest is kept, with the log that leads from it to the newest: any one
//! damaged file costs at most the last moments.
//!
//! Loading takes the newest base that is whole and every logged change that follows on it without
//! a gap. Damage costs what it hits, never the start: with nothing readable the proxy starts empty
//! and says so. A disk that can't be written is logged; serving goes on.

pub mod fold;
pub mod log;
mod pause;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use authsome_shared::id::PlatformId;
use authsome_shared::snapshot::encoding::{self, Header};
use log::{Entry, Log};
use pause::Paused;
use serde_json::Value;
use tokio::sync::Mutex;

/// What was appended is on the disk this much later at most.
pub const SYNC_EVERY: Duration = Duration::from_millis(500);

/// A log longer than this, and than half of its base, is folded into a new base.
const FOLD_BYTES: u64 = 8 * 1024 * 1024;

/// A base up to this size is written anew with each round of changes.
const SMALL_BASE_BYTES: u64 = 1024 * 1024;

/// Whole snapshots kept.
const GENERATIONS: usize = 2;

/// What a start finds.
pub struct Loaded {
    pub header: Header,
    /// A whole snapshot, encoded.
    pub base: Vec<u8>,
    /// Changes since, in order.
    pub changes: Vec<Entry>,
}

pub struct Store {
    dir: PathBuf,
    log: Option<Log>,
    platform: Option<PlatformId>,
    folding: Option<tokio::task::JoinHandle<()>>,
    fold_bytes: u64,
    /// The last revision that is in a log only.
    unfolded: Option<u64>,
    /// Nothing came up that a fold would lose.
    foldable: Arc<AtomicBool>,
    /// The last revision that was kept.
    revision: u64,
    /// Another process writes here, or is about to.
    paused: Option<Paused>,
}

impl Store {
    /// Opens the folder, of which everything up to where we stand was read. `folded` is the
    /// revision of the base that was read.
    pub fn open(dir: &Path, stands: Option<(PlatformId, u64)>, folded: Option<u64>) -> Self {
        let mut store = Self {
            dir: dir.to_owned(),
            log: None,
            platform: None,
            folding: None,
            fold_bytes: FOLD_BYTES,
            unfolded: None,
            foldable: Arc::new(AtomicBool::new(true)),
            revision: 0,
            paused: None,
        };
        if let Some((platform, revision)) = stands {
            store.begin_log(&platform, revision);
            store.platform = Some(platform);
            store.unfolded = (folded != Some(revision)).then_some(revision);
        }
        store
    }

    fn begin_log(&mut self, platform: &PlatformId, revision: u64) {
        self.revision = revision;
        self.log = Log::begin(&self.dir, platform, revision)
            .inspect_err(|error| tracing::error!(%error, "can't keep changes on disk"))
            .ok();
    }

    /// Keeps a whole new snapshot, as it came.
    pub async fn replace(&mut self, platform: PlatformId, revision: u64, bytes: Vec<u8>) {
        if let Some(paused) = &mut self.paused {
            return paused.replace(platform, revision, bytes);
        }
        self.wait_for_fold().await;
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || write_base(&dir, revision, &bytes)).await;
        match written {
            Ok(Ok(())) => {
                self.begin_log(&platform, revision);
                self.platform = Some(platform);
                self.unfolded = None;
                self.foldable.store(true, Ordering::Relaxed);
                prune(&self.dir);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "can't keep the snapshot on disk");
                // Changes that follow on this snapshot do not follow on what is kept.
                self.log = None;
            }
            Err(error) => tracing::error!(%error, "keeping the snapshot failed"),
        }
    }

    /// Keeps one revision's changes.
    pub fn append(&mut self, revision: u64, changes: Vec<Value>) {
        if let Some(paused) = &mut self.paused {
            return paused.append(Entry { revision, changes });
        }
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.append(&Entry { revision, changes }) {
            tracing::error!(%error, "can't keep a change on disk");
            // A gap makes all that follows unreadable: begin anew with the next base.
            self.log = None;
            return;
        }
        self.revision = revision;
        self.unfolded = Some(revision);
        let base = newest_base(&self.dir).map_or(0, |(_, bytes)| bytes);
        if log.bytes() > self.fold_bytes.max(base / 2) {
            self.fold(revision);
        }
    }

    /// Brings a small base up to date with the changes since.
    fn fold_if_small(&mut self) {
        let Some(revision) = self.unfolded.filter(|_| self.log.is_some()) else { return };
        if newest_base(&self.dir).is_some_and(|(_, bytes)| bytes <= SMALL_BASE_BYTES) {
            self.fold(revision);
        }
    }

    /// Folds everything up to `revision` into a new base, in the background; changes that come
    /// meanwhile go to a new log.
    fn fold(&mut self, revision: u64) {
        let running = self.folding.as_ref().is_some_and(|folding| !folding.is_finished());
        if running || !self.foldable.load(Ordering::Relaxed) {
            return;
        }
        let Some(platform) = self.platform.clone() else { return };
        self.begin_log(&platform, revision);
        self.unfolded = None;
        let dir = self.dir.clone();
        let foldable = self.foldable.clone();
        self.folding = Some(tokio::task::spawn_blocking(move || {
            let folded = load_up_to(&dir, revision)
                .context("nothing to fold")
                .and_then(|loaded| fold::fold(loaded, revision))
                .and_then(|bytes| Ok(write_base(&dir, revision, &bytes)?));
            match folded {
                Ok(()) => {
                    prune(&dir);
                    tracing::debug!(revision, "folded the changes on disk into a new snapshot");
                }
                Err(error) => {
                    // The log stays, and what it holds is found at a start. Not tried again
                    // before the next whole snapshot.
                    foldable.store(false, Ordering::Relaxed);
                    tracing::error!(error = format!("{error:#}"), "can't fold the changes on disk");
                }
            }
        }));
    }

    async fn wait_for_fold(&mut self) {
        if let Some(folding) = &mut self.folding {
            let _ = folding.await;
        }
        self.folding = None;
    }

    /// The log's file, if something was appended that is not on the disk yet.
    fn dirty(&mut self) -> Option<fs::File> {
        self.log.as_mut().and_then(Log::dirty)
    }
}

/// Brings appended changes to the disk, without holding up others that append, and a small base up
/// to date with them.
pub async fn sync(store: &Mutex<Store>) {
    store.lock().await.fold_if_small();
    let Some(file) = store.lock().await.dirty() else { return };
    match tokio::task::spawn_blocking(move || file.sync_data()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "can't bring changes to the disk"),
        Err(error) => tracing::error!(%error, "bringing changes to the disk failed"),
    }
}

fn base_path(dir: &Path, revision: u64) -> PathBuf {
    dir.join(format!("snapshot-{revision:020}.zst"))
}

/// The revision in a name such as `snapshot-00000000000000000007.zst`.
fn revision_in(path: &Path, prefix: &str, suffix: &str) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
}

/// Files of one kind, newest last.
fn list(dir: &Path, prefix: &str, suffix: &str) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter_map(|path| Some((revision_in(&path, prefix, suffix)?, path)))
        .collect();
    found.sort();
    found
}

/// Bases by age, newest last: of one revision number, a later platform's file replaced the other.
fn bases(dir: &Path) -> Vec<(u64, PathBuf)> {
    let mut found = list(dir, "snapshot-", ".zst");
    // Another platform may count lower: the time of writing decides.
    found.sort_by_key(|(revision, path)| {
        (fs::metadata(path).and_then(|meta| meta.modified()).ok(), *revision)
    });
    found
}

fn newest_base(dir: &Path) -> Option<(PathBuf, u64)> {
    let (_, path) = bases(dir).pop()?;
    let bytes = fs::metadata(&path).ok()?.len();
    Some((path, bytes))
}

fn write_base(dir: &Path, revision: u64, bytes: &[u8]) -> io::Result<()> {
    let path = base_path(dir, revision);
    let temporary = path.with_extension("tmp");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    fs::File::open(dir)?.sync_all()
}

/// Deletes generations beyond the kept ones, and logs that end before the oldest of these.
fn prune(dir: &Path) {
    let bases = bases(dir);
    let cut = bases.len().saturating_sub(GENERATIONS);
    let oldest = bases[cut..].iter().map(|(revision, _)| *revision).min().unwrap_or(0);
    let old_logs = list(dir, "deltas-", ".log").into_iter().filter(|(from, _)| *from < oldest);
    for (_, path) in bases[..cut].iter().cloned().chain(old_logs) {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "can't delete an old generation");
        }
    }
}

/// Reads the last good configuration, if there is one, and changes nothing.
pub fn read(dir: &Path) -> anyhow::Result<Option<Loaded>> {
    fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    Ok(load_up_to(dir, u64::MAX))
}

fn load_up_to(dir: &Path, limit: u64) -> Option<Loaded> {
    for (_, path) in bases(dir).into_iter().rev() {
        let read = fs::read(&path)
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok((encoding::check(&bytes)?, bytes)));
        match read {
            Ok((header, _)) if header.revision > limit => {}
            Ok((header, base)) => {
                let changes = follow(dir, &header.platform, header.revision, limit);
                return Some(Loaded { header, base, changes });
            }
            Err(error) => tracing::error!(
                path = %path.display(),
                %error,
                "a snapshot on disk is damaged; falling back to the one before it"
            ),
        }
    }
    None
}

/// Every logged change of the platform that follows on a revision without a gap.
pub fn changes_after(dir: &Path, platform: &PlatformId, revision: u64) -> Vec<Entry> {
    follow(dir, platform, revision, u64::MAX)
}

fn follow(dir: &Path, platform: &PlatformId, mut revision: u64, limit: u64) -> Vec<Entry> {
    let mut changes: Vec<Entry> = Vec::new();
    for (_, path) in list(dir, "deltas-", ".log") {
        for entry in log::read(&path, platform) {
            if entry.revision == revision + 1 && entry.revision <= limit {
                revision = entry.revision;
                changes.push(entry);
            }
        }
    }
    changes
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
