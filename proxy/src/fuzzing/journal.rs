//! The journal's frames. An input's lines go into usage records; these come back as they were, of a
//! torn segment all that are whole, and of a damaged one all but the one that was hit. Of arbitrary
//! bytes only what holds together is read, and none of it twice.

use authsome_shared::usage::UsageRecord;

use super::Choices;
use crate::ledger::frame::{self, Frames, Header, OVERHEAD};

pub fn run(bytes: &[u8]) {
    arbitrary(bytes);
    let records = records(bytes);
    let mut choices = Choices(bytes);
    let header = Header { epoch: "epo_1".into(), first: 1 };
    let (mut segment, ends) = segment(&header, &records);
    let (decoded, start) = Header::decode(&segment).expect("it was just written");
    assert_eq!(decoded, header);

    let mut frames = Frames::new(&segment, start);
    for (i, frame) in frames.by_ref().enumerate() {
        assert_eq!((frame.sequence, frame.end), (i as u64 + 1, ends[i]));
        assert_eq!(
            serde_json::from_slice::<UsageRecord>(frame.payload).ok(),
            records.get(i).cloned()
        );
    }
    assert_eq!((frames.damaged, frames.good), (0, segment.len()));

    let cut = choices.below(segment.len());
    let mut frames = Frames::new(&segment[..cut], start.min(cut));
    let found = frames.by_ref().map(|frame| frame.end);
    assert!(found.eq(ends.iter().copied().filter(|end| *end <= cut)), "a torn tail cost more");
    assert_eq!(frames.damaged, 0);

    // What was held on disk and not written is zeros after a loss of power.
    let mut held = segment[..cut].to_vec();
    held.resize(cut + choices.below(2 * OVERHEAD + 8), 0);
    let found = Frames::new(&held, start.min(cut)).map(|frame| frame.end);
    assert!(found.eq(ends.iter().copied().filter(|end| *end <= cut)), "zeros passed for a record");

    let hit = start + choices.below(segment.len() - start);
    if hit < segment.len() {
        segment[hit] ^= u8::try_from(1 + choices.below(255)).expect("a byte");
        let struck = ends.iter().position(|end| hit < *end);
        let found = Frames::new(&segment, start).map(|frame| frame.sequence);
        let left = (1..=ends.len()).filter(|it| Some(*it - 1) != struck).map(|it| it as u64);
        assert!(found.eq(left), "damage cost more than the record that it hit");
    }
}

/// Records with what an input holds in every text of theirs.
pub fn records(bytes: &[u8]) -> Vec<UsageRecord> {
    let text = String::from_utf8_lossy(bytes);
    let record = |line: &str| UsageRecord {
        at: 1_700_000_000_000,
        workspace: "ws_1".parse().expect("an id"),
        application: "app_1".parse().expect("an id"),
        key: "key_1".parse().expect("an id"),
        bucket: line.contains('b').then(|| "key_2".parse().expect("an id")),
        route: line.chars().take(64).collect(),
        status: 200,
        latency_us: line.len() as u64,
        bytes_in: 0,
        bytes_out: u64::MAX,
        units: u32::try_from(line.len()).unwrap_or(u32::MAX),
        user: line.chars().next_back().map(|_| line.chars().take(256).collect()),
    };
    text.split('\n').take(6).map(record).collect()
}

/// A segment's bytes, and where each of its frames ends.
pub fn segment(header: &Header, records: &[UsageRecord]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = header.encode();
    let mut ends = Vec::new();
    for (sequence, record) in (header.first..).zip(records) {
        let begin = bytes.len();
        frame::begin(&mut bytes, sequence);
        serde_json::to_writer(&mut bytes, record).expect("writing to memory works");
        frame::finish(&mut bytes[begin..]);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn arbitrary(bytes: &[u8]) {
    if let Some((header, length)) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes[..length]);
    }
    let mut end = 0;
    let mut buffer = Vec::new();
    let mut frames = Frames::new(bytes, 0);
    for frame in frames.by_ref() {
        buffer.clear();
        frame::begin(&mut buffer, frame.sequence);
        buffer.extend_from_slice(frame.payload);
        frame::finish(&mut buffer);
        assert!(frame.end - buffer.len() >= end, "a byte is read twice");
        assert_eq!(bytes[frame.end - buffer.len()..frame.end], buffer);
        end = frame.end;
    }
    assert_eq!(frames.good, end);
}
