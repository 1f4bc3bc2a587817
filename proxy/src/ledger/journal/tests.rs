//! What survives: restarts, cuts, damage and a full journal.

use authsome_shared::usage::UsageRecord;
use proptest::prelude::*;

use super::*;
use crate::ledger::frame::Frames;
use crate::ledger::read::{Batch, Position, each_unshipped, next_batch};

pub fn record(units: u32) -> UsageRecord {
    UsageRecord {
        at: 1_700_000_000_000,
        workspace: "ws_1".parse().expect("an id"),
        application: "app_1".parse().expect("an id"),
        key: "key_1".parse().expect("an id"),
        bucket: None,
        route: "*".into(),
        status: 200,
        latency_us: 1,
        bytes_in: 0,
        bytes_out: 0,
        units,
        user: None,
    }
}

fn settings(max_bytes: u64, segment_bytes: u64) -> config::Ledger {
    config::Ledger { max_bytes, segment_bytes, ..config::Ledger::default() }
}

pub fn open(dir: &Path, cursor: &Cursor) -> (Journal, usize) {
    Journal::open(dir, &settings(1 << 30, 2_000), cursor).expect("opened")
}

/// Ships everything, and tells each batch's epoch, first number and units.
pub fn drain(journal: &Journal, cursor: &mut Cursor) -> Vec<(String, u64, Vec<u32>)> {
    let mut position = Position::default();
    let mut batches = Vec::new();
    while let Some(batch) = next_batch(journal, cursor, &mut position).expect("read") {
        batches.push((batch.epoch.clone(), batch.first, units(&batch)));
        cursor.confirmed.insert(batch.epoch.clone(), batch.last());
        journal.confirmed(cursor, batch.count as u64).expect("confirmed");
    }
    batches
}

fn units(batch: &Batch) -> Vec<u32> {
    let lines = std::str::from_utf8(&batch.lines).expect("text").lines();
    lines.map(|line| serde_json::from_str::<UsageRecord>(line).expect("a record").units).collect()
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    files.sort();
    files
}

#[test]
fn records_come_out_in_order_and_confirmed_segments_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cursor = Cursor::default();
    let (journal, _) = open(dir.path(), &cursor);
    for units in 1..=50 {
        journal.append(Line::from(&record(units))).expect("appended");
    }
    assert!(segment_files(dir.path()).len() > 2, "segments are small here");
    assert_eq!(journal.unshipped(), 50);
    let units: Vec<u32> =
        drain(&journal, &mut cursor).into_iter().flat_map(|(_, _, units)| units).collect();
    assert_eq!(units, (1..=50).collect::<Vec<_>>());
    assert_eq!(segment_files(dir.path()).len(), 1, "only the active one is left");
    assert_eq!(journal.unshipped(), 0);
    journal.append(Line::from(&record(51))).expect("appended");
    assert_eq!(drain(&journal, &mut cursor).len(), 1);
}

#[test]
fn a_killed_process_loses_nothing_and_old_epochs_go_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cursor = Cursor::default();
    let (first, _) = open(dir.path(), &cursor);
    for units in 1..=3 {
        first.append(Line::from(&record(units))).expect("appended");
    }
    // No sync, no close: the process is gone.
    std::mem::forget(first);
    let (second, damaged) = open(dir.path(), &cursor);
    second.append(Line::from(&record(9))).expect("appended");
    let mut recounted = 0;
    each_unshipped(&second, &cursor, |_| recounted += 1).expect("read");
    assert_eq!((damaged, recounted), (0, 4));
    let batches = drain(&second, &mut cursor);
    assert_eq!(batches.len(), 2);
    assert_eq!((batches[0].1, &batches[0].2), (1, &vec![1, 2, 3]));
    assert_eq!((batches[1].1, &batches[1].2), (1, &vec![9]));
    assert_ne!(batches[0].0, batches[1].0);
    let (third, _) = open(dir.path(), &cursor);
    assert!(drain(&third, &mut cursor).is_empty());
}

#[test]
fn a_full_journal_refuses_and_takes_records_again_once_shipped() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cursor = Cursor::default();
    let (journal, _) =
        Journal::open(dir.path(), &settings(80_000, 4_000), &cursor).expect("opened");
    assert!(journal.has_room());
    let mut taken = 0;
    while journal.append(Line::from(&record(1))).is_ok() {
        taken += 1;
    }
    assert!(matches!(journal.note(Line::from(&record(1))), Err(NoteError::Full)));
    assert!(!journal.has_room() && journal.bytes() <= 80_000);
    let shipped: usize = drain(&journal, &mut cursor).iter().map(|(_, _, units)| units.len()).sum();
    assert_eq!(shipped, taken);
    assert!(journal.has_room());
    journal.append(Line::from(&record(1))).expect("room again");
}

#[test]
fn after_a_failed_write_a_new_segment_takes_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cursor = Cursor::default();
    let (journal, _) = open(dir.path(), &cursor);
    journal.append(Line::from(&record(1))).expect("appended");
    // The disk goes away: this handle can't write.
    let path = journal.segments().remove(0).path;
    journal.writer.lock().file = File::open(path).expect("opened");
    assert!(journal.append(Line::from(&record(2))).is_err());
    assert!(!journal.has_room(), "what can't be recorded is refused");
    assert!(matches!(journal.note(Line::from(&record(2))), Err(NoteError::Failing)));
    journal.sync().expect("a new segment can be made");
    assert!(journal.has_room());
    journal.append(Line::from(&record(3))).expect("appended");
    let units: Vec<(u64, Vec<u32>)> =
        drain(&journal, &mut cursor).into_iter().map(|(_, first, units)| (first, units)).collect();
    assert_eq!(units, [(1, vec![1]), (4, vec![3])], "what was lost shows as a gap");
}

