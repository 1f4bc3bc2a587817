//! The platform's database, opened at the machine: for commands that work on it themselves, whether
//! the platform runs or not. It never makes a new platform.

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use authsome_control_plane::app::App;
use authsome_control_plane::config::Config;
use authsome_control_plane::error::Error;
use authsome_shared::clock::Clock;
use clap::Args;
use tokio::runtime::Builder;

/// Which platform.
#[derive(Debug, Args)]
pub struct Platform {
    /// Where the platform keeps its data.
    #[arg(long, value_name = "DIR", default_value = "./data", global = true)]
    data_dir: PathBuf,
    /// postgres://… if the platform does not use the embedded database.
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<String>,
    /// The control plane's settings (TOML), if it has some of its own.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl Platform {
    /// Opens it, does something with it, and closes it.
    pub fn with<T>(&self, act: impl AsyncFnOnce(&App) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut flags = vec![("server.data_dir", self.data_dir.display().to_string())];
        if let Some(url) = &self.database_url {
            flags.push(("database.url", url.clone()));
        }
        let config = Config::load(self.config.as_deref(), &flags)?;
        let dir = &config.server.data_dir;
        ensure!(
            dir.join("master.key").exists(),
            "there is no platform in {}: --data-dir names another folder",
            dir.display()
        );
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.context("starting the async runtime")?.block_on(async {
            let app = App::open(config, Clock::system()).await?;
            let done = act(&app).await?;
            app.db.close().await;
            Ok(done)
        })
    }
}

/// An error with all that it says: of input that breaks rules, every rule.
pub fn whole(error: Error) -> anyhow::Error {
    match error {
        Error::Invalid(violations) => {
            let messages: Vec<String> = violations.into_iter().map(|it| it.message).collect();
            anyhow!("{}", messages.join("; "))
        }
        error => error.into(),
    }
}

/// Rows under their headings, in columns; the last is not padded.
pub fn print_table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let heading: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    for row in std::iter::once(&heading).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
