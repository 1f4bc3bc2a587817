//! The journal's bytes: a segment's header and the frames after it, each a length, a sequence
//! number, a checksum and one line of JSON. Reading never trusts a length: after damage it looks
//! for the next frame that holds together, so that a bad place loses what lies in it and no more.

const MAGIC: &[u8; 8] = b"ASLEDGR1";

/// Bytes before a frame's payload: length (4), sequence (8), CRC-32 of sequence and payload (4).
pub const OVERHEAD: usize = 16;

/// Longest payload; a usage record is a few hundred bytes.
const MAX_PAYLOAD: usize = 64 * 1024;

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub epoch: String,
    /// Sequence number of the first record.
    pub first: u64,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let length = u16::try_from(self.epoch.len()).expect("an id is short");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(self.epoch.as_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The header and its length; `None` when it isn't one.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let first = u64::from_le_bytes(*rest.first_chunk()?);
        let length = usize::from(u16::from_le_bytes(*rest.get(8..)?.first_chunk()?));
        let epoch = rest.get(10..10 + length)?;
        let end = MAGIC.len() + 10 + length;
        let crc = u32::from_le_bytes(*bytes.get(end..)?.first_chunk()?);
        if crc32fast::hash(&bytes[..end]) != crc {
            return None;
        }
        let epoch = std::str::from_utf8(epoch).ok()?.to_owned();
        Some((Self { epoch, first }, end + 4))
    }
}

/// One record found in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub sequence: u64,
    pub payload: &'a [u8],
    /// Offset of the byte after it.
    pub end: usize,
}

/// Begins a frame at the buffer's end; its payload is appended next.
pub fn begin(buffer: &mut Vec<u8>, sequence: u64) {
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&sequence.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
}

/// Fills in what depends on the payload of this frame.
pub fn finish(frame: &mut [u8]) {
    let length = u32::try_from(frame.len() - OVERHEAD).expect("a record is short");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(&frame[4..12], &frame[OVERHEAD..]);
    frame[12..OVERHEAD].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(sequence: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(sequence);
    hasher.update(payload);
    hasher.finalize()
}

/// The frame at `at`, if a whole and undamaged one lies there.
fn frame_at(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let head = bytes.get(at..at + OVERHEAD)?;
    let length = usize::try_from(u32::from_le_bytes(*head.first_chunk()?)).ok()?;
    if length == 0 || length > MAX_PAYLOAD {
        return None;
    }
    let payload = bytes.get(at + OVERHEAD..at + OVERHEAD + length)?;
    let crc = u32::from_le_bytes(*head[12..].first_chunk()?);
    (checksum(&head[4..12], payload) == crc).then(|| Frame {
        sequence: u64::from_le_bytes(*head[4..].first_chunk().expect("eight bytes are there")),
        payload,
        end: at + OVERHEAD + length,
    })
}

/// Walks over the frames of a segment's bytes.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Places where something was unreadable and passed over.
    pub damaged: usize,
    /// Offset after the last whole frame.
    pub good: usize,
}

impl<'a> Frames<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, damaged: 0, good: at }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let start = self.at;
        while self.at + OVERHEAD < self.bytes.len() {
            if let Some(frame) = frame_at(self.bytes, self.at) {
                self.damaged += usize::from(self.at != start);
                self.at = frame.end;
                self.good = frame.end;
                return Some(frame);
            }
            self.at += 1;
        }
        self.at = self.bytes.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (i, payload) in payloads.iter().enumerate() {
            let at = bytes.len();
            begin(&mut bytes, i as u64 + 1);
            bytes.extend_from_slice(payload);
            finish(&mut bytes[at..]);
        }
        bytes
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..30)
    }

    #[test]
    fn a_header_round_trips_and_damage_shows() {
        let header = Header { epoch: "epo_1".into(), first: 7 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some((header, bytes.len())));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Header::decode(&bad), None, "at {at}");
            assert_eq!(Header::decode(&bytes[..at]), None);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payloads in payloads()) {
            let bytes = segment(&payloads);
            let mut frames = Frames::new(&bytes, 0);
            for (i, payload) in payloads.iter().enumerate() {
                let frame = frames.next().expect("written");
                prop_assert_eq!((frame.sequence, frame.payload), (i as u64 + 1, &payload[..]));
            }
            prop_assert!(frames.next().is_none());
            prop_assert_eq!((frames.damaged, frames.good), (0, bytes.len()));
        }

        #[test]
        fn a_cut_loses_only_the_frame_it_falls_into(
            payloads in payloads(),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = segment(&payloads);
            let cut = cut.index(bytes.len());
            let whole = Frames::new(&bytes, 0).filter(|frame| frame.end <= cut).count();
            let mut frames = Frames::new(&bytes[..cut], 0);
            prop_assert_eq!(frames.by_ref().count(), whole);
            prop_assert_eq!(frames.damaged, 0);
            prop_assert!(frames.good <= cut);
        }

        #[test]
        fn damage_loses_only_the_frame_it_hits(
            payloads in payloads(),
            hit in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let mut bytes = segment(&payloads);
            let hit = hit.index(bytes.len());
            let expected: Vec<u64> = {
                let mut start = 0;
                Frames::new(&bytes, 0)
                    .filter(|frame| {
                        let inside = (start..frame.end).contains(&hit);
                        start = frame.end;
                        !inside
                    })
                    .map(|frame| frame.sequence)
                    .collect()
            };
            bytes[hit] ^= flip;
            let found: Vec<u64> = Frames::new(&bytes, 0).map(|frame| frame.sequence).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
