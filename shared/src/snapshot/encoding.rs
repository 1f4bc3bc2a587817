//! The encoding of a whole snapshot: one line of JSON [`Header`], then one [`Change`] a line,
//! compressed with zstd, behind a first line in clear, `authsome-snapshot 1 {SHA-256 of the rest}`.
//! It stands alone: it can be kept on disk and served from with no control plane. Damage to any of
//! it refuses the whole; a change that can't be read is set aside alone.

use std::io::{self, BufRead, BufReader, Read, Write};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::Change;
use crate::id::PlatformId;

const MAGIC: &str = "authsome-snapshot 1 ";

/// Longest line that is taken into memory, in bytes. What an entity is made of fits many times.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// First line inside a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    pub platform: PlatformId,
    pub revision: u64,
    /// Number of changes that follow.
    pub changes: usize,
}

/// A snapshot read back: the changes in order, and what could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub header: Header,
    pub changes: Vec<Change>,
    /// Why each unreadable change was set aside.
    pub quarantined: Vec<String>,
}

/// The bytes are not a whole snapshot of ours. Nothing of them may be served.
#[derive(Debug, thiserror::Error)]
pub enum Corrupt {
    #[error("not a snapshot, or of an unknown version")]
    Magic,
    #[error("the checksum does not match")]
    Checksum,
    #[error("ends early: {expected} changes announced, {found} found")]
    Short { expected: usize, found: usize },
    #[error("unreadable: {0}")]
    Read(#[from] std::io::Error),
    #[error("unreadable header: {0}")]
    Header(#[from] serde_json::Error),
}

/// Encodes a whole snapshot.
pub fn encode(header: &Header, changes: &[Change]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("writing to memory works");
    let mut line = serde_json::to_vec(header).expect("a header is JSON");
    for change in changes {
        line.push(b'\n');
        encoder.write_all(&line).expect("writing to memory works");
        line.clear();
        serde_json::to_writer(&mut line, change).expect("a change is JSON");
    }
    line.push(b'\n');
    encoder.write_all(&line).expect("writing to memory works");
    seal(&encoder.finish().expect("writing to memory works"))
}

/// Puts the first line before a body, which should be what zstd makes of a header and changes.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{MAGIC}{}\n", hex::encode(digest(&SHA256, body))).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads what [`encode`] wrote, change by change: a million at once would take several times the
/// memory that they need in the end.
pub struct Reader<'a> {
    pub header: Header,
    lines: BufReader<zstd::Decoder<'static, BufReader<&'a [u8]>>>,
    line: Vec<u8>,
    found: usize,
}

impl<'a> Reader<'a> {
    /// Checks the whole against its checksum and reads the header.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Corrupt::Magic)?;
        let (first, body) = (&bytes[..end], &bytes[end + 1..]);
        let checksum = first.strip_prefix(MAGIC.as_bytes()).ok_or(Corrupt::Magic)?;
        if hex::encode(digest(&SHA256, body)).as_bytes() != checksum {
            return Err(Corrupt::Checksum);
        }
        let mut lines = BufReader::new(zstd::Decoder::new(body)?);
        let mut line = Vec::new();
        read_line(&mut lines, &mut line)?;
        let header = serde_json::from_slice(&line)?;
        Ok(Self { header, lines, line, found: 0 })
    }

    /// The next change's line; `None` after as many as the header announced.
    fn advance(&mut self) -> Result<Option<&[u8]>, Corrupt> {
        if read_line(&mut self.lines, &mut self.line)? {
            self.found += 1;
            return Ok(Some(&self.line));
        }
        let (expected, found) = (self.header.changes, self.found);
        if found == expected { Ok(None) } else { Err(Corrupt::Short { expected, found }) }
    }

    /// The next change, or why it can't be read and is set aside alone; `None` at the end. An error
    /// means that the bytes are not whole: nothing of them may be served.
    pub fn change(&mut self) -> Result<Option<Result<Change, String>>, Corrupt> {
        let line = self.advance()?;
        Ok(line.map(|line| serde_json::from_slice(line).map_err(|error| error.to_string())))
    }
}

/// Reads all of it at once.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Corrupt> {
    let mut reader = Reader::open(bytes)?;
    let (mut changes, mut quarantined) = (Vec::new(), Vec::new());
    while let Some(change) = reader.change()? {
        match change {
            Ok(change) => changes.push(change),
            Err(reason) => quarantined.push(reason),
        }
    }
    Ok(Decoded { header: reader.header, changes, quarantined })
}

