//! `authsome admin grant|revoke|list`: who is an admin of the platform, on its database itself, so
//! that it works when nobody is one yet. It needs no key, and changes nothing else. A running
//! control plane knows at once.
//!
//! An address without an account, and a folder without a platform, are errors; exit code 1.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use authsome_control_plane::app::App;
use authsome_control_plane::config::Config;
use authsome_control_plane::identity::admin;
use authsome_shared::clock::Clock;
use clap::{Args, Subcommand};
use tokio::runtime::Builder;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
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

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the account of this address a platform admin.
    Grant { email: String },
    /// Make it an ordinary account again.
    Revoke { email: String },
    /// Say who is one.
    List,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = settings(arguments)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the async runtime")?;
    runtime.block_on(act(config, &arguments.action))
}

fn settings(arguments: &Arguments) -> anyhow::Result<Config> {
    let dir = &arguments.data_dir;
    let mut flags = vec![("server.data_dir", dir.display().to_string())];
    if let Some(url) = &arguments.database_url {
        flags.push(("database.url", url.clone()));
    }
    let config = Config::load(arguments.config.as_deref(), &flags)?;
    // Opening would make a new platform.
    ensure!(
        dir.join("master.key").exists(),
        "there is no platform in {}: --data-dir names another folder",
        dir.display()
    );
    Ok(config)
}

async fn act(config: Config, action: &Action) -> anyhow::Result<()> {
    let app = App::open(config, Clock::system()).await?;
    let mut tx = app.db.write().await?;
    match action {
        Action::Grant { email } => {
            if !admin::set(&mut tx, email, true, "cli").await? {
                bail!("there is no account with the address {email}: register it first");
            }
            println!("{email} is a platform admin");
        }
        Action::Revoke { email } => {
            if !admin::set(&mut tx, email, false, "cli").await? {
                bail!("there is no account with the address {email}");
            }
            println!("{email} is no platform admin");
        }
        Action::List => {}
    }
    let admins = admin::all(&mut tx).await?;
    tx.commit().await?;
    if admins.is_empty() {
        eprintln!("nobody is a platform admin; `authsome admin grant EMAIL` makes one");
    } else if matches!(action, Action::List) {
        for account in admins {
            let disabled = if account.disabled_at.is_some() { "  (disabled)" } else { "" };
            println!("{}  {}{disabled}", account.id, account.email);
        }
    }
    app.db.close().await;
    Ok(())
}
