//! Where a request to sign in comes from: its address, and what the client says it is. Addresses
//! that an account has signed in from are remembered, so that a stranger's wrong guesses can't keep
//! the owner out (`throttle`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use authsome_shared::id::UserId;
use chrono::TimeDelta;

use crate::actor::Origin;
use crate::db::Tx;
use crate::{execute, fetch_optional};

/// Longest part of a `User-Agent` that is kept, in characters.
const MAX_AGENT: usize = 200;

/// An address that an account has not signed in from for this long is a stranger's again.
const REMEMBERED: TimeDelta = TimeDelta::days(90);

/// The client of a sign-in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    pub origin: Origin,
    /// Printable and short.
    pub user_agent: Option<String>,
}

impl Device {
    pub fn new(origin: Origin, user_agent: Option<&str>) -> Self {
        let clean = |text: &str| -> String {
            text.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect()
        };
        Self { origin, user_agent: user_agent.map(clean).filter(|text| !text.is_empty()) }
    }

    /// The platform itself is at home.
    pub fn address(&self) -> IpAddr {
        self.origin.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// What is remembered of the address, and what guesses are counted by.
    pub fn network(&self) -> IpAddr {
        network(self.address())
    }
}

/// One customer holds a whole IPv6 /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

/// The account signed in from there.
pub async fn remember(tx: &mut Tx, user: &UserId, device: &Device) -> sqlx::Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into known_addresses (user_id, address, last_seen_at) values ($1, $2, $3) \
             on conflict (user_id, address) do update set last_seen_at = excluded.last_seen_at"
        )
        .bind(user)
        .bind(device.network().to_string())
        .bind(now)
    )?;
    Ok(())
}

/// Has the account of this e-mail address signed in from there lately?
pub async fn is_known(tx: &mut Tx, email: &str, device: &Device) -> sqlx::Result<bool> {
    let since = tx.now() - REMEMBERED;
    let row: Option<(String,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select known_addresses.address from known_addresses \
             join users on users.id = known_addresses.user_id \
             where users.email = $1 and known_addresses.address = $2 \
             and known_addresses.last_seen_at > $3"
        )
        .bind(email)
        .bind(device.network().to_string())
        .bind(since)
    )?;
    Ok(row.is_some())
}

/// Forgets addresses that were not signed in from for long.
pub async fn prune(tx: &mut Tx) -> sqlx::Result<u64> {
    let before = tx.now() - REMEMBERED;
    let delete = "delete from known_addresses where last_seen_at <= $1";
    execute!(tx, sqlx::query(delete).bind(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_is_cut_to_size() {
        let address = Some("2001:db8::7".parse().unwrap());
        let origin = Origin { address, request_id: None };
        let device = Device::new(origin.clone(), Some(&"x\u{7}y".repeat(500)));
        assert_eq!(device.user_agent.as_ref().unwrap().len(), MAX_AGENT);
        assert!(!device.user_agent.unwrap().contains('\u{7}'));
        assert_eq!(Device::new(origin.clone(), Some("\u{1}")).user_agent, None);
        assert_eq!(Device::new(origin.clone(), None).network().to_string(), "2001:db8::");
    }
}
