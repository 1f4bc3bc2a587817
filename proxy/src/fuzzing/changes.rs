//! Deltas: an input's lines are changes as they come down the stream. They say the same after being
//! written again, make the same of a snapshot as of a list, and come back from the log on disk; of a
//! torn or damaged log, whole entries from the beginning and nothing else.

use authsome_shared::id::PlatformId;
use authsome_shared::node::Frame;
use authsome_shared::snapshot::Change;
use serde_json::Value;

use super::Choices;
use super::model::Model;
use crate::limit::quota::Quotas;
use crate::snapshot::Snapshot;
use crate::snapshot::store::log::{self, Entry};

pub fn run(bytes: &[u8]) {
    let platform: PlatformId = "plt_1".parse().expect("an id");
    prefixes_hold(bytes, &platform);
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(frame) = serde_json::from_slice::<Frame>(line) {
            let again = serde_json::to_vec(&frame).expect("a frame is JSON");
            let again: Frame = serde_json::from_slice(&again).expect("it was just written");
            assert_eq!(changes_of(&again), changes_of(&frame));
        }
    }
    let changes: Vec<Value> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .take(12)
        .collect();
    apply(&changes);
    logged(bytes, &platform, changes);
}

/// Numbers with a fraction are in no change, and not each survives being written.
fn changes_of(frame: &Frame) -> Option<Vec<Option<Change>>> {
    match frame {
        Frame::Delta { changes, .. } => Some(changes.iter().map(read).collect()),
        _ => None,
    }
}

fn read(value: &Value) -> Option<Change> {
    serde_json::from_value(value.clone()).ok()
}

fn apply(changes: &[Value]) {
    let quotas = Quotas::default();
    let mut model = Model::default();
    let mut snapshot = Snapshot::empty();
    for (revision, value) in (1..).zip(changes) {
        snapshot = snapshot.advanced_by(revision, vec![value.clone()], &quotas);
        match read(value) {
            Some(change) => {
                let text = serde_json::to_vec(&change).expect("a change is JSON");
                assert_eq!(serde_json::from_slice::<Change>(&text).ok().as_ref(), Some(&change));
                model.apply(&change);
            }
            None => model.quarantined += 1,
        }
    }
    assert_eq!(snapshot.revision, changes.len() as u64);
    assert_eq!(snapshot.quarantined, model.quarantined);
    model.check(&snapshot);
}

fn logged(bytes: &[u8], platform: &PlatformId, changes: Vec<Value>) {
    let mut text = log::head(platform).into_bytes();
    let mut ends = Vec::new();
    let mut written = Vec::new();
    for (revision, value) in (1..).zip(changes) {
        let entry = Entry { revision, changes: vec![value] };
        text.extend_from_slice(log::line(&entry).expect("it is JSON").as_bytes());
        ends.push(text.len());
        written.push(entry);
    }
    let found = log::entries(&text, platform);
    assert_eq!(found.len(), written.len());
    for (found, written) in found.iter().zip(&written) {
        assert_eq!(found.revision, written.revision);
        assert_eq!(read(&found.changes[0]), read(&written.changes[0]));
    }
    let other: PlatformId = "plt_2".parse().expect("an id");
    assert!(log::entries(&text, &other).is_empty());

    let mut choices = Choices(bytes);
    let cut = choices.below(text.len());
    let whole = ends.iter().filter(|end| **end <= cut).count();
    assert_eq!(log::entries(&text[..cut], platform), found[..whole]);
    let hit = choices.below(text.len());
    text[hit] ^= u8::try_from(1 + choices.below(255)).expect("a byte");
    let before = ends.iter().filter(|end| **end <= hit).count();
    let left = log::entries(&text, platform);
    // A checksum may be written in small or capital letters.
    assert!(left.len() <= before || left == found, "damage passed for an entry");
    assert_eq!(left[..], found[..left.len()]);
    assert!(left.len() >= before || hit < log::head(platform).len(), "a whole entry is lost");
}

/// Of arbitrary bytes: less of them never means other entries.
fn prefixes_hold(bytes: &[u8], platform: &PlatformId) {
    let all = log::entries(bytes, platform);
    let cut = bytes.len() / 2;
    let some = log::entries(&bytes[..cut], platform);
    assert_eq!(some[..], all[..some.len()]);
}
