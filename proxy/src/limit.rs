//! Limits with state: `rate` (GCRA, per key bucket), `quota` (units per calendar month), `share`,
//! this proxy's part of a rate limit that others enforce too, and `strict`, limits that all proxies
//! hold exactly by a shared store. Which limit applies to a key is for `admit`; that a request asks
//! at all is the gateway's.

pub mod quota;
pub mod rate;
pub mod share;
pub mod strict;

use std::path::Path;
use std::sync::Arc;

use authsome_shared::clock::Clock;

use crate::config::Config;
use crate::metrics::Metrics;
use quota::Quotas;
use share::Share;
use strict::Strict;

/// What is known of every limit; it outlives snapshots.
#[derive(Clone)]
pub struct Limits {
    pub quotas: Arc<Quotas>,
    pub share: Arc<Share>,
    pub strict: Arc<Strict>,
}

impl Limits {
    /// As they were kept in the data directory.
    pub fn open(
        dir: &Path,
        config: &Config,
        clock: Clock,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let share = Arc::new(Share::open(dir));
        metrics.fleet.set(i64::from(share.proxies()));
        let strict = Strict::new(&config.strict, share.clone(), clock, metrics.clone())?;
        Ok(Self { quotas: Arc::default(), share, strict: Arc::new(strict) })
    }
}

/// Whose setting a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Key,
    Application,
    Workspace,
}

impl Level {
    /// What `details.limit` of a refusal says of a rate limit: the plan sets it for a workspace's keys.
    pub fn of_rate(self) -> &'static str {
        match self {
            Self::Workspace => "plan",
            other => other.as_str(),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Application => "application",
            Self::Workspace => "workspace",
        }
    }
}
