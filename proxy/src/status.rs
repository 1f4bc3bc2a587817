//! `proxy/status.json` in the data directory: which process serves, and what became of the last
//! upgrade and reload. The commands `upgrade` and `reload` read there what they have brought about.
//! It is for people and tools, and nothing depends on it: when it can't be written, that is logged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

const NAME: &str = "status.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub pid: u32,
    pub version: String,
    /// The process that handed over to this one.
    pub took_over_from: Option<u32>,
    /// The last one that failed; after one that succeeded, this is another process.
    pub failed_upgrade: Option<Outcome>,
    pub reload: Option<Outcome>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Counts from 1 in each process.
    pub number: u64,
    /// RFC 3339.
    pub at: String,
    pub error: Option<String>,
    /// Settings whose change waits for an upgrade.
    #[serde(default)]
    pub left: Vec<String>,
}

/// The file of a running process.
pub struct StatusFile {
    dir: PathBuf,
    status: Mutex<Status>,
}

impl StatusFile {
    /// `dir`: ours in the data directory. Nothing is written yet.
    pub fn new(dir: &Path, took_over_from: Option<u32>) -> Self {
        let status = Status {
            pid: std::process::id(),
            version: crate::VERSION.to_owned(),
            took_over_from,
            failed_upgrade: None,
            reload: None,
        };
        Self { dir: dir.to_owned(), status: Mutex::new(status) }
    }

    /// Changes what it says, and writes it.
    pub fn say(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.status.lock();
        change(&mut status);
        if let Err(error) = write(&self.dir, &status) {
            tracing::warn!(%error, "status.json can't be written");
        }
    }
}

fn write(dir: &Path, status: &Status) -> io::Result<()> {
    let temporary = dir.join("status.json.tmp");
    fs::write(&temporary, serde_json::to_vec_pretty(status)?)?;
    fs::rename(temporary, dir.join(NAME))
}

/// What a process has written below `data_dir`.
pub fn read(data_dir: &Path) -> io::Result<Status> {
    let bytes = fs::read(data_dir.join("proxy").join(NAME))?;
    Ok(serde_json::from_slice(&bytes)?)
}
