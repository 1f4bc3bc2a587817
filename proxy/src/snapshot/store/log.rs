//! A log of changes: a first line that names the platform, then one line per revision, each behind
//! its CRC-32. Reading stops at the first line that does not hold together: a torn tail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use authsome_shared::id::PlatformId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One revision's changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub revision: u64,
    pub changes: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    platform: PlatformId,
}

#[derive(Debug)]
pub struct Log {
    file: File,
    bytes: u64,
    dirty: bool,
}

impl Log {
    /// Begins a log of what follows on `revision`. One of that name can hold nothing that was
    /// readable, and is replaced.
    pub fn begin(dir: &Path, platform: &PlatformId, revision: u64) -> io::Result<Self> {
        let path = dir.join(format!("deltas-{revision:020}.log"));
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        let mut log = Self { file, bytes: 0, dirty: false };
        log.write(&Head { platform: platform.clone() })?;
        Ok(log)
    }

    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.write(entry)
    }

    fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = line(value)?;
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        self.dirty = true;
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file, if something was appended since it was last asked for.
    pub fn dirty(&mut self) -> Option<File> {
        std::mem::take(&mut self.dirty).then(|| self.file.try_clone().ok()).flatten()
    }
}

/// The whole lines of a log; none when it is another platform's.
pub fn read(path: &Path, platform: &PlatformId) -> Vec<Entry> {
    std::fs::read(path).map_or(vec![], |bytes| entries(&bytes, platform))
}

/// A log's first line.
#[cfg(any(test, feature = "fuzzing"))]
pub fn head(platform: &PlatformId) -> String {
    line(&Head { platform: platform.clone() }).expect("a head is JSON")
}

/// A value behind its checksum.
pub fn line(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

/// The whole lines in a log's bytes; none when it is another platform's.
pub fn entries(bytes: &[u8], platform: &PlatformId) -> Vec<Entry> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let head: Option<Head> = lines.next().and_then(parse);
    if head.is_none_or(|head| head.platform != *platform) {
        return vec![];
    }
    lines.map_while(parse).collect()
}

fn parse<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = line.split_at_checked(9)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?.strip_suffix(' ')?, 16).ok()?;
    (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok()).flatten()
}
