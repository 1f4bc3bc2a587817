//! Limits with state: `rate` (GCRA, per key bucket), `quota` (units per calendar month), and
//! `share`, this proxy's part of a rate limit that others enforce too. Which limit applies to a key
//! is decided here; that a request asks at all is the gateway's.

pub mod quota;
pub mod rate;
pub mod share;

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
