//! `authsome-proxy`: reads settings, starts the proxy, and drains it on SIGTERM or SIGINT.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use authsome_proxy::Proxy;
use authsome_proxy::config::{Config, Flags, LogFormat};
use authsome_shared::clock::Clock;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The data plane of AuthSome Cloud.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Settings file; config/proxy.toml documents them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where snapshots and the usage journal are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where health, readiness and metrics are served.
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Base URL of the control plane.
    #[arg(long, value_name = "URL")]
    control_url: Option<Url>,
    /// Only check the settings, and the certificates they name.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("authsome-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let flags = Flags {
        data_dir: arguments.data_dir,
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        control_url: arguments.control_url,
    };
    let config = Config::load(arguments.config.as_deref(), &flags)?;
    if arguments.check {
        config.check_files()?;
        println!("the settings are valid");
        return Ok(());
    }
    start_log(&config)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for SIGINT")?;
    let proxy = Proxy::start(config, Clock::system()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    proxy.shutdown().await;
    Ok(())
}

/// To standard error. The engine's own lines are left out unless they are asked for: it reports
/// every client that goes away as an error, and at `debug` it would show requests' headers.
fn start_log(config: &Config) -> anyhow::Result<()> {
    let level = &config.log.level;
    let filter = EnvFilter::try_new(format!("{level},pingora_core=off,pingora_proxy=off"))
        .with_context(|| format!("log.level `{level}` is not a valid filter"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
