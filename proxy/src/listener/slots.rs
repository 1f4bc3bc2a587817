//! How many connections may be open, in total and from one address, so that one client can't take
//! the room of all others. IPv6 clients count by /64, which is what one of them commonly has. What
//! a connection may do is not asked here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Total,
    Address,
}

impl Full {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

/// The room there is.
pub struct Slots {
    open: IntGauge,
    taken: Mutex<Taken>,
}

/// What is taken of it, and the bounds; 0 stands for none.
#[derive(Default)]
struct Taken {
    most: usize,
    most_of_address: usize,
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, given back when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub fn new(total: usize, per_address: usize, open: IntGauge) -> Arc<Self> {
        let slots = Self { open, taken: Mutex::default() };
        slots.bound(total, per_address);
        Arc::new(slots)
    }

    /// Sets both bounds. What is open beyond a lower one stays.
    pub fn bound(&self, total: usize, per_address: usize) {
        let mut taken = self.taken.lock();
        (taken.most, taken.most_of_address) = (total, per_address);
    }

    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Full> {
        let address = client(address);
        let mut taken = self.taken.lock();
        if taken.most != 0 && taken.total >= taken.most {
            return Err(Full::Total);
        }
        let most = taken.most_of_address;
        let of_address = taken.by_address.entry(address).or_insert(0);
        // Never 0 here when refused, so no entry is left behind.
        if most != 0 && *of_address >= most {
            return Err(Full::Address);
        }
        *of_address += 1;
        taken.total += 1;
        self.open.inc();
        Ok(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.total -= 1;
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        self.slots.open.dec();
    }
}

/// What counts as one client.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(total: usize, per_address: usize) -> Arc<Slots> {
        Slots::new(total, per_address, IntGauge::new("open", "open").expect("a gauge"))
    }

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let slots = slots(3, 2);
        let first = slots.take(at("192.0.2.1")).expect("room");
        let _second = slots.take(at("::ffff:192.0.2.1")).expect("room");
        assert_eq!(slots.take(at("192.0.2.1")).err(), Some(Full::Address));
        let third = slots.take(at("192.0.2.2")).expect("room");
        assert_eq!(slots.take(at("192.0.2.3")).err(), Some(Full::Total));
        drop(third);
        assert_eq!(slots.take(at("192.0.2.1")).err(), Some(Full::Address));
        drop(first);
        let _first = slots.take(at("192.0.2.1")).expect("room again");
        assert_eq!((slots.open.get(), slots.taken.lock().by_address.len()), (2, 1));
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let slots = slots(0, 1);
        let _one = slots.take(at("2001:db8:1:2::1")).expect("room");
        assert_eq!(slots.take(at("2001:db8:1:2:ffff::9")).err(), Some(Full::Address));
        assert!(slots.take(at("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn a_changed_bound_holds_from_the_next_connection_on() {
        let slots = slots(2, 0);
        let taken = [slots.take(at("192.0.2.1")), slots.take(at("192.0.2.1"))];
        slots.bound(1, 1);
        assert_eq!(slots.take(at("192.0.2.1")).err(), Some(Full::Total));
        drop(taken);
        let _one = slots.take(at("192.0.2.1")).expect("room again");
        slots.bound(2, 1);
        assert_eq!(slots.take(at("192.0.2.1")).err(), Some(Full::Address));
    }

    #[test]
    fn nothing_means_no_bound() {
        let slots = slots(0, 0);
        let taken: Vec<_> = (0..100).map(|_| slots.take(at("192.0.2.1"))).collect();
        assert!(taken.iter().all(Result::is_ok));
    }
}
