//! This proxy's part of the rate limits: one of as many equal shares as there are proxies. The
//! control plane tells their number as proxies come and go (`sync`); it is kept on disk, so that a
//! proxy that starts while the control plane is away takes no more than it had. Unreadable or
//! absent, it is one: the only proxy there is, until told otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

#[derive(Debug)]
pub struct Share {
    proxies: AtomicU32,
    /// `None`: not kept.
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    proxies: u32,
}

impl Default for Share {
    /// Everything.
    fn default() -> Self {
        Self { proxies: AtomicU32::new(1), file: None }
    }
}

impl Share {
    /// As it was last told the proxy of this data directory.
    pub fn open(dir: &Path) -> Self {
        let file = dir.join("share.json");
        let proxies = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice::<Kept>(&bytes).map_or_else(
                |error| {
                    tracing::warn!(%error, "share.json is unreadable; taking whole limits");
                    1
                },
                |kept| kept.proxies.max(1),
            ),
            Err(_) => 1,
        };
        Self { proxies: AtomicU32::new(proxies), file: Some(file) }
    }

    /// How many proxies share the limits, this one included; at least 1.
    pub fn proxies(&self) -> u32 {
        self.proxies.load(Ordering::Relaxed)
    }

    /// Takes up a new number, from the next request on.
    pub fn set(&self, proxies: u32) {
        let proxies = proxies.max(1);
        let before = self.proxies.swap(proxies, Ordering::Relaxed);
        if before == proxies {
            return;
        }
        tracing::info!(proxies, before, "the rate limits are shared anew");
        if let Some(file) = &self.file
            && let Err(error) = keep(file, proxies)
        {
            tracing::warn!(%error, "share.json can't be written; a restart takes the last share");
        }
    }
}

fn keep(file: &Path, proxies: u32) -> std::io::Result<()> {
    let temporary = file.with_extension("json.tmp");
    fs::write(&temporary, serde_json::to_vec(&Kept { proxies })?)?;
    fs::rename(&temporary, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_takes_no_more_than_its_share() {
        let dir = tempfile::tempdir().expect("a folder");
        let share = Share::open(dir.path());
        assert_eq!(share.proxies(), 1);
        share.set(3);
        assert_eq!(Share::open(dir.path()).proxies(), 3);
        share.set(0);
        assert_eq!(Share::open(dir.path()).proxies(), 1, "at least itself");
        fs::write(dir.path().join("share.json"), "{").expect("written");
        assert_eq!(Share::open(dir.path()).proxies(), 1);
    }
}
