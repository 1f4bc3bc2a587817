//! Whole snapshots. An input is read as it is, as what lies behind a right checksum, and as the text
//! inside: a header's line and changes. What can be read says the same after it was written again,
//! folded as the store does, and applied as a list would be.

use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{Decoded, Header, decode, encode, seal};

use super::model::Model;
use crate::limit::quota::Quotas;
use crate::snapshot::Snapshot;
use crate::snapshot::store::Loaded;
use crate::snapshot::store::fold::fold;

pub fn run(bytes: &[u8]) {
    let _ = decode(bytes);
    if bytes.starts_with(&0xfd2f_b528_u32.to_le_bytes()) {
        let _ = decode(&seal(bytes));
    }
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(header) = serde_json::from_slice::<Header>(first) else { return };
    let text = zstd::encode_all(bytes, 1).expect("in memory");
    let sealed = seal(&text);
    match decode(&sealed) {
        Ok(decoded) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!(decoded.changes.len() + decoded.quarantined.len() < lines);
            check(&sealed, &decoded);
        }
        // The count of changes does not fit: with the right one it is read.
        Err(_) => rewrite(bytes, first, header),
    }
}

fn rewrite(bytes: &[u8], first: &[u8], header: Header) {
    let rest = bytes.get(first.len() + 1..).unwrap_or_default();
    let changes: Vec<Change> = rest
        .split(|byte| *byte == b'\n')
        .filter_map(|it| serde_json::from_slice(it).ok())
        .collect();
    let header = Header { changes: changes.len(), ..header };
    let written = encode(&header, &changes);
    let decoded = decode(&written).expect("it was just written");
    assert_eq!(decoded, Decoded { header, changes, quarantined: vec![] });
    check(&written, &decoded);
}

fn check(bytes: &[u8], decoded: &Decoded) {
    let quotas = Quotas::default();
    let mut model = Model::default();
    decoded.changes.iter().for_each(|change| model.apply(change));
    let snapshot = Snapshot::empty().replaced_by(bytes, &quotas).expect("it was read just now");
    assert_eq!(snapshot.revision, decoded.header.revision);
    assert_eq!(snapshot.quarantined, model.quarantined + decoded.quarantined.len() as u64);
    model.check(&snapshot);
    // Applying is idempotent, and the second time on top of the first.
    let again = snapshot.replaced_by(bytes, &quotas).expect("it was read just now");
    model.check(&again);
    if snapshot.quarantined == 0 {
        let revision = decoded.header.revision;
        let header = decoded.header.clone();
        let folded = fold(Loaded { header, base: bytes.to_vec(), changes: vec![] }, revision);
        let folded = folded.expect("nothing would be lost");
        let folded = Snapshot::empty().replaced_by(&folded, &quotas).expect("it was just written");
        if folded.quarantined == 0 {
            model.check(&folded);
        }
    }
}