#[test]
fn on_a_full_disk_what_is_confirmed_makes_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path(), &Cursor::default());
    for units in 1..=3 {
        journal.append(Line::from(&record(units))).expect("appended");
    }
    let [full] = &segment_files(dir.path())[..] else { panic!("one segment") };
    // As a write that met the end of the disk leaves it.
    journal.failing.store(true, Ordering::Relaxed);
    assert!(journal.append(Line::from(&record(4))).is_err());
    let mut cursor = Cursor::default();
    drain(&journal, &mut cursor);
    assert!(!full.exists(), "its space is free");
    journal.sync().expect("synced");
    journal.append(Line::from(&record(5))).expect("appended");
    assert_eq!(drain(&journal, &mut cursor), [(journal.epoch.to_string(), 5, vec![5])]);
}

#[test]
fn a_gap_in_the_sequence_ends_a_batch() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cursor = Cursor::default();
    let (journal, _) =
        Journal::open(dir.path(), &settings(1 << 30, 1 << 20), &cursor).expect("opened");
    for units in 1..=5 {
        journal.append(Line::from(&record(units))).expect("appended");
    }
    drop(journal);
    let path = segment_files(dir.path()).remove(0);
    let mut bytes = fs::read(&path).expect("read");
    let (_, start) = Header::decode(&bytes).expect("a header");
    let second = Frames::new(&bytes, start).nth(1).expect("there").end;
    bytes[second - 2] ^= 0xff;
    fs::write(&path, bytes).expect("written");
    let (journal, damaged) = open(dir.path(), &cursor);
    assert_eq!(damaged, 1);
    let batches: Vec<_> =
        drain(&journal, &mut cursor).into_iter().map(|(_, first, units)| (first, units)).collect();
    assert_eq!(batches, [(1, vec![1]), (3, vec![3, 4, 5])]);
}

#[test]
fn an_empty_or_foreign_file_does_not_stop_the_journal() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("epo_0-1.seg"), b"").expect("written");
    fs::write(dir.path().join("epo_1-1.seg"), vec![7; 500]).expect("written");
    let (journal, damaged) = open(dir.path(), &Cursor::default());
    assert_eq!((damaged, journal.segments().len()), (1, 1));
    assert!(dir.path().join("epo_1-1.damaged").exists(), "kept for a person to look at");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cut_anywhere_loses_only_what_was_not_whole(
        records in 1_u32..20,
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut cursor = Cursor::default();
        let (journal, _) =
            Journal::open(dir.path(), &settings(1 << 30, 1 << 20), &cursor).expect("opened");
        for units in 1..=records {
            journal.append(Line::from(&record(units))).expect("appended");
        }
        drop(journal);
        let path = segment_files(dir.path()).remove(0);
        let bytes = fs::read(&path).expect("read");
        let cut = cut.index(bytes.len());
        let whole = Header::decode(&bytes).map_or(0, |(_, start)| {
            Frames::new(&bytes, start).filter(|frame| frame.end <= cut).count()
        });
        fs::write(&path, &bytes[..cut]).expect("written");
        let (journal, _) = open(dir.path(), &cursor);
        let found: Vec<u32> =
            drain(&journal, &mut cursor).into_iter().flat_map(|(_, _, units)| units).collect();
        let expected: Vec<u32> = (1..=u32::try_from(whole).expect("few")).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn what_is_noted_beside_a_record_is_written_with_it_and_is_not_there_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cursor = Cursor::default();
    let (journal, _) = open(dir.path(), &cursor);
    let written = || std::fs::metadata(&journal.segments()[0].path).expect("there").len();
    let empty = written();
    let numbers: Vec<_> =
        (1..=3).map(|units| journal.note(Line::from(&record(units))).expect("noted")).collect();
    assert_eq!((numbers, written(), journal.unshipped()), (vec![1, 2, 3], empty, 0));
    journal.commit(2).expect("written");
    let all = written();
    assert_eq!(journal.unshipped(), 3);
    for number in [1, 3, 2] {
        journal.commit(number).expect("written with it");
    }
    assert_eq!(written(), all, "nothing is written twice");
    // The number of a record that was lost does not hide those after it.
    journal.note(Line::from(&record(4))).expect("noted");
    journal.commit(u64::MAX).expect("written");
    let units: Vec<_> = drain(&journal, &mut cursor).into_iter().flat_map(|it| it.2).collect();
    assert_eq!(units, [1, 2, 3, 4]);
}

#[test]
fn records_that_could_not_be_written_together_are_told_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(dir.path(), &Cursor::default());
    journal.append(Line::from(&record(9))).expect("written");
    let numbers = [1, 2].map(|units| journal.note(Line::from(&record(units))).expect("noted"));
    let path = journal.segments().remove(0).path;
    journal.writer.lock().file = File::open(path).expect("opened");
    let lost = numbers.map(|number| journal.commit(number).map_err(|lost| lost.records).err());
    assert_eq!(lost, [Some(2), None]);
    journal.sync().expect("tried again");
    journal.append(Line::from(&record(3))).expect("written");
    assert_eq!(journal.unshipped(), 2);
}
