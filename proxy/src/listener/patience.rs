//! How a client that is refused again and again is slowed down, each connection by itself: some
//! refusals in a row are told at once, further ones at a bounded rate, so that a flood of them takes
//! the processor from nobody. A request that is admitted makes up for them all. Pure: the time is an
//! argument. Which answers count, and the waiting, is for the gateway.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Refusals in a row that are told at once.
pub const FREE: u64 = 20;

/// Most that are held back at a time: as many as an HTTP/2 connection may have requests. Only one
/// that resets its requests meanwhile has more; those are answered at once, to hold nothing for it.
const MOST: u64 = 32;

/// What is remembered of one connection's refusals.
#[derive(Debug)]
pub struct Patience {
    began: Instant,
    /// When all refusals in a row would have been told one after the other, in microseconds since
    /// `began`; 0: there are none.
    paid: AtomicU64,
    /// Where in a step this connection's answers fall, in 65,536ths of one.
    phase: u16,
}

impl Patience {
    /// Of a new connection. Connections of one flood begin together, and would be answered together
    /// again and again; successive ports make phases that lie evenly apart.
    pub fn new(peer: SocketAddr, now: Instant) -> Self {
        // The golden ratio's part of 65,536.
        let phase = peer.port().wrapping_mul(40_503);
        Self { began: now, paid: AtomicU64::new(0), phase }
    }

    /// A request was admitted.
    pub fn restore(&self) {
        if self.paid.load(Ordering::Relaxed) != 0 {
            self.paid.store(0, Ordering::Relaxed);
        }
    }

    /// A request is refused at `now`. Gives how long to hold the answer back, so that in the long
    /// run `per_second` are told; 0: all at once.
    pub fn refuse(&self, per_second: u32, now: Instant) -> Duration {
        let Some(step) = 1_000_000_u64.checked_div(per_second.into()) else {
            return Duration::ZERO;
        };
        let since = now.saturating_duration_since(self.began);
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2);
        let mut held = 0;
        let _ = self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| {
            let next = paid.max(now) + step;
            held = (next - now).saturating_sub(FREE * step);
            if held > MOST * step {
                held = 0;
                return None;
            }
            Some(next)
        });
        if held > 0 {
            held += (step * u64::from(self.phase)) >> u16::BITS;
        }
        Duration::from_micros(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> (Patience, Instant) {
        let now = Instant::now();
        (Patience::new(([192, 0, 2, 1], port).into(), now), now)
    }

    #[test]
    fn a_caller_that_asks_again_at_once_gets_its_rate_and_no_more() {
        for port in [0, 1, 40_000] {
            let (patience, start) = at(port);
            let (mut now, mut told) = (start, 0);
            while now < start + Duration::from_secs(100) {
                now += patience.refuse(10, now) + Duration::from_micros(100);
                told += 1;
            }
            assert!((1_010..=1_020).contains(&told), "{told}");
        }
    }

    #[test]
    fn nobody_is_held_back_below_the_rate_or_before_it_shows() {
        let (patience, start) = at(40_000);
        let tenth = Duration::from_millis(100);
        assert!((0..1_000).all(|i| patience.refuse(10, start + tenth * i).is_zero()));
        let (patience, start) = at(40_000);
        assert!((0..FREE).all(|_| patience.refuse(10, start).is_zero()));
        assert!(!patience.refuse(10, start).is_zero());
        patience.restore();
        assert!((0..FREE).all(|_| patience.refuse(10, start).is_zero()), "a good request counts");
        assert!((0..1_000).all(|_| patience.refuse(0, start).is_zero()), "0: never");
    }

    #[test]
    fn requests_at_once_are_told_one_after_the_other_and_no_more_than_those_are_held() {
        let (patience, start) = at(0);
        let held: Vec<_> = (0..1_000).map(|_| patience.refuse(10, start)).collect();
        let (first, rest) = held.split_at(20);
        let (waiting, resetting) = rest.split_at(32);
        assert!(first.iter().chain(resetting).all(Duration::is_zero));
        let tenth = Duration::from_millis(100);
        assert!((1..).zip(waiting).all(|(i, held)| *held == tenth * i), "{waiting:?}");
        // A second later ten have been told, and there is room for as many.
        let later = (0..1_000).filter(|_| !patience.refuse(10, start + tenth * 10).is_zero());
        assert_eq!(later.count(), 10);
    }

    #[test]
    fn connections_that_begin_together_are_answered_apart() {
        let mut told: Vec<_> = (0..64)
            .map(|n| {
                let (patience, start) = at(40_000 + n);
                (0..=FREE).map(|_| patience.refuse(10, start)).last().expect("some")
            })
            .collect();
        told.sort();
        assert!(told.windows(2).all(|two| two[1] - two[0] > Duration::from_micros(500)));
        assert!(told[63] - told[0] > Duration::from_millis(90));
    }
}
