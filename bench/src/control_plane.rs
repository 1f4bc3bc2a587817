//! `bench control-plane`: what the control plane does in a second. Usage as proxies ship it, applied
//! and committed; keys created and listed at a constant rate among 100,000. On a PostgreSQL server
//! of its own with default settings, every commit brought to the disk, and on SQLite.
//!
//! The control plane is the released binary, as a process of its own. Fails when a sum in the
//! database differs from what was sent, or a request is not answered as it should be.

mod database;
mod keys;
mod platform;
mod spread;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use platform::Platform;

/// Measure the control plane: usage ingest, and keys created and listed.
#[derive(Debug, Args)]
pub struct Arguments {
    /// On which databases.
    #[arg(long, value_enum, default_values = ["postgres", "sqlite"])]
    database: Vec<Kind>,
    /// What is measured.
    #[arg(long, value_enum, default_values = ["usage", "keys"])]
    only: Vec<Measure>,
    /// How long each measurement takes, after a tenth of it to warm up.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Proxies that ship usage at once, each with one batch under way.
    #[arg(long, default_value_t = 8)]
    nodes: usize,
    /// Records in a batch at most; what a proxy that lags puts into one when absent.
    #[arg(long)]
    batch: Option<usize>,
    /// Keys created, and lists asked for, each second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Keys in the database before the first is created.
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// The control plane's binary; the one that lies beside this program when absent.
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Arguments {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Postgres,
    Sqlite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    Usage,
    Keys,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    for kind in &arguments.database {
        println!("\n### {kind:?}\n");
        for measure in &arguments.only {
            runtime.block_on(async {
                let mut platform = Platform::start(*kind, arguments.binary.as_deref()).await?;
                match measure {
                    Measure::Usage => usage::measure(&mut platform, arguments).await,
                    Measure::Keys => keys::measure(&mut platform, arguments).await,
                }
            })?;
        }
    }
    Ok(())
}
