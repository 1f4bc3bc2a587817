//! Segments that this process did not begin: those of earlier runs, which are recovered, and those
//! of a process that drains after an upgrade, which are followed as they grow. Which is which tells
//! the lock that a segment's writer holds, so that it needs nobody's word: it is gone with the
//! writer, however that ended.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{Journal, Segment};
use crate::ledger::cursor::Cursor;
use crate::ledger::frame::{Frames, Header};

/// What a look at one file found.
enum Found {
    Segment(Segment, usize),
    /// Another process has just created it and not written to it yet.
    Begun,
    /// Nothing in it is needed; it is gone.
    Nothing(usize),
}

/// Reads every segment through: cuts torn tails, deletes what is empty or confirmed. Names sort by
/// epoch and sequence, so that the oldest comes first. Also tells how many places were damaged.
pub fn recover(dir: &Path, cursor: &Cursor) -> io::Result<(VecDeque<Segment>, usize)> {
    let mut segments = VecDeque::new();
    let mut damaged = 0;
    for path in paths(dir)? {
        match look(&path, cursor)? {
            Found::Segment(segment, places) => {
                damaged += places;
                segments.push_back(segment);
            }
            Found::Begun => {}
            Found::Nothing(places) => damaged += places,
        }
    }
    Ok((segments, damaged))
}

fn paths(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    Ok(paths)
}

/// Does another process write to this file? Asked through a handle of its own, since a lock
/// belongs to the handle.
fn is_written(file: &File) -> bool {
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

fn look(path: &Path, cursor: &Cursor) -> io::Result<Found> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let active = is_written(&file);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some((header, start)) = Header::decode(&bytes) else {
        if active {
            return Ok(Found::Begun);
        }
        // A process killed between creating and writing leaves an empty or short file.
        if bytes.len() > 64 {
            let aside = path.with_extension("damaged");
            tracing::error!(path = %aside.display(), "a journal segment has no valid header");
            fs::rename(path, aside)?;
            return Ok(Found::Nothing(1));
        }
        remove(path)?;
        return Ok(Found::Nothing(0));
    };
    let mut frames = Frames::new(&bytes, start);
    let last = frames.by_ref().map(|frame| frame.sequence).max();
    let (damaged, good) = (frames.damaged, frames.good);
    if !active {
        if last.is_none_or(|last| last <= cursor.watermark(&header.epoch)) {
            remove(path)?;
            return Ok(Found::Nothing(damaged));
        }
        if good < bytes.len() {
            tracing::warn!(path = %path.display(), "a torn record is cut off");
        }
        // Also gives back the space that was held beyond its end.
        file.set_len(good as u64)?;
    }
    let segment = Segment {
        path: path.to_owned(),
        last: last.unwrap_or(header.first - 1),
        epoch: header.epoch,
        first: header.first,
        bytes: good as u64,
        active,
    };
    Ok(Found::Segment(segment, damaged))
}

/// Deletes a segment, unless a process that drains was first.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Journal {
    /// Another process may have written here: the next [`Journal::survey`] looks.
    pub fn expect_others(&self) {
        self.others.store(true, Ordering::Relaxed);
    }

    /// Takes note of what other processes have appended since the last time, and of those that
    /// have ended. Costs nothing once there is none.
    pub fn survey(&self, cursor: &Cursor) -> io::Result<()> {
        if !self.others.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (mut known, own) = {
            let mut segments = self.segments();
            let own = segments.pop().map(|segment| segment.path);
            (segments, own)
        };
        let (mut records, mut bytes) = (0, 0);
        for segment in known.iter_mut().filter(|segment| segment.active) {
            let (more, longer) = refresh(segment)?;
            records += more;
            bytes += longer;
        }
        // After those, so that a segment begun when another was closed is found.
        for path in paths(&self.dir)? {
            let is_known = known.iter().any(|segment| segment.path == path);
            let is_ours = || path.to_string_lossy().contains(self.epoch.as_str());
            if is_known || own.as_ref() == Some(&path) || is_ours() {
                continue;
            }
            if let Found::Segment(segment, _) = look(&path, cursor)? {
                records += count(&segment, cursor)?;
                bytes += segment.bytes;
                known.push(segment);
            }
        }
        known.sort_by(|a, b| a.path.cmp(&b.path));
        let others = known.iter().any(|segment| segment.active);
        self.take_note(known, records, bytes);
        self.others.store(others, Ordering::Relaxed);
        Ok(())
    }

    /// Puts what was found before our own segments, as they are by now.
    fn take_note(&self, found: Vec<Segment>, records: u64, bytes: u64) {
        let mut writer = self.writer.lock();
        let own = writer.segments.iter().filter(|it| it.epoch == self.epoch.as_str());
        let own: Vec<_> = own.cloned().collect();
        let found = found.into_iter().filter(|it| it.epoch != self.epoch.as_str());
        writer.segments = found.chain(own).collect();
        drop(writer);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.unshipped.fetch_add(records, Ordering::Relaxed);
    }
}

