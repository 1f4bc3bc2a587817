//! Where a request goes: the application's URLs in turn, or the platform's default. It yields an
//! engine peer with a checked address and every time-out set; connecting is the engine's. A user's
//! URL may lead to public addresses only, judged on the very address that is connected to.

pub mod address;
pub mod echo;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use authsome_shared::egress;
use authsome_shared::snapshot::Timeouts;
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;
use url::{Host, Url};

use crate::denied::Cause;
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{Application, DefaultUpstream};
use address::Resolver;

/// Most attempts to connect, over all URLs of an application.
pub const MAX_ATTEMPTS: usize = 3;

/// How long an idle connection to an upstream is kept for the next request.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// A base URL, taken apart once.
#[derive(Debug, PartialEq, Eq)]
pub struct Base {
    pub tls: bool,
    pub host: Host<String>,
    pub port: u16,
    /// Put before the request's path; without a slash at its end.
    pub path: String,
    /// `Host` for requests to it.
    pub authority: HeaderValue,
    /// Name for TLS; never empty, because an empty one would switch verification off.
    name: String,
}

impl Base {
    pub fn parse(text: &str) -> Result<Self, String> {
        let url =
            Url::parse(text).map_err(|error| format!("an upstream URL is invalid: {error}"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("an upstream URL has the scheme `{other}`")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an upstream URL holds a user name or password".into());
        }
        let host = url.host().ok_or("an upstream URL has no host")?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        Ok(Self {
            tls,
            port: url.port_or_known_default().ok_or("an upstream URL has no port")?,
            path: url.path().trim_end_matches('/').to_owned(),
            authority: HeaderValue::from_str(&authority)
                .map_err(|_| "an upstream URL's host is invalid")?,
            name: match &host {
                Host::Ipv6(address) => address.to_string(),
                other => other.to_string(),
            },
            host,
        })
    }
}

/// The upstream chosen for one request.
#[derive(Debug, Clone)]
pub enum Choice {
    Echo { address: SocketAddr },
    Bases { first: usize, application: Arc<Application> },
    Default { base: Arc<Base> },
}

/// Chooses; fails when there is nothing to choose from.
pub fn choose(
    snapshot: &Snapshot,
    application: &Arc<Application>,
    echo: SocketAddr,
) -> Result<Choice, Cause> {
    if let Some(upstream) = &application.upstream {
        let first = upstream.turn.fetch_add(1, Ordering::Relaxed);
        return Ok(Choice::Bases { first, application: application.clone() });
    }
    match snapshot.default_upstream.as_deref() {
        Some(DefaultUpstream::Echo) => Ok(Choice::Echo { address: echo }),
        Some(DefaultUpstream::Url(base)) => Ok(Choice::Default { base: base.clone() }),
        None => Err(Cause::Unavailable("no_upstream")),
    }
}

impl Choice {
    /// How many times connecting may be tried.
    pub fn attempts(&self) -> usize {
        match self {
            Self::Bases { application, .. } => {
                let bases = application.upstream.as_ref().map_or(1, |it| it.bases.len());
                bases.clamp(1, MAX_ATTEMPTS)
            }
            Self::Echo { .. } | Self::Default { .. } => 1,
        }
    }

    /// The base of the given attempt; the echo has none.
    pub fn base(&self, attempt: usize) -> Option<&Base> {
        match self {
            Self::Echo { .. } => None,
            Self::Default { base } => Some(base),
            Self::Bases { first, application } => {
                let bases = &application.upstream.as_ref()?.bases;
                bases.get(first.wrapping_add(attempt) % bases.len()).map(|base| &**base)
            }
        }
    }

    fn timeouts(&self) -> Timeouts {
        match self {
            Self::Bases { application, .. } => {
                application.upstream.as_ref().map_or_else(Timeouts::default, |it| it.timeouts)
            }
            Self::Echo { .. } | Self::Default { .. } => Timeouts::default(),
        }
    }

    pub fn preserve_host(&self) -> bool {
        match self {
            Self::Bases { application, .. } => {
                application.upstream.as_ref().is_some_and(|it| it.preserve_host)
            }
            Self::Echo { .. } | Self::Default { .. } => false,
        }
    }

