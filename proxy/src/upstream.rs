//! Where a request goes: to one of its application's URLs, or the platform's default. It yields an
//! engine peer with a checked address and every time-out set; connecting is the engine's. A user's
//! URL may lead to public addresses only, judged on the very address that is connected to.
//!
//! `pool` has the state of an application's URLs, `balance` chooses among them, `health`, `breaker`
//! and `budget` decide what failures lead to, `probe` asks for health; `docs/upstreams.md` tells
//! the user.

pub mod address;
pub mod balance;
pub mod base;
pub mod breaker;
mod budget;
pub mod echo;
pub mod health;
pub mod kept;
mod own;
pub mod pool;
pub mod probe;
pub mod registry;
pub mod silence;
pub mod tls;
mod window;
pub mod wire;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use authsome_shared::egress;
use authsome_shared::snapshot::{Protocol, Timeouts};
use pingora::upstreams::peer::HttpPeer;

use crate::admit::Admitted;
use crate::denied::Cause;
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{DefaultUpstream, Upstream};
use address::Resolver;
use base::Base;
pub use own::{Next, Own};
use registry::Pools;
use silence::Sockets;
use tls::Client;

/// Most attempts after the first.
pub const MAX_RETRIES: usize = 3;

/// Most attempts, over all URLs of an application.
pub const MAX_ATTEMPTS: usize = MAX_RETRIES + 1;

/// How long an idle connection to an upstream is kept for the next request.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// Idle connections to upstreams that are kept at most, over all of them. The engine's own would be
/// 128: with more requests at once than that, connections would be made and closed all the time.
pub const MAX_IDLE: usize = 4_096;

/// Requests at once on one HTTP/2 connection to an upstream.
const H2_STREAMS: usize = 100;

/// A silent HTTP/2 connection is asked at this interval whether it still stands.
const H2_PING: Duration = Duration::from_secs(10);

/// The upstream chosen for one request.
#[derive(Debug)]
pub enum Choice {
    Echo { address: SocketAddr },
    Default { base: Arc<Base> },
    Own(Own),
}

/// Chooses; fails when there is nothing to choose from, or the breaker is open.
pub fn choose(
    snapshot: &Snapshot,
    admitted: &Admitted,
    pools: &Pools,
    echo: SocketAddr,
) -> Result<Choice, Cause> {
    if let Some(upstream) = &admitted.application.upstream {
        return Own::new(admitted, upstream, pools).map(Choice::Own);
    }
    match snapshot.default_upstream.as_deref() {
        Some(DefaultUpstream::Echo) => Ok(Choice::Echo { address: echo }),
        Some(DefaultUpstream::Url(base)) => Ok(Choice::Default { base: base.clone() }),
        None => Err(Cause::Unavailable("no_upstream")),
    }
}

impl Choice {
    /// The request is on its way.
    pub fn begin(&mut self) {
        if let Self::Own(own) = self {
            own.begin();
        }
    }

    /// A response came.
    pub fn answered(&mut self, pools: &Pools) {
        if let Self::Own(own) = self {
            own.end(true, pools);
        }
    }

    /// No response will come of this attempt, by the upstream's fault.
    pub fn failed(&mut self, pools: &Pools) {
        if let Self::Own(own) = self {
            own.end(false, pools);
        }
    }

    /// Moves on to one more attempt, if there may be one.
    pub fn retry(&mut self, next: Next, pools: &Pools) -> bool {
        match self {
            Self::Own(own) => own.retry(next, pools),
            Self::Echo { .. } | Self::Default { .. } => false,
        }
    }

    /// The base of this attempt; the echo has none.
    pub fn base(&self) -> Option<&Base> {
        match self {
            Self::Echo { .. } => None,
            Self::Default { base } => Some(base),
            Self::Own(own) => own.upstream().bases.get(own.place()).map(|base| &**base),
        }
    }

    /// Attempts so far, this one included.
    pub fn attempts(&self) -> u32 {
        match self {
            Self::Own(own) => u32::try_from(own.retries()).unwrap_or(u32::MAX).saturating_add(1),
            Self::Echo { .. } | Self::Default { .. } => 1,
        }
    }

    pub fn preserve_host(&self) -> bool {
        match self {
            Self::Own(own) => own.upstream().preserve_host,
            Self::Echo { .. } | Self::Default { .. } => false,
        }
    }

    /// Is HTTP/1 spoken there?
    pub fn is_http1(&self) -> bool {
        match self {
            Self::Own(own) => own.upstream().protocol != Protocol::Http2,
            Self::Echo { .. } | Self::Default { .. } => true,
        }
    }

    pub fn timeouts(&self) -> Timeouts {
        match self {
            Self::Own(own) => own.upstream().timeouts,
            Self::Echo { .. } | Self::Default { .. } => Timeouts::default(),
        }
    }

