//! Disk space that the journal's file holds before it needs it. A disk that fills up is then
//! noticed while the records of requests under way still fit: the blocks that they go to belong to
//! the file already, and nobody else can take them. It costs one system call in many hundred
//! records and does not show in the file's length.
//!
//! Where the file system can't promise space (NFS, ZFS), or on another system than Linux, nothing
//! is held: there a full disk is found by the write that fails, and its record is lost.

use std::fs::File;
use std::io;

/// At least this much is held. A record is about 300 bytes: room for most of a thousand requests
/// under way, even with end users' ids of full length for a few hundred.
const LEAST: u64 = 256 * 1024;

/// Held beyond that each time, so that it is seldom.
const STRETCH: u64 = 256 * 1024;

/// The offset up to which a file's space is held.
#[derive(Debug, Default)]
pub struct Held(u64);

impl Held {
    /// Holds space after the `written` bytes of the file. When it fails, what was held still is.
    pub fn ahead(&mut self, file: &File, written: u64) -> io::Result<()> {
        if written + LEAST > self.0 {
            hold(file, written, LEAST + STRETCH)?;
            self.0 = written + LEAST + STRETCH;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn hold(file: &File, from: u64, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};

    match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, from, length)) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn hold(_file: &File, _from: u64, _length: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn held_space_is_the_files_and_does_not_show_in_its_length() {
        let file = tempfile::tempfile().expect("a file");
        let mut held = Held::default();
        let mut last = 0;
        for written in [0, 1, STRETCH, STRETCH + 1, 10 * STRETCH] {
            held.ahead(&file, written).expect("held");
            assert!(held.0 >= written + LEAST);
            let meta = file.metadata().expect("there");
            assert_eq!(meta.len(), 0);
            assert!(meta.blocks() >= last, "{} blocks, then {}", last, meta.blocks());
            last = meta.blocks();
        }
    }
}
