//! Checks of rate limits, by whose limit it was, how it is enforced, and what came of it.

use authsome_shared::snapshot::LimitMode;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::label::{Label, label};
use crate::limit::Level;

label! {
    /// How a limit is enforced.
    Mode {
        /// By each proxy on its own.
        Fast => "fast",
        /// By a store that all share.
        Strict => "strict",
    }
}

impl From<LimitMode> for Mode {
    fn from(mode: LimitMode) -> Self {
        match mode {
            LimitMode::Fast => Self::Fast,
            LimitMode::Strict => Self::Strict,
        }
    }
}

const LEVELS: [Level; 3] = [Level::Key, Level::Application, Level::Workspace];

/// One counter per combination, looked up once.
pub struct RateLimits {
    /// By mode, then level: allowed, refused.
    counters: Box<[[IntCounter; 2]]>,
}

impl RateLimits {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let family = IntCounterVec::new(
            Opts::new(
                "authsome_proxy_rate_limit_checks_total",
                "Rate limit checks, by whose limit it was, its mode, and the result",
            ),
            &["level", "mode", "result"],
        )?;
        registry.register(Box::new(family.clone()))?;
        let counter = |level: Level, mode: Mode, result| {
            family.with_label_values(&[level.of_rate(), mode.as_str(), result])
        };
        let both = |(mode, level): (Mode, Level)| {
            [counter(level, mode, "allowed"), counter(level, mode, "refused")]
        };
        let all = Mode::ALL.iter().flat_map(|mode| LEVELS.map(|level| (*mode, level)));
        Ok(Self { counters: all.map(both).collect() })
    }

    pub fn count(&self, level: Level, mode: Mode, allowed: bool) {
        let level = match level {
            Level::Key => 0,
            Level::Application => 1,
            Level::Workspace => 2,
        };
        self.counters[mode.place() * LEVELS.len() + level][usize::from(!allowed)].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_counts_where_its_labels_say() {
        let registry = Registry::new();
        let limits = RateLimits::new(&registry).expect("registered");
        limits.count(Level::Application, Mode::Fast, false);
        limits.count(Level::Workspace, Mode::Fast, true);
        limits.count(Level::Workspace, Mode::Fast, true);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather());
        let text = text.expect("text");
        for line in [
            r#"{level="application",mode="fast",result="refused"} 1"#,
            r#"{level="plan",mode="fast",result="allowed"} 2"#,
            r#"{level="key",mode="fast",result="allowed"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