/// What of an older segment is not confirmed.
fn count(segment: &Segment, cursor: &Cursor) -> io::Result<u64> {
    let bytes = fs::read(&segment.path)?;
    let start = Header::decode(&bytes).map_or(0, |(_, start)| start);
    let watermark = cursor.watermark(&segment.epoch);
    Ok(Frames::new(&bytes, start).filter(|frame| frame.sequence > watermark).count() as u64)
}

/// Reads on where the last look ended. Gives the records and bytes that came since.
fn refresh(segment: &mut Segment) -> io::Result<(u64, u64)> {
    let mut file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    // Asked first: whoever has ended by now appends nothing after this.
    let active = is_written(&file);
    file.seek(SeekFrom::Start(segment.bytes))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut frames = Frames::new(&bytes, 0);
    let mut records = 0;
    for frame in frames.by_ref() {
        segment.last = segment.last.max(frame.sequence);
        records += 1;
    }
    let longer = frames.good as u64;
    segment.bytes += longer;
    if !active {
        // Torn by a kill; also gives back the space that was held.
        file.set_len(segment.bytes)?;
    }
    segment.active = active;
    Ok((records, longer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::journal::tests::{drain, open, record};
    use crate::ledger::line::Line;

    #[test]
    fn what_another_process_still_appends_is_followed_and_its_torn_end_is_not_cut() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut cursor = Cursor::default();
        let (old, _) = open(dir.path(), &cursor);
        for units in 1..=30 {
            old.append(Line::from(&record(units))).expect("appended");
        }
        let (new, damaged) = open(dir.path(), &cursor);
        assert_eq!(damaged, 0);
        for units in 31..=60 {
            old.append(Line::from(&record(units))).expect("appended");
            new.append(Line::from(&record(units + 1_000))).expect("appended");
        }
        new.survey(&cursor).expect("looked");
        let shipped = |batches: Vec<(String, u64, Vec<u32>)>| -> Vec<u32> {
            batches.into_iter().flat_map(|(_, _, units)| units).collect()
        };
        let wanted: Vec<u32> = (1..=60).chain(1_031..=1_060).collect();
        assert_eq!(shipped(drain(&new, &mut cursor)), wanted);
        // The old one's last words, and a write that its end cut short.
        for units in 61..=70 {
            old.append(Line::from(&record(units))).expect("appended");
        }
        let last = old.segments().pop().expect("active");
        drop(old);
        let mut torn = OpenOptions::new().append(true).open(&last.path).expect("opened");
        std::io::Write::write_all(&mut torn, b"half a frame").expect("written");
        drop(torn);
        new.survey(&cursor).expect("looked");
        assert_eq!(shipped(drain(&new, &mut cursor)), (61..=70).collect::<Vec<_>>());
        assert!(!new.others.load(Ordering::Relaxed), "it is no longer looked for");
        assert_eq!(paths(dir.path()).expect("listed").len(), 1, "only our own is left");
        assert_eq!(new.bytes(), new.segments().iter().map(|it| it.bytes).sum::<u64>());
    }

    #[test]
    fn several_processes_that_drain_are_followed_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut cursor = Cursor::default();
        let journals: Vec<_> = (0..3).map(|_| open(dir.path(), &cursor).0).collect();
        for journal in &journals {
            journal.append(Line::from(&record(1))).expect("appended");
        }
        let newest = &journals[2];
        newest.survey(&cursor).expect("looked");
        assert_eq!(drain(newest, &mut cursor).len(), 3);
        assert_eq!(newest.unshipped(), 0);
        assert_eq!(paths(dir.path()).expect("listed").len(), 3, "theirs are still written to");
    }
}
