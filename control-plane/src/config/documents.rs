//! Settings of invoices as documents. What they mean: `config/control-plane.toml`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::billing::document::typeface::Fonts;

/// Larger fonts than any are a mistake.
const MAX_FONT_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Documents {
    pub footer: String,
    pub fonts: Vec<PathBuf>,
}

impl Documents {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let footer = self.footer.chars().count();
        ensure!(footer <= 500, "documents.footer has more than 500 characters");
        ensure!(self.fonts.len() <= 16, "documents.fonts names more than 16 files");
        Ok(())
    }

    /// What documents are set in; reads the files.
    pub fn read_fonts(&self) -> anyhow::Result<Fonts> {
        let read = |path: &PathBuf| {
            let name = path.display().to_string();
            let size = std::fs::metadata(path).map(|data| data.len());
            let size = size.with_context(|| format!("documents.fonts: {name}"))?;
            ensure!(size <= MAX_FONT_BYTES, "documents.fonts: {name} is no font: {size} bytes");
            let data = std::fs::read(path).with_context(|| format!("documents.fonts: {name}"))?;
            Ok((name, data))
        };
        let files = self.fonts.iter().map(read).collect::<anyhow::Result<_>>()?;
        Fonts::with(files).context("documents.fonts")
    }
}
