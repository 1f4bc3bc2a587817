//! The journal on disk: segments of one epoch per start of the process. A record is noted, then
//! written by write(2) with all that were noted beside it, so that a killed process has lost nothing
//! that was committed; the disk follows with each [`Journal::sync`]. Its space is bounded, and held on the disk before it is needed: when no more
//! can be had, there is no room for further requests, while records of those under way still fit.
//! A failed write is undone, refused, and tried again on a fresh segment with the next sync. The
//! segment that is written to is locked, which tells another process on this folder (the one that
//! takes over in an upgrade) that its end is not torn but still to come; see `live`. Reading is
//! `read`'s, sending `ship`'s.

mod live;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use authsome_shared::id::EpochId;
use parking_lot::Mutex;

use super::cursor::Cursor;
use super::frame::{self, Header};
use super::line::Line;
use super::space::Held;
use crate::config;

/// Kept free, so that requests under way when the journal fills up can still be recorded.
const RESERVE: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    #[error("the journal is full")]
    Full,
    #[error("an earlier write to the journal failed")]
    Failing,
}

/// Records that were noted and could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the journal can't be written: {error}")]
pub struct Lost {
    pub records: u64,
    pub error: io::Error,
}

/// A segment as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub path: PathBuf,
    pub epoch: String,
    pub first: u64,
    /// Highest sequence number in it; `first - 1` when it is empty.
    pub last: u64,
    /// Whole bytes that may be read.
    pub bytes: u64,
    /// Still appended to, by us or by a process that is draining.
    pub active: bool,
}

struct Writer {
    file: File,
    /// Full segments that are not on the disk yet.
    full: Vec<File>,
    held: Held,
    /// Oldest first; the last one is written to, and is the only one that is ours and active.
    segments: VecDeque<Segment>,
    next: u64,
    noted: Noted,
    dirty: bool,
}

/// Records that wait to be written together.
#[derive(Default)]
struct Noted {
    /// Their frames.
    bytes: Vec<u8>,
    records: u64,
    /// Their lowest and highest number, which say nothing when there are none.
    first: u64,
    last: u64,
}

impl Noted {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }
}

impl Writer {
    /// The number of the next record that is written.
    fn following(&self) -> u64 {
        if self.noted.records > 0 { self.noted.first } else { self.next }
    }
}

pub struct Journal {
    dir: PathBuf,
    epoch: EpochId,
    max_bytes: u64,
    segment_bytes: u64,
    writer: Mutex<Writer>,
    bytes: AtomicU64,
    unshipped: AtomicU64,
    /// No space can be held ahead; records go to what is held.
    short: AtomicBool,
    /// A write failed; no record is taken.
    failing: AtomicBool,
    /// Another process may still append to segments of its own.
    others: AtomicBool,
}

impl Journal {
    /// Recovers what earlier epochs left and begins a new one. Also tells how many damaged places
    /// were passed over.
    pub fn open(
        dir: &Path,
        config: &config::Ledger,
        cursor: &Cursor,
    ) -> anyhow::Result<(Self, usize)> {
        fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
        let (mut segments, damaged) = live::recover(dir, cursor)
            .with_context(|| format!("can't recover the journal in {}", dir.display()))?;
        let others = segments.iter().any(|segment| segment.active);
        let epoch = EpochId::new();
        let explain = || {
            let dir = dir.display();
            format!("can't write the journal in {dir}; make sure that it is writable and has space")
        };
        let (mut file, mut segment) = create(dir, epoch.as_str(), 1).with_context(explain)?;
        let mut held = Held::default();
        // On a full disk it starts all the same, and takes records as soon as there is space.
        let failing = match begin(&mut file, &mut segment) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => true,
            Err(error) => return Err(error).with_context(explain),
        };
        let short = held.ahead(&file, segment.bytes).is_err();
        segments.push_back(segment);
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let writer = Writer {
            file,
            full: vec![],
            held,
            segments,
            next: 1,
            noted: Noted::default(),
            dirty: true,
        };
        let journal = Self {
            dir: dir.to_owned(),
            epoch,
            max_bytes: config.max_bytes,
            segment_bytes: config.segment_bytes,
            writer: Mutex::new(writer),
            bytes: AtomicU64::new(bytes),
            unshipped: AtomicU64::new(0),
            short: AtomicBool::new(short),
            failing: AtomicBool::new(failing),
            others: AtomicBool::new(others),
        };
        Ok((journal, damaged))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn unshipped(&self) -> u64 {
        self.unshipped.load(Ordering::Relaxed)
    }

