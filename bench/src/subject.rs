//! What is measured: our proxy and its peers, each a process on the subjects' core that passes
//! calls on to the one upstream. `peer` starts others' programs, `authsome` ours.

pub mod authsome;
mod peer;

pub use peer::{has_pingap, pingap_version};

use std::net::SocketAddr;
use std::time::Duration;

use crate::ground::Ground;
use crate::process::Process;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The upstream itself.
    Direct,
    /// Pingora, passing everything on.
    Bare,
    Authsome,
    /// The same, writing a line per request.
    AuthsomeLog,
    NginxPlain,
    NginxKeys,
    NginxLua,
    HaproxyPlain,
    HaproxyKeys,
    Pingap,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare Pingora",
            Self::Authsome => "AuthSome",
            Self::AuthsomeLog => "AuthSome, access log on",
            Self::NginxPlain => "nginx, plain proxy",
            Self::NginxKeys => "nginx, keys in clear + limit_req",
            Self::NginxLua => "nginx + Lua, the same job",
            Self::HaproxyPlain => "HAProxy, plain proxy",
            Self::HaproxyKeys => "HAProxy, SHA-256 + stick table",
            Self::Pingap => "Pingap, one key + limit",
        }
    }
}

/// One that is running.
pub struct Subject {
    pub kind: Kind,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    process: Option<Process>,
    authsome: Option<authsome::Authsome>,
}

impl Subject {
    pub fn start(kind: Kind, ground: &Ground) -> anyhow::Result<Self> {
        match kind {
            Kind::Direct => Ok(Self {
                kind,
                plain: ground.upstream,
                tls: ground.upstream,
                process: None,
                authsome: None,
            }),
            Kind::Authsome | Kind::AuthsomeLog => {
                let log = kind == Kind::AuthsomeLog;
                let authsome = authsome::Authsome::start(ground, log)?;
                let (plain, tls) = (authsome.plain(), authsome.tls);
                Ok(Self { kind, plain, tls, process: None, authsome: Some(authsome) })
            }
            _ => {
                let (process, plain, tls) = peer::start(kind, ground)?;
                Ok(Self { kind, plain, tls, process: Some(process), authsome: None })
            }
        }
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref().or(self.authsome.as_ref().map(authsome::Authsome::process))
    }

    /// Nothing for the upstream: it is not what is measured.
    pub fn processor(&self) -> Duration {
        self.process().map_or(Duration::ZERO, Process::processor)
    }

    /// Lets it run before whatever else there is on the machine.
    pub fn urgent(&self) -> anyhow::Result<()> {
        self.process().map_or(Ok(()), Process::urgent)
    }

    /// Bytes.
    pub fn resident(&self) -> u64 {
        self.process().map_or(0, Process::resident)
    }

    pub fn authsome(&self) -> Option<&authsome::Authsome> {
        self.authsome.as_ref()
    }
}