/// Is it whole? Looks at everything but the changes' meaning.
pub fn check(bytes: &[u8]) -> Result<Header, Corrupt> {
    let mut reader = Reader::open(bytes)?;
    while reader.advance()?.is_some() {}
    Ok(reader.header)
}

/// Reads one line, of one that is longer than [`MAX_LINE`] only the beginning; that is no JSON any
/// more. `false` at the end.
fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    lines.by_ref().take(MAX_LINE).read_until(b'\n', line)?;
    if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
        lines.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api_key::{KeyDigest, KeyType};
    use crate::id::{ApplicationId, KeyId, WorkspaceId};
    use crate::snapshot::{DefaultUpstream, Key, RateLimit, Settings, Workspace, WorkspaceStatus};

    fn sample() -> (Header, Vec<Change>) {
        let workspace = WorkspaceId::new();
        let application = ApplicationId::new();
        let key = KeyId::new();
        let changes = vec![
            Change::Settings(Settings {
                default_upstream: Some(DefaultUpstream::Echo),
                egress_allow: vec!["127.0.0.0/8".parse().expect("a net")],
            }),
            Change::Workspace(Workspace {
                id: workspace.clone(),
                status: WorkspaceStatus::Active,
                rate_limit: RateLimit::fast(10, 1000, 10),
                quota: Some(100_000),
            }),
            Change::Key(Box::new(Key {
                id: key.clone(),
                application,
                digest: KeyDigest::of("sk"),
                key_type: KeyType::Secret,
                scopes: vec!["*".into()],
                expires_at: None,
                allowed_ips: vec![],
                rate_limit: None,
                quota: None,
                bucket: key,
            })),
            Change::RemoveWorkspace(workspace),
        ];
        (Header { platform: PlatformId::new(), revision: 7, changes: changes.len() }, changes)
    }

    #[test]
    fn a_snapshot_round_trips() {
        let (header, changes) = sample();
        let decoded = decode(&encode(&header, &changes)).expect("whole");
        assert_eq!(decoded, Decoded { header, changes, quarantined: vec![] });
    }

    #[test]
    fn a_change_of_another_time_is_set_aside_alone() {
        let (mut header, changes) = sample();
        let mut lines: Vec<String> =
            changes.iter().map(|change| serde_json::to_string(change).expect("JSON")).collect();
        lines.push(r#"{"removeGalaxy":"gal_1"}"#.into());
        lines.push(r#"{"workspace":{"id":"ws_1","status":"levitating"}}"#.into());
        header.changes = lines.len();
        let text =
            format!("{}\n{}\n", serde_json::to_string(&header).expect("JSON"), lines.join("\n"));
        let body = zstd::encode_all(text.as_bytes(), 1).expect("in memory");
        let decoded = decode(&seal(&body)).expect("whole");
        assert_eq!(decoded.changes, changes);
        assert_eq!(decoded.quarantined.len(), 2);
    }

    #[test]
    fn a_line_that_unfolds_beyond_all_bounds_is_set_aside_alone() {
        let (mut header, mut changes) = sample();
        let mut endless = changes[0].clone();
        if let Change::Settings(settings) = &mut endless {
            let url = "a".repeat(usize::try_from(MAX_LINE).expect("a length") + 1);
            settings.default_upstream = Some(DefaultUpstream::Url(url));
        }
        changes.insert(1, endless);
        header.changes = changes.len();
        let decoded = decode(&encode(&header, &changes)).expect("whole");
        assert_eq!(decoded.quarantined.len(), 1);
        changes.remove(1);
        assert_eq!(decoded.changes, changes);
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let change: Change = serde_json::from_str(
            r#"{"workspace":{"id":"ws_1","status":"past_due","mood":"grim",
                "rateLimit":{"requests":1,"windowMs":1000,"burst":1,"colour":"red"}}}"#,
        )
        .expect("readable");
        assert!(matches!(change, Change::Workspace(w) if w.status == WorkspaceStatus::PastDue));
    }

    proptest! {
        #[test]
        fn no_damage_passes_for_a_snapshot(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let (header, changes) = sample();
            let mut bytes = encode(&header, &changes);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn a_truncated_snapshot_is_refused(keep in any::<prop::sample::Index>()) {
            let (header, changes) = sample();
            let bytes = encode(&header, &changes);
            prop_assert!(decode(&bytes[..keep.index(bytes.len())]).is_err());
        }
    }
}