    pub(super) fn set_unshipped(&self, records: u64) {
        self.unshipped.store(records, Ordering::Relaxed);
    }

    /// Would an append succeed, as far as is known?
    pub fn has_room(&self) -> bool {
        !self.short.load(Ordering::Relaxed)
            && !self.failing.load(Ordering::Relaxed)
            && self.bytes() + RESERVE <= self.max_bytes
    }

    /// Notes one record, which the next [`Journal::commit`] writes, whoever calls it, and gives its
    /// number. One that can't be noted uses up its number, so that the loss shows as a gap.
    pub fn note(&self, line: Line) -> Result<u64, NoteError> {
        let mut writer = self.writer.lock();
        let number = writer.next;
        writer.next += 1;
        if self.failing.load(Ordering::Relaxed) {
            return Err(NoteError::Failing);
        }
        let noted = &mut writer.noted;
        let begin = noted.bytes.len();
        frame::begin(&mut noted.bytes, number);
        line.write(&mut noted.bytes);
        frame::finish(&mut noted.bytes[begin..]);
        if self.bytes() + noted.bytes.len() as u64 > self.max_bytes {
            noted.bytes.truncate(begin);
            return Err(NoteError::Full);
        }
        if noted.records == 0 {
            noted.first = number;
        }
        noted.last = number;
        noted.records += 1;
        Ok(number)
    }

    /// Writes all that is noted, unless the record with this number has been written with others.
    /// When this returns, it survives the end of the process. Gives how long writing took, if it
    /// was done here.
    ///
    /// # Errors
    /// Tells of records that are lost once, and not who noted them.
    pub fn commit(&self, number: u64) -> Result<Option<Duration>, Lost> {
        let mut writer = self.writer.lock();
        if writer.noted.records == 0 || number < writer.noted.first {
            return Ok(None);
        }
        let began = Instant::now();
        self.write(&mut writer)?;
        Ok(Some(began.elapsed()))
    }

