//! `authsome audit verify`: checks the audit log of a platform against its hashes and its sealed
//! checkpoints. It reads the database itself, since whoever tampered may also answer the API, and
//! changes nothing.
//!
//! Exit code 0 when every entry is as it was written, 1 when one is not.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use authsome_control_plane::audit;
use authsome_control_plane::config::Config;
use authsome_shared::clock::Clock;
use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find entries that were changed, removed or inserted after they were written.
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// The control plane's data directory, with its master key.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// The control plane's settings, if it has a file of them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// PostgreSQL instead of the embedded database.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Command::Verify(verify) = &arguments.command;
    let mut flags = vec![("server.data_dir", verify.data_dir.display().to_string())];
    if let Some(url) = &verify.database_url {
        flags.push(("database.url", url.clone()));
    }
    let config = Config::load(verify.config.as_deref(), &flags)?;
    let dir = &config.server.data_dir;
    ensure!(dir.is_dir(), "there is no data directory {}: name it with --data-dir", dir.display());
    let runtime = Runtime::new().context("starting the async runtime")?;
    let report = runtime.block_on(audit::verify(&config, Clock::system()))?;
    for problem in &report.problems {
        println!("{problem}");
    }
    let count = format!(
        "{} entries in {} logs, {} checkpoints",
        report.entries, report.chains, report.checkpoints
    );
    if report.problems.is_empty() {
        println!("{count}: all as written");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{count}: {} problems", report.problems.len());
    Ok(ExitCode::FAILURE)
}
