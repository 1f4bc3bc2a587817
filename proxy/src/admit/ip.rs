//! May the key be used from this client address?

use std::net::IpAddr;

use ipnet::IpNet;

use crate::denied::Cause;

/// An empty list allows every address. IPv4 in IPv6 clothing is judged as IPv4.
pub fn check(allowed: &[IpNet], peer: IpAddr) -> Result<(), Cause> {
    let peer = peer.to_canonical();
    if allowed.is_empty() || allowed.iter().any(|net| net.contains(&peer)) {
        Ok(())
    } else {
        Err(Cause::Address)
    }
}
