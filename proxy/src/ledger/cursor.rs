//! How far the control plane has confirmed the journal, and the totals it told: one small file,
//! replaced whole after each confirmation. It may be older than the truth, never newer: what is
//! shipped twice is applied once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use authsome_shared::usage::Total;
use serde::{Deserialize, Serialize};

const NAME: &str = "cursor.json";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// By epoch: everything up to and including this sequence number is applied for good.
    pub confirmed: BTreeMap<String, u64>,
    /// The fleet's totals of this month, as last told.
    pub totals: Vec<Total>,
}

impl Cursor {
    /// An absent or unreadable file is an empty cursor: then everything is shipped again.
    pub fn load(dir: &Path) -> Self {
        match fs::read(dir.join(NAME)) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "the journal's cursor is unreadable; shipping all again");
                Self::default()
            }),
            Err(_) => Self::default(),
        }
    }

    /// Replaces the file as a whole.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let temporary = dir.join("cursor.json.tmp");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        drop(file);
        fs::rename(temporary, dir.join(NAME))
    }

    pub fn watermark(&self, epoch: &str) -> u64 {
        self.confirmed.get(epoch).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_a_damaged_one_begins_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Cursor::load(dir.path()), Cursor::default());
        let cursor = Cursor { confirmed: [("epo_1".to_owned(), 7)].into(), totals: vec![] };
        cursor.save(dir.path()).expect("saved");
        assert_eq!(Cursor::load(dir.path()), cursor);
        assert_eq!((cursor.watermark("epo_1"), cursor.watermark("epo_2")), (7, 0));
        fs::write(dir.path().join(NAME), "{").expect("written");
        assert_eq!(Cursor::load(dir.path()), Cursor::default());
    }
}
