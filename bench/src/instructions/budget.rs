//! The figures, and the file that says how high they may be. Another machine has another C library
//! and processor, so that the engine's own figure scales the budget of ours.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;

/// How far a figure may be over its budget.
const MARGIN: f64 = 0.03;

/// Instructions in user space, a request.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Figures {
    /// The engine alone.
    pub bare: f64,
    /// The whole job, up to the usage record in the journal.
    pub proxied: f64,
    /// Shipping a usage record, in a batch. Not held to a budget: how records fall into batches
    /// depends on the time.
    #[serde(default)]
    pub shipped: f64,
    /// Refusing an unknown key.
    pub unauthorized: f64,
    /// Refusing a key that is over its limit.
    pub rate_limited: f64,
}

impl Figures {
    fn ours(&self) -> [(&'static str, f64); 3] {
        [
            ("proxied", self.proxied),
            ("unauthorized", self.unauthorized),
            ("rate_limited", self.rate_limited),
        ]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24}{:>14}{:>12}", "", "instructions", "over bare")?;
        let shipped = ("shipping a record", self.shipped);
        let all = [("bare", self.bare)].into_iter().chain(self.ours()).chain([shipped]);
        for (name, figure) in all {
            writeln!(f, "{name:<24}{figure:>14.0}{:>12.3}", figure / self.bare)?;
        }
        Ok(())
    }
}

pub struct Budget(Figures);

impl Budget {
    pub fn read() -> anyhow::Result<Self> {
        let file = path();
        let read = Figment::from(Toml::file_exact(&file)).extract();
        read.map(Self).with_context(|| format!("{} can't be used", file.display()))
    }

    pub fn write(figures: &Figures) -> anyhow::Result<()> {
        let mut text = String::from(
            "# Instructions in user space, a request: `bench instructions --check` fails when one of\n\
             # ours, scaled by what `bare` comes to on that machine, is more than 3 % over its line;\n\
             # `bench instructions --update` writes them. Both by the profile `release`.\n",
        );
        for (name, figure) in [("bare", figures.bare)].into_iter().chain(figures.ours()) {
            let _ = writeln!(text, "{name} = {figure:.0}.0");
        }
        Ok(std::fs::write(path(), text)?)
    }

    /// Fails when a figure is too high, and says when one could be lowered.
    pub fn check(&self, figures: &Figures) -> anyhow::Result<()> {
        let scale = figures.bare / self.0.bare;
        let mut over = Vec::new();
        for ((name, figure), (_, budget)) in figures.ours().into_iter().zip(self.0.ours()) {
            let budget = budget * scale;
            if figure > budget * (1.0 + MARGIN) {
                over.push(format!("{name}: {figure:.0} where {budget:.0} is the budget"));
            } else if figure < budget * (1.0 - MARGIN) {
                println!("{name}: {figure:.0} is well below {budget:.0}; --update keeps that");
            }
        }
        ensure!(over.is_empty(), "over budget: {}", over.join("; "));
        Ok(())
    }
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "budget.toml"].iter().collect()
}
