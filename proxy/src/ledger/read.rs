//! Reading the journal from where the control plane stands: the next batch of consecutive records
//! of one epoch, oldest first. A gap in the sequence ends a batch, so that it shows as a gap.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use authsome_shared::usage::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS};

use super::cursor::Cursor;
use super::frame::{Frames, Header, OVERHEAD};
use super::journal::{Journal, Segment};

/// Room for the header line in a batch.
pub const HEADER_ROOM: usize = 512;

/// Bytes that surely hold a whole batch with its frames.
const ENOUGH: u64 = (MAX_BATCH_BYTES + MAX_BATCH_RECORDS * OVERHEAD) as u64;

/// Consecutive records, as the lines that are sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub epoch: String,
    pub first: u64,
    pub count: usize,
    pub lines: Vec<u8>,
}

impl Batch {
    pub fn last(&self) -> u64 {
        self.first + self.count as u64 - 1
    }
}

/// Where reading went on last time, so that a batch does not read its segment from the beginning.
#[derive(Debug, Default)]
pub struct Position {
    segment: Option<(std::path::PathBuf, usize, u64)>,
}

impl Position {
    /// The offset to read `segment` from when everything up to `watermark` is done.
    fn offset(&self, segment: &Segment, watermark: u64) -> Option<usize> {
        self.segment
            .as_ref()
            .filter(|(path, _, last)| *path == segment.path && *last == watermark)
            .map(|(_, offset, _)| *offset)
    }
}

fn read(segment: &Segment, offset: usize, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(offset as u64))?;
    let length = segment.bytes.saturating_sub(offset as u64).min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The next batch after the cursor; `None` when all is confirmed.
pub fn next_batch(
    journal: &Journal,
    cursor: &Cursor,
    position: &mut Position,
) -> io::Result<Option<Batch>> {
    for segment in journal.segments() {
        let watermark = cursor.watermark(&segment.epoch);
        if segment.last <= watermark {
            continue;
        }
        let (base, bytes, start) = match position.offset(&segment, watermark) {
            Some(offset) => (offset, read(&segment, offset, ENOUGH)?, 0),
            None => {
                let bytes = read(&segment, 0, u64::MAX)?;
                let start = Header::decode(&bytes).map_or(0, |(_, start)| start);
                (0, bytes, start)
            }
        };
        let mut batch: Option<Batch> = None;
        for frame in Frames::new(&bytes, start).filter(|frame| frame.sequence > watermark) {
            let batch = batch.get_or_insert_with(|| Batch {
                epoch: segment.epoch.clone(),
                first: frame.sequence,
                count: 0,
                lines: Vec::with_capacity(bytes.len().min(MAX_BATCH_BYTES)),
            });
            let fits = batch.count < MAX_BATCH_RECORDS
                && batch.lines.len() + frame.payload.len() + 1 + HEADER_ROOM <= MAX_BATCH_BYTES;
            if frame.sequence != batch.first + batch.count as u64 || !fits {
                break;
            }
            batch.lines.extend_from_slice(frame.payload);
            batch.lines.push(b'\n');
            batch.count += 1;
            position.segment = Some((segment.path.clone(), base + frame.end, frame.sequence));
        }
        if batch.is_some() {
            return Ok(batch);
        }
    }
    Ok(None)
}

/// Calls `each` with every unconfirmed record's line.
pub fn each_unshipped(
    journal: &Journal,
    cursor: &Cursor,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    for segment in journal.segments() {
        let watermark = cursor.watermark(&segment.epoch);
        let bytes = read(&segment, 0, u64::MAX)?;
        let start = Header::decode(&bytes).map_or(0, |(_, start)| start);
        for frame in Frames::new(&bytes, start).filter(|frame| frame.sequence > watermark) {
            each(frame.payload);
        }
    }
    Ok(())
}