    /// The peer for an attempt. `streaming`: the client expects an answer with long pauses.
    pub async fn peer(
        &self,
        attempt: usize,
        streaming: bool,
        snapshot: &Snapshot,
        resolver: &Resolver,
    ) -> Result<HttpPeer, Cause> {
        let timeouts = self.timeouts();
        let (address, tls, name) = match (self, self.base(attempt)) {
            (Self::Echo { address }, _) => (*address, false, String::new()),
            (_, None) => return Err(Cause::Unavailable("no_upstream")),
            (_, Some(base)) => {
                let limit = millis(timeouts.connect_ms);
                let found = resolver.resolve(&base.host, limit).await?;
                let exempt = matches!(self, Self::Default { .. });
                let address = pick(&found, attempt, exempt, snapshot)?;
                (SocketAddr::new(address, base.port), base.tls, base.name.clone())
            }
        };
        let mut peer = HttpPeer::new(address, tls, name);
        set_timeouts(&mut peer, timeouts, streaming);
        Ok(peer)
    }
}

/// The addresses that may be connected to, taken in turn.
fn pick(
    found: &[IpAddr],
    attempt: usize,
    exempt: bool,
    snapshot: &Snapshot,
) -> Result<IpAddr, Cause> {
    let allow = &snapshot.settings.egress_allow;
    let allowed: Vec<IpAddr> = found
        .iter()
        .copied()
        .filter(|address| exempt || egress::is_allowed(*address, allow))
        .collect();
    if allowed.is_empty() {
        let message = "The upstream's address is not public, and the operator has not allowed it";
        return Err(Cause::BadGateway { reason: "egress_denied", message });
    }
    Ok(allowed[attempt % allowed.len()])
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms.max(1))
}

/// The engine has one time-out for all reads: it is the first byte's, or for an answer that is
/// known to pause, the longer of the two.
fn set_timeouts(peer: &mut HttpPeer, timeouts: Timeouts, streaming: bool) {
    let read = if streaming {
        timeouts.first_byte_ms.max(timeouts.idle_ms)
    } else {
        timeouts.first_byte_ms
    };
    peer.options.connection_timeout = Some(millis(timeouts.connect_ms));
    peer.options.total_connection_timeout = Some(millis(timeouts.connect_ms));
    peer.options.read_timeout = Some(millis(read));
    peer.options.write_timeout = Some(millis(timeouts.idle_ms));
    peer.options.idle_timeout = Some(KEEP_IDLE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_taken_apart() {
        let base = Base::parse("https://api.example.com:8443/base/").expect("valid");
        assert_eq!((base.tls, base.port, &*base.path), (true, 8443, "/base"));
        assert_eq!(base.authority, "api.example.com:8443");
        let base = Base::parse("http://[::1]").expect("valid");
        assert_eq!((base.tls, base.port, &*base.path), (false, 80, ""));
        assert_eq!((base.authority.to_str().ok(), &*base.name), (Some("[::1]"), "::1"));
        for bad in ["", "example.com", "ftp://a", "http://", "http://u:p@a", "http://a b"] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_allowed_addresses_are_connected_to() {
        let mut snapshot = Snapshot::empty();
        let found: Vec<IpAddr> =
            ["127.0.0.1", "93.184.216.34"].map(|it| it.parse().expect("an address")).into();
        assert_eq!(pick(&found, 0, false, &snapshot), Ok(found[1]));
        assert_eq!(pick(&found, 0, true, &snapshot), Ok(found[0]));
        assert!(matches!(
            pick(&found[..1], 0, false, &snapshot),
            Err(Cause::BadGateway { reason: "egress_denied", .. })
        ));
        let mut settings = (*snapshot.settings).clone();
        settings.egress_allow = vec!["127.0.0.0/8".parse().expect("a net")];
        snapshot.settings = Arc::new(settings);
        assert_eq!(pick(&found[..1], 0, false, &snapshot), Ok(found[0]));
    }
}
