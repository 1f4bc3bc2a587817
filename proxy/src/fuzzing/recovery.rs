//! A journal's folder at a start: segments of one epoch, one of them torn or damaged, a cursor
//! somewhere. What is shipped then is every record that is whole and not confirmed, in order and in
//! batches without a gap; a second start finds the same, and goes on with new records.

use std::fs;

use authsome_shared::usage::UsageRecord;

use super::Choices;
use super::journal::{records, segment};
use crate::config;
use crate::ledger::cursor::Cursor;
use crate::ledger::frame::{Frames, Header};
use crate::ledger::journal::Journal;
use crate::ledger::line::Line;
use crate::ledger::read::{Position, each_unshipped, next_batch};

const EPOCH: &str = "epo_0";

pub fn run(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut choices = Choices(bytes);
    let mut records = records(bytes);
    let second = records.split_off(choices.below(records.len()));
    let mut first = 1;
    let mut wanted = Vec::new();
    let hit = choices.below(2);
    let watermark = choices.below(records.len() + second.len() + 2) as u64;
    for (i, records) in [records, second].into_iter().enumerate() {
        let header = Header { epoch: EPOCH.into(), first };
        let (mut text, _) = segment(&header, &records);
        let name = format!("{EPOCH}-{first:020}.seg");
        first += records.len() as u64;
        if i == hit {
            spoil(&mut text, &mut choices, bytes);
        }
        if let Some((_, start)) = Header::decode(&text) {
            let whole = Frames::new(&text, start).filter(|frame| frame.sequence > watermark);
            wanted.extend(whole.map(|frame| (frame.sequence, frame.payload.to_vec())));
        }
        fs::write(dir.path().join(name), text).expect("written");
    }
    let cursor = Cursor { confirmed: [(EPOCH.to_owned(), watermark)].into(), totals: vec![] };
    for _ in 0..2 {
        let (journal, _) = open(&dir, &cursor);
        let mut found = Vec::new();
        each_unshipped(&journal, &cursor, |line| found.push(line.to_vec())).expect("read");
        assert!(found.iter().eq(wanted.iter().map(|(_, payload)| payload)));
        assert_eq!(shipped(&journal, &cursor), wanted);
    }
    let (journal, _) = open(&dir, &cursor);
    let record: UsageRecord = super::journal::records(b"one more").remove(0);
    journal.append(Line::from(&record)).expect("there is room");
    let all = shipped(&journal, &cursor);
    assert_eq!(all[..wanted.len()], wanted);
    let last = serde_json::to_vec(&record).expect("a record is JSON");
    assert_eq!(all[wanted.len()..], [(1, last)], "a new epoch begins at 1");
}

fn open(dir: &tempfile::TempDir, cursor: &Cursor) -> (Journal, usize) {
    Journal::open(dir.path(), &config::Ledger::default(), cursor).expect("damage ends no start")
}

/// Torn, hit, or with arbitrary bytes at its end.
fn spoil(text: &mut Vec<u8>, choices: &mut Choices, bytes: &[u8]) {
    match choices.below(4) {
        0 => text.truncate(choices.below(text.len())),
        1 => {
            let hit = choices.below(text.len());
            text[hit] ^= u8::try_from(1 + choices.below(255)).expect("a byte");
        }
        2 => text.extend_from_slice(bytes),
        _ => {}
    }
}

fn shipped(journal: &Journal, cursor: &Cursor) -> Vec<(u64, Vec<u8>)> {
    let mut cursor = cursor.clone();
    let mut position = Position::default();
    let mut found = Vec::new();
    while let Some(batch) = next_batch(journal, &cursor, &mut position).expect("read") {
        assert!(batch.count > 0 && batch.first > cursor.watermark(&batch.epoch));
        let lines = batch.lines.strip_suffix(b"\n").expect("lines end");
        let lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        found.extend((batch.first..=batch.last()).zip(lines));
        cursor.confirmed.insert(batch.epoch.clone(), batch.last());
    }
    found
}