    /// Notes one record and commits it.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn append(&self, line: Line) -> Result<(), Box<dyn std::error::Error>> {
        let number = self.note(line)?;
        self.commit(number)?;
        Ok(())
    }

    fn write(&self, writer: &mut Writer) -> Result<(), Lost> {
        // Trying again is the next sync's. Until then records go to what is held.
        if !self.short.load(Ordering::Relaxed) && self.ahead(writer).is_err() {
            self.short.store(true, Ordering::Relaxed);
        }
        let Writer { file, segments, noted, dirty, .. } = writer;
        let active = segments.back_mut().expect("there is always an active segment");
        let (length, records) = (noted.bytes.len() as u64, noted.records);
        let written = if self.failing.load(Ordering::Relaxed) {
            Err(io::Error::other("an earlier write failed"))
        } else {
            file.write_all(&noted.bytes)
        };
        if let Err(error) = written {
            // Half a frame must not lie before the next one.
            let _ = file.set_len(active.bytes);
            self.failing.store(true, Ordering::Relaxed);
            noted.clear();
            return Err(Lost { records, error });
        }
        active.bytes += length;
        active.last = noted.last;
        noted.clear();
        *dirty = true;
        self.bytes.fetch_add(length, Ordering::Relaxed);
        self.unshipped.fetch_add(records, Ordering::Relaxed);
        Ok(())
    }

    /// Has space held for the next records, in a new segment when the active one is full.
    fn ahead(&self, writer: &mut Writer) -> io::Result<()> {
        let active = writer.segments.back().expect("there is always an active segment");
        if active.bytes >= self.segment_bytes {
            self.rotate(writer)
        } else {
            writer.held.ahead(&writer.file, active.bytes)
        }
    }

    /// Begins a new segment with space held; else the active one stays as it is.
    fn rotate(&self, writer: &mut Writer) -> io::Result<()> {
        let (mut file, mut segment) = create(&self.dir, self.epoch.as_str(), writer.following())?;
        let mut held = Held::default();
        let begun = begin(&mut file, &mut segment).and_then(|()| held.ahead(&file, segment.bytes));
        if let Err(error) = begun {
            let _ = fs::remove_file(&segment.path);
            return Err(error);
        }
        self.bytes.fetch_add(segment.bytes, Ordering::Relaxed);
        if let Some(active) = writer.segments.back_mut() {
            active.active = false;
            // What it holds beyond its end is no longer needed.
            let length = writer.file.metadata().map_or(active.bytes, |meta| meta.len());
            let _ = writer.file.set_len(length.min(active.bytes));
        }
        writer.segments.push_back(segment);
        // Bringing it to the disk is the next sync's: a request must not wait for that.
        writer.full.push(std::mem::replace(&mut writer.file, file));
        writer.held = held;
        Ok(())
    }

    /// Brings what was appended to the disk. When a write failed or space was short it tries
    /// again, and when that works the journal has room again.
    pub fn sync(&self) -> io::Result<()> {
        if !self.failing.load(Ordering::Relaxed) && !self.short.load(Ordering::Relaxed) {
            return self.sync_file();
        }
        {
            let mut writer = self.writer.lock();
            if self.failing.load(Ordering::Relaxed) {
                self.begin_again(&mut writer)?;
                self.failing.store(false, Ordering::Relaxed);
            }
            self.ahead(&mut writer)?;
            self.short.store(false, Ordering::Relaxed);
        }
        tracing::info!("the journal can be written again");
        self.sync_file()
    }

    /// After a failed write.
    fn begin_again(&self, writer: &mut Writer) -> io::Result<()> {
        let Writer { file, held, segments, .. } = &mut *writer;
        let active = segments.back_mut().expect("there is always an active segment");
        if active.last >= active.first {
            return self.rotate(writer);
        }
        // It is empty, and a new one would have its name if no number was used up since.
        let before = active.bytes;
        *held = Held::default();
        begin(file, active)?;
        self.bytes.fetch_add(active.bytes - before, Ordering::Relaxed);
        Ok(())
    }

    fn sync_file(&self) -> io::Result<()> {
        let (full, file) = {
            let mut writer = self.writer.lock();
            if !std::mem::take(&mut writer.dirty) {
                return Ok(());
            }
            (std::mem::take(&mut writer.full), writer.file.try_clone()?)
        };
        for file in full {
            if let Err(error) = file.sync_data() {
                tracing::error!(%error, "a full segment can't be brought to disk");
            }
        }
        file.sync_data()
    }

    /// All segments, oldest first, as they stand now.
    pub fn segments(&self) -> Vec<Segment> {
        self.writer.lock().segments.iter().cloned().collect()
    }

    /// Takes note of `records` confirmed, and deletes segments that are confirmed as a whole.
    pub fn confirmed(&self, cursor: &Cursor, records: u64) -> io::Result<()> {
        let done: Vec<Segment> = {
            let mut writer = self.writer.lock();
            // When space is short, what is confirmed of the active segment must not hold it.
            let active = writer.segments.back().expect("there is always an active segment");
            let spent = active.first <= active.last
                && active.last <= cursor.watermark(&active.epoch)
                && !self.has_room();
            if spent {
                let disk =
                    self.failing.load(Ordering::Relaxed) || self.short.load(Ordering::Relaxed);
                if disk {
                    // The disk may be full: its space is what the next segment needs.
                    writer.file.set_len(0)?;
                    // Until there is one: nothing can be appended to what has lost its header.
                    self.failing.store(true, Ordering::Relaxed);
                }
                self.rotate(&mut writer)?;
                if disk {
                    self.failing.store(false, Ordering::Relaxed);
                    self.short.store(false, Ordering::Relaxed);
                    tracing::info!("the journal can be written again");
                }
            }
            let done = |segment: &Segment| {
                !segment.active && segment.last <= cursor.watermark(&segment.epoch)
            };
            let gone = writer.segments.iter().filter(|segment| done(segment)).cloned().collect();
            writer.segments.retain(|segment| !done(segment));
            gone
        };
        let _ = self.unshipped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unshipped| {
            Some(unshipped.saturating_sub(records))
        });
        for segment in done {
            self.bytes.fetch_sub(segment.bytes, Ordering::Relaxed);
            live::remove(&segment.path)?;
        }
        Ok(())
    }
}

/// Makes an empty file. On most file systems that goes well on a full disk too.
fn create(dir: &Path, epoch: &str, first: u64) -> io::Result<(File, Segment)> {
    let path = dir.join(format!("{epoch}-{first:020}.seg"));
    let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    // Where files can't be locked, an upgrade bills what is recorded while it drains at the next
    // start.
    let _ = file.try_lock();
    let epoch = epoch.to_owned();
    Ok((file, Segment { path, epoch, first, last: first - 1, bytes: 0, active: true }))
}

/// Writes the header of a segment without records.
fn begin(file: &mut File, segment: &mut Segment) -> io::Result<()> {
    let header = Header { epoch: segment.epoch.clone(), first: segment.first }.encode();
    file.set_len(0)?;
    file.write_all(&header)?;
    segment.bytes = header.len() as u64;
    Ok(())
}

#[cfg(test)]
#[path = "journal/tests.rs"]
mod tests;