    /// The limits on silence before and within the answer, where they differ and it is not the
    /// connection that holds both.
    pub fn silence(&self) -> Option<(Duration, Duration)> {
        let Self::Own(own) = self else { return None };
        // An HTTP/2 connection has others' requests on it.
        if !self.is_http1() {
            return None;
        }
        let Timeouts { first_byte_ms, idle_ms, .. } = own.upstream().timeouts;
        (first_byte_ms != idle_ms).then(|| (millis(first_byte_ms), millis(idle_ms)))
    }

    /// The peer for this attempt; `sockets` where the engine makes the exchange.
    pub async fn peer(
        &self,
        snapshot: &Snapshot,
        resolver: &Resolver,
        sockets: Option<&Arc<Sockets>>,
    ) -> Result<Box<HttpPeer>, Cause> {
        let timeouts = self.timeouts();
        let mut peer = match self {
            Self::Echo { address } => Box::new(HttpPeer::new(*address, false, String::new())),
            Self::Default { base } => {
                let found = resolver.resolve(&base.host, millis(timeouts.connect_ms)).await?;
                let address = pick(&found, 0, true, snapshot)?;
                peer(base, address, None)?
            }
            Self::Own(own) => {
                own_peer(own.upstream(), own.place(), own.retries(), snapshot, resolver).await?
            }
        };
        set_timeouts(&mut peer, timeouts);
        if let Some(sockets) = sockets
            && self.silence().is_some()
        {
            sockets.prepare(&mut peer);
        }
        Ok(peer)
    }
}

/// The peer for one of an application's URLs, without time-outs.
async fn own_peer(
    upstream: &Upstream,
    place: usize,
    attempt: usize,
    snapshot: &Snapshot,
    resolver: &Resolver,
) -> Result<Box<HttpPeer>, Cause> {
    let base = upstream.bases.get(place).ok_or(Cause::Internal)?;
    let found = resolver.resolve(&base.host, millis(upstream.timeouts.connect_ms)).await?;
    let address = pick(&found, attempt, false, snapshot)?;
    let mut peer = peer(base, address, upstream.tls.as_ref())?;
    peer.group_key ^= upstream.group;
    if upstream.protocol == Protocol::Http2 {
        // In clear there is nothing to agree by, so that it is HTTP/2 or nothing.
        peer.options.set_http_version(2, if base.tls { 1 } else { 2 });
        peer.options.max_h2_streams = H2_STREAMS;
        peer.options.h2_ping_interval = Some(H2_PING);
    }
    Ok(peer)
}

fn peer(base: &Base, address: IpAddr, tls: Option<&tls::Tls>) -> Result<Box<HttpPeer>, Cause> {
    let address = SocketAddr::new(address, base.port);
    if !base.tls {
        return Ok(Box::new(HttpPeer::new(address, false, String::new())));
    }
    let name = tls.and_then(|tls| tls.name.as_deref()).unwrap_or(&base.name);
    if name.is_empty() {
        // The engine would verify nothing.
        return Err(Cause::Internal);
    }
    let mut peer = Box::new(HttpPeer::new(address, true, name.to_owned()));
    if let Some(tls) = tls {
        peer.options.ca.clone_from(&tls.ca);
        peer.group_key = tls.group;
        match &tls.client {
            Client::None => {}
            Client::Key(key) => peer.client_cert_key = Some(key.clone()),
            Client::Sealed => {
                let message = "The proxy can't read the key of its client certificate";
                return Err(Cause::BadGateway { reason: "client_key", message });
            }
        }
    }
    Ok(peer)
}

/// The addresses that may be connected to, taken in turn.
fn pick(
    found: &[IpAddr],
    attempt: usize,
    exempt: bool,
    snapshot: &Snapshot,
) -> Result<IpAddr, Cause> {
    let allow = &snapshot.settings.egress_allow;
    let is_allowed = |address: &&IpAddr| exempt || egress::is_allowed(**address, allow);
    let allowed = found.iter().filter(is_allowed).count().max(1);
    found.iter().filter(is_allowed).nth(attempt % allowed).copied().ok_or_else(|| {
        let message = "The upstream's address is not public, and the operator has not allowed it";
        Cause::BadGateway { reason: "egress_denied", message }
    })
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms.max(1))
}

/// The engine has one time-out for all reads. Where the two differ, `silence` holds both.
fn set_timeouts(peer: &mut HttpPeer, timeouts: Timeouts) {
    peer.options.connection_timeout = Some(millis(timeouts.connect_ms));
    peer.options.total_connection_timeout = Some(millis(timeouts.connect_ms));
    peer.options.read_timeout = Some(millis(timeouts.first_byte_ms.max(timeouts.idle_ms)));
    peer.options.write_timeout = Some(millis(timeouts.idle_ms));
    peer.options.idle_timeout = Some(KEEP_IDLE);
}

#[cfg(test)]
mod tests {
    use super::*;

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
