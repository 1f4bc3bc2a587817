//! `authsome-proxy`: reads settings, starts the proxy, and does what signals ask for: SIGTERM and
//! SIGINT drain it, SIGHUP has it read its settings again, SIGUSR2 replaces it by a new process.

mod log;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use authsome_proxy::config::{Config, Flags};
use authsome_proxy::handover::Predecessor;
use authsome_proxy::operate::Running;
use authsome_proxy::upgrade::Program;
use authsome_proxy::{Proxy, supervisor};
use authsome_shared::clock::Clock;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The data plane of AuthSome Cloud.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = false)]
struct Arguments {
    /// Settings file; config/proxy.toml documents them.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where snapshots and the usage journal are kept.
    #[arg(long, value_name = "DIR", global = true)]
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
    /// For the proxy's own use: take over from the process that started this one.
    #[arg(long, hide = true)]
    take_over: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What a running proxy is asked to do. It is found by --data-dir (or the settings), or by --pid.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Replace the running process by a new one of the same program and arguments, and say what
    /// became of it (the same as SIGUSR2).
    Upgrade {
        #[arg(long, value_name = "N")]
        pid: Option<u32>,
    },
    /// Have the running process read its settings again, and say what became of it (the same as
    /// SIGHUP).
    Reload {
        #[arg(long, value_name = "N")]
        pid: Option<u32>,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("authsome-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn load(&self) -> anyhow::Result<Config> {
        let flags = Flags {
            data_dir: self.data_dir.clone(),
            listen: self.listen,
            admin_listen: self.admin_listen,
            control_url: self.control_url.clone(),
        };
        Config::load(self.config.as_deref(), &flags)
    }
}

fn running(pid: Option<u32>, config: &Config) -> anyhow::Result<Running> {
    match pid {
        Some(pid) => Running::of_pid(pid),
        None => Running::of_data_dir(&config.server.data_dir),
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(command) = arguments.command {
        let config = arguments.load()?;
        let said = match command {
            Command::Upgrade { pid } => {
                let limit = Duration::from_millis(config.upgrade.timeout_ms);
                running(pid, &config)?.upgrade(limit)?
            }
            Command::Reload { pid } => running(pid, &config)?.reload()?,
        };
        println!("{said}");
        return Ok(());
    }
    if arguments.check {
        arguments.load()?.check_files()?;
        println!("the settings are valid");
        return Ok(());
    }
    let program = Program::of_this_process().context("can't tell this program's path")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    let served = runtime.block_on(serve(arguments, &program));
    // What was ended before its time is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(arguments: &Arguments, program: &Program) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let predecessor = arguments.take_over.then(Predecessor::from_stdin).transpose()?;
    let (config, log) = match load_and_log(arguments) {
        Ok(loaded) => loaded,
        Err(error) => {
            if let Some(mut predecessor) = predecessor {
                predecessor.failed(&error).await;
            }
            return Err(error);
        }
    };
    let mut proxy = match predecessor {
        None => Proxy::start(config, Clock::system()).await?,
        Some(predecessor) => Proxy::take_over(config, Clock::system(), predecessor).await?,
    };
    proxy.answer_signals();
    supervisor::tell("READY=1");
    let mut upgraded = false;
    while !upgraded {
        tokio::select! {
            () = signals.stop.asked() => break,
            _ = signals.reload.recv() => reload(&proxy, arguments, &log),
            _ = signals.upgrade.recv() => tokio::select! {
                outcome = proxy.upgrade(program) => upgraded = outcome.is_ok(),
                () = signals.stop.asked() => {
                    tracing::warn!("asked to stop: the upgrade is called off");
                    break;
                }
            },
        }
    }
    if !upgraded {
        tracing::info!("stopping");
        supervisor::tell("STOPPING=1");
    }
    tokio::select! {
        () = proxy.shutdown() => Ok(()),
        () = signals.stop.asked_at_once(upgraded) => {
            bail!("asked to stop twice: ended before all requests were")
        }
    }
}

fn load_and_log(arguments: &Arguments) -> anyhow::Result<(Config, log::Level)> {
    let config = arguments.load()?;
    let log = log::start(&config.log)?;
    Ok((config, log))
}

fn reload(proxy: &Proxy, arguments: &Arguments, log: &log::Level) {
    let reloaded = arguments.load().and_then(|config| {
        let filter = log::filter(&config.log.level)?;
        let left = proxy.reload(&config)?;
        log.set(filter)?;
        Ok(left)
    });
    match &reloaded {
        Ok(left) if left.is_empty() => tracing::info!("took up the settings anew"),
        Ok(left) => tracing::warn!(
            left = left.join(", "),
            "took up the settings anew, but for these, which need an upgrade (SIGUSR2)"
        ),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "the settings can't be used; the old ones stay");
        }
    }
    proxy.tell_reload(&reloaded);
}

/// What we listen to.
struct Signals {
    stop: Stop,
    reload: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind: SignalKind, name: &str| {
            signal(kind).with_context(|| format!("can't wait for {name}"))
        };
        Ok(Self {
            stop: Stop {
                terminate: listen(SignalKind::terminate(), "SIGTERM")?,
                interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            },
            reload: listen(SignalKind::hangup(), "SIGHUP")?,
            upgrade: listen(SignalKind::user_defined2(), "SIGUSR2")?,
        })
    }
}

struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// While draining. After an upgrade nobody has asked this process to stop yet.
    async fn asked_at_once(&mut self, upgraded: bool) {
        if upgraded {
            self.asked().await;
            tracing::info!("draining already; once more ends this process at once");
        }
        self.asked().await;
    }
}
