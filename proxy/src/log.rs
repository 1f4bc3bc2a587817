//! The log of the process, to standard error. The engine's own lines are left out unless they are
//! asked for: it reports every client that goes away as an error, and at `debug` it would show
//! requests' headers.

use std::io::IsTerminal;

use anyhow::Context;
use authsome_proxy::config::{Log, LogFormat};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Changes what is logged.
pub struct Level(reload::Handle<EnvFilter, Registry>);

/// Begins to log.
pub fn start(log: &Log) -> anyhow::Result<Level> {
    let (level, handle) = reload::Layer::new(filter(&log.level)?);
    let lines =
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(level).with(lines).init();
    Ok(Level(handle))
}

/// What a `log.level` stands for.
pub fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{level},pingora_core=off,pingora_proxy=off"))
        .with_context(|| format!("log.level `{level}` is not a valid filter"))
}

impl Level {
    pub fn set(&self, filter: EnvFilter) -> anyhow::Result<()> {
        self.0.reload(filter).context("the log can't be changed")
    }
}
