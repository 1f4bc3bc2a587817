//! `authsome-control-plane`: the control plane as a process of its own.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use authsome_control_plane::app::App;
use authsome_control_plane::config::{Config, Log, LogFormat};
use authsome_control_plane::identity::admin;
use authsome_control_plane::serve::ControlPlane;
use authsome_shared::clock::Clock;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The control plane of AuthSome Cloud.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Settings that differ from the defaults (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the embedded database, keys and mail are kept.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address and port of the API.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// postgres://… instead of the embedded database.
    #[arg(long)]
    database_url: Option<String>,
    /// Check the settings and exit.
    #[arg(long)]
    check: bool,
    /// Make the account of this e-mail address a platform admin, and exit.
    #[arg(long, value_name = "EMAIL")]
    grant_admin: Option<String>,
}

impl Arguments {
    fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        if let Some(dir) = &self.data_dir {
            flags.push(("server.data_dir", dir.display().to_string()));
        }
        if let Some(address) = self.listen {
            flags.push(("server.listen", address.to_string()));
        }
        if let Some(url) = &self.database_url {
            flags.push(("database.url", url.clone()));
        }
        flags
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("authsome-control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(arguments.config.as_deref(), &arguments.flags())?;
    if arguments.check {
        println!("the settings are valid");
        return Ok(());
    }
    start_log(&config.log)?;
    let runtime = tokio::runtime::Runtime::new().context("starting the async runtime")?;
    match &arguments.grant_admin {
        Some(email) => runtime.block_on(grant_admin(config, email)),
        None => runtime.block_on(serve(config)),
    }
}

fn start_log(settings: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.level)
        .with_context(|| format!("log.level is not a filter: {:?}", settings.level))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let control_plane = ControlPlane::start(config, Clock::system()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    control_plane.shutdown().await;
    Ok(())
}

async fn grant_admin(config: Config, email: &str) -> anyhow::Result<()> {
    let app = App::open(config, Clock::system()).await?;
    let mut tx = app.db.write().await?;
    let found = admin::set(&mut tx, email, true, "cli").await?;
    tx.commit().await?;
    anyhow::ensure!(found, "there is no account with the address {email}");
    println!("{email} is a platform admin");
    Ok(())
}
