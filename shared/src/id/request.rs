//! Ids of requests, of which there are many: made of a time that is at hand and of random bits that
//! cost no more than a few multiplications. Nobody is let in by a request's id, so that they need
//! not be unforeseeable; all other ids are made of the system's randomness.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use super::{RequestId, named};

thread_local! {
    static SOURCE: Source = Source::new();
}

/// One thread's.
struct Source {
    random: Cell<u64>,
    last: Cell<u128>,
}

impl Source {
    fn new() -> Self {
        let random = RandomState::new().hash_one(std::thread::current().id());
        Self { random: Cell::new(random), last: Cell::new(0) }
    }

    /// `SplitMix64`.
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A UUID of version 7: milliseconds, their 4,096ths, random bits. Above the last one, also
    /// when the clock stands still or is set back.
    fn next(&self, micros: u64) -> u128 {
        let (ms, part) = (micros / 1_000, (micros % 1_000) * 4_096 / 1_000);
        let time = ms << 16 | 7 << 12 | part;
        let low = 0b10 << 62 | self.random() >> 2;
        let id = (u128::from(time) << 64 | u128::from(low)).max(self.last.get() + 1);
        self.last.set(id);
        id
    }
}

impl RequestId {
    /// Of a request that came at `now` (microseconds since the epoch). Later in order than every id
    /// that this thread made so before.
    pub fn at(now: i64) -> Self {
        let now = u64::try_from(now).unwrap_or(0);
        Self(named(Self::PREFIX, SOURCE.with(|source| source.next(now))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: i64 = 1_700_000_000_123_456;

    #[test]
    fn ids_of_requests_are_of_one_form_with_all_others_and_sort_by_creation() {
        let ids: Vec<RequestId> =
            [0, 0, 1, 1_000, 999, -5_000_000].map(|later| RequestId::at(NOW + later)).into();
        assert!(ids.iter().all(|id| id.as_str().len() == RequestId::new().as_str().len()));
        assert!(ids.is_sorted() && ids[0] < RequestId::new());
        let id = Source::new().next(NOW.cast_unsigned());
        assert_eq!(uuid::Uuid::from_u128(id).get_version_num(), 7);
        assert_eq!(id >> 80, 1_700_000_000_123);
    }

    #[test]
    fn threads_make_no_id_twice_in_one_moment() {
        let threads = (0..8).map(|_| {
            std::thread::spawn(|| (0..5_000).map(|_| RequestId::at(NOW)).collect::<Vec<_>>())
        });
        let threads: Vec<_> = threads.collect();
        let ids: HashSet<RequestId> =
            threads.into_iter().flat_map(|it| it.join().expect("no panic")).collect();
        assert_eq!(ids.len(), 40_000);
    }
}
