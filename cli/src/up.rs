//! `authsome up`: control plane and proxy in one process over one data directory, each on threads of
//! its own. On the first run it makes a demo workspace, application and keys (`demo`); each run writes
//! `quickstart.json` and prints lines to paste (`quickstart`).
//!
//! SIGTERM and SIGINT drain: first the proxy, which ships what it has metered, then the control
//! plane. Anything that keeps it from starting is said with what to do about it, exit code 1.

mod demo;
mod quickstart;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use authsome_control_plane::app::node_token;
use authsome_control_plane::config as control_config;
use authsome_control_plane::files;
use authsome_control_plane::serve::{self, ControlPlane};
use authsome_proxy::Proxy;
use authsome_proxy::config as proxy_config;
use authsome_shared::clock::Clock;
use authsome_shared::secret::Secret;
use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

/// The admin address of the proxy in this data directory, if `up` has run there.
pub fn quickstart_admin(data_dir: &Path) -> Option<Url> {
    Url::parse(&quickstart::Quickstart::read(data_dir)?.proxy_admin_url).ok()
}

/// Where `up` lets users' URLs lead besides public addresses: a newcomer's own API.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

#[derive(Debug, Args)]
pub struct Arguments {
    /// Holds everything that must survive a restart.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// Address and port of the control plane's API.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    control_listen: SocketAddr,
    /// Address and port that customers' calls come to.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    proxy_listen: SocketAddr,
    /// postgres://… instead of the embedded database.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

/// Starts both planes, and stops them at a signal.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    start_log()?;
    let control = runtime("control-plane")?;
    // Its own threads: nothing that the control plane does can hold up a customer's call.
    let data = runtime("proxy")?;
    let served = control.block_on(serve(arguments, &data));
    data.shutdown_background();
    served
}

fn runtime(name: &str) -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread().enable_all().thread_name(name).build();
    runtime.context("starting the async runtime")
}

/// To standard error: what a newcomer wants to know. `RUST_LOG` shows more.
fn start_log() -> anyhow::Result<()> {
    let quiet = "info,authsome_control_plane::http=warn,pingora_core=error,pingora_proxy=off";
    #[expect(clippy::disallowed_methods, reason = "read once, at the start")]
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| quiet.to_owned());
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("RUST_LOG is not a log filter: {filter:?}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

async fn serve(arguments: Arguments, data: &Runtime) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;

    let (control, proxy) = start(&arguments, data).await?;
    let opened = async {
        let quickstart = demo::open(&control, &proxy, &arguments.data_dir).await?;
        quickstart.write(&arguments.data_dir)?;
        quickstart.print(&arguments.data_dir);
        anyhow::Ok(())
    };
    let stopped = tokio::select! {
        opened = opened => match opened {
            Ok(()) => tokio::select! {
                _ = terminate.recv() => Ok(()),
                _ = interrupt.recv() => Ok(()),
            },
            Err(error) => Err(error),
        },
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    eprintln!("stopping: letting calls end and shipping what was metered");
    data.spawn(proxy.shutdown()).await.context("stopping the proxy")?;
    control.shutdown().await;
    stopped
}

/// Starts both planes. The proxy comes first: the control plane must know its public address.
async fn start(arguments: &Arguments, data: &Runtime) -> anyhow::Result<(ControlPlane, Proxy)> {
    let mut control = control_settings(arguments)?;
    files::prepare_data_dir(&arguments.data_dir)?;
    let listener = serve::bind(arguments.control_listen)
        .await
        .context("the control plane can't start (--control-listen chooses another address)")?;
    let control_address = listener.local_addr().context("reading the bound address")?;
    let token = node_token(&control)?;
    let settings = proxy_settings(arguments, control_address, token)?;
    let starting = data.spawn(Proxy::start(settings, Clock::system()));
    let proxy = starting
        .await
        .context("starting the proxy")?
        .context("the proxy can't start (--proxy-listen chooses another address)")?;

    let dashboard = format!("http://{control_address}/dashboard");
    control.platform.dashboard_url = dashboard;
    control.proxy.public_url = format!("http://{}", proxy.address());
    let control = ControlPlane::start_on(listener, control, Clock::system()).await?;
    Ok((control, proxy))
}

/// The environment's settings, with `up`'s defaults where it gives none.
fn control_settings(arguments: &Arguments) -> anyhow::Result<control_config::Config> {
    let mut flags = vec![
        ("server.data_dir", arguments.data_dir.display().to_string()),
        ("server.listen", arguments.control_listen.to_string()),
    ];
    if let Some(url) = &arguments.database_url {
        flags.push(("database.url", url.clone()));
    }
    let mut config = control_config::Config::load(None, &flags)?;
    if config.applications.default_upstream.is_empty() {
        config.applications.default_upstream = "echo".into();
    }
    config
        .egress
        .allow
        .get_or_insert_with(|| LOOPBACK.map(|net| net.parse().expect("written above")).to_vec());
    Ok(config)
}

fn proxy_settings(
    arguments: &Arguments,
    control: SocketAddr,
    token: Secret<String>,
) -> anyhow::Result<proxy_config::Config> {
    let flags = proxy_config::Flags {
        data_dir: Some(arguments.data_dir.clone()),
        listen: Some(arguments.proxy_listen),
        // No other fixed port: several may run side by side.
        admin_listen: Some(([127, 0, 0, 1], 0).into()),
        control_url: Some(control_url(control)?),
    };
    let mut config = proxy_config::Config::load(None, &flags)?;
    config.control.token = Some(token);
    Ok(config)
}

/// How the proxy reaches a control plane that listens on this address.
fn control_url(mut address: SocketAddr) -> anyhow::Result<Url> {
    if address.ip().is_unspecified() {
        let loopback = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    Url::parse(&format!("http://{address}")).context("the control plane's address")
}
