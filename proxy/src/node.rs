//! This proxy's place on disk: the folder, the lock that keeps a second process out of it, and the
//! identity under which usage is reported.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};
use authsome_shared::id::NodeId;
use serde::{Deserialize, Serialize};

/// Makes the folder and takes its lock, for as long as the file lives.
pub fn lock(dir: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(dir)
        .with_context(|| format!("can't write the data directory {}", dir.display()))?;
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("can't write the data directory {}", dir.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("the data directory {} is in use by another proxy", dir.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("can't lock {}", path.display()))
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Node {
    id: NodeId,
}

/// The identity of this data directory; made when it is new.
pub fn identity(dir: &Path) -> anyhow::Result<NodeId> {
    let path = dir.join("node.json");
    if let Ok(bytes) = fs::read(&path) {
        match serde_json::from_slice::<Node>(&bytes) {
            Ok(node) => return Ok(node.id),
            // Under a new identity nothing is lost: epochs are unique, and shipped once each.
            Err(error) => tracing::warn!(%error, "node.json is unreadable; taking a new identity"),
        }
    }
    let node = Node { id: NodeId::new() };
    let temporary = dir.join("node.json.tmp");
    fs::write(&temporary, serde_json::to_vec(&node)?)
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(node.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_process_and_one_identity() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = lock(dir.path()).expect("free");
        let error = lock(dir.path()).expect_err("held").to_string();
        assert!(error.contains("in use"), "{error}");
        drop(held);
        lock(dir.path()).expect("free again");
        let id = identity(dir.path()).expect("made");
        assert_eq!(identity(dir.path()).expect("kept"), id);
        fs::write(dir.path().join("node.json"), "{").expect("written");
        assert_ne!(identity(dir.path()).expect("made anew"), id);
    }

    #[test]
    fn an_unusable_folder_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        let error = format!("{:#}", lock(&file.join("proxy")).expect_err("no folder"));
        assert!(error.contains("can't write the data directory"), "{error}");
    }
}
