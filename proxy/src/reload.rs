//! The settings in use, and what a reload may change of them. A reload swaps them as a whole:
//! whoever looks sees the old ones or the new ones, and a connection keeps to those that it began
//! with. What can't be changed in a running process stays as it was, and is named.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use chrono::SecondsFormat;

use crate::Proxy;
use crate::access_log::AccessLog;
use crate::config::{self, Config};
use crate::status::Outcome;
use crate::tls::Tls;

/// Loaded once by whoever needs several of them together.
pub type Settings = Arc<ArcSwap<Config>>;

/// What a reload leads to.
#[derive(Debug, PartialEq)]
pub struct Reloaded {
    pub next: Config,
    /// Settings whose change waits for an upgrade or a restart, as `section.key`.
    pub left: Vec<String>,
}

/// What becomes of the settings in use when the files now say `wanted`.
pub fn reloaded(current: &Config, wanted: &Config) -> Reloaded {
    let mut next = current.clone();
    next.connections = wanted.connections.clone();
    // The engine takes it up for HTTP/2 once, at the start.
    next.connections.keep_alive_seconds = current.connections.keep_alive_seconds;
    next.drain = wanted.drain.clone();
    next.upgrade = wanted.upgrade.clone();
    let format = current.log.format;
    next.log = config::Log { format, ..wanted.log.clone() };
    next.application_log = wanted.application_log.clone();
    next.tls.cert_file.clone_from(&wanted.tls.cert_file);
    next.tls.key_file.clone_from(&wanted.tls.key_file);
    next.tls.certificates.clone_from(&wanted.tls.certificates);
    next.tls.handshake_timeout_ms = wanted.tls.handshake_timeout_ms;
    let left = differing(&next, wanted);
    Reloaded { next, left }
}

/// The names of the settings in which two differ.
fn differing(one: &Config, other: &Config) -> Vec<String> {
    let read = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (one, other) = (read(one), read(other));
    let mut names = Vec::new();
    for (section, keys) in other.as_object().into_iter().flatten() {
        for (key, value) in keys.as_object().into_iter().flatten() {
            if one.pointer(&format!("/{section}/{key}")) != Some(value) {
                names.push(format!("{section}.{key}"));
            }
        }
    }
    names
}

impl Proxy {
    /// Takes up what may change of these settings. Whatever can fail is tried before anything is
    /// changed. Gives the names of the settings that wait for an upgrade.
    ///
    /// # Errors
    /// The settings are not valid, or name a certificate or an access log that can't be used; then
    /// nothing has changed.
    pub fn reload(&self, wanted: &Config) -> anyhow::Result<Vec<String>> {
        wanted.validate().context("invalid configuration")?;
        let current = self.settings.load_full();
        let Reloaded { next, left } = reloaded(&current, wanted);
        let tls = self.tls.as_ref().map(|tls| Ok((tls, Tls::check(&next.tls)?)));
        let tls: Option<(_, _)> = tls.transpose().map_err(|error: anyhow::Error| error)?;
        // Standard output is never moved away, and can't be opened anew.
        let stays = next.log.access_log == "stdout" && current.log.access_log == "stdout";
        let target = (!stays).then(|| AccessLog::opened(&next.log.access_log)).transpose()?;

        if let Some((tls, checked)) = tls {
            tls.replace(checked);
        }
        if let Some(target) = target {
            self.reports.access_log.replace(target);
        }
        self.reports.access_log.sample_by(&next.log);
        self.reports.application_log.bound_by(&next.application_log);
        self.listener.reload(&next.connections);
        self.settings.store(Arc::new(next));
        Ok(left)
    }

    /// Counts and writes down what became of a reload.
    pub fn tell_reload(&self, reloaded: &anyhow::Result<Vec<String>>) {
        let now = self.clock.now();
        let result = if reloaded.is_ok() { "succeeded" } else { "refused" };
        self.metrics.process.reloads.with_label_values(&[result]).inc();
        if reloaded.is_ok() {
            self.metrics.process.reloaded_at.set(now.timestamp());
        }
        let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        self.status.say(|status| {
            let number = status.reload.as_ref().map_or(0, |it| it.number) + 1;
            let (error, left) = match reloaded {
                Ok(left) => (None, left.clone()),
                Err(error) => (Some(format!("{error:#}")), Vec::new()),
            };
            status.reload = Some(Outcome { number, at, error, left });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_reloaded_is_and_the_rest_is_named() {
        let current = Config::default();
        let mut wanted = Config::default();
        wanted.connections.max = 7;
        wanted.connections.header_timeout_ms = 8;
        wanted.drain.stream_timeout_ms = 9;
        wanted.log.level = "debug".into();
        let Reloaded { next, left } = reloaded(&current, &wanted);
        assert_eq!((next, left), (wanted.clone(), vec![]));
        wanted.server.listen.set_port(1);
        wanted.connections.keep_alive_seconds = 1;
        wanted.control.url = "http://elsewhere".parse().expect("a URL");
        wanted.ledger.max_bytes += 1;
        let Reloaded { next, mut left } = reloaded(&current, &wanted);
        left.sort();
        let named =
            ["connections.keep_alive_seconds", "control.url", "ledger.max_bytes", "server.listen"];
        assert_eq!(left, named);
        assert_eq!((next.server.clone(), next.connections.max), (current.server, 7));
    }

    #[test]
    fn a_changed_token_is_named_and_not_shown() {
        let mut wanted = Config::default();
        wanted.control.token = Some(authsome_shared::secret::Secret::new("hush".into()));
        let Reloaded { left, .. } = reloaded(&Config::default(), &wanted);
        assert_eq!(left, ["control.token"]);
    }
}
