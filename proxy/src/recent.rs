//! The latest decisions, for `GET /explain/{requestId}` on the admin listener: a bounded memory that
//! is overwritten from its oldest end. Half of it is for requests that were refused or failed, so
//! that a flood of good ones does not displace those that somebody asks about.
//!
//! A request id chooses one of many shards, each behind a lock that is held for a copy of a few
//! hundred bytes: two requests seldom meet, and a look-up reads one shard. What is kept is lost with
//! the process; the access log is what lasts.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::decision::Decision;

/// Of each half.
const SHARDS: usize = 32;

/// The least memory that is of use: a shard must hold the longest decision.
pub const LEAST_BYTES: u64 = 1024 * 1024;

/// Bytes before each decision: its length.
const PREFIX: usize = 4;

pub struct Recent {
    /// By whether it was refused or failed. Empty: nothing is kept.
    halves: [Box<[Mutex<Shard>]>; 2],
}

struct Shard {
    bytes: VecDeque<u8>,
    limit: usize,
    /// Something has been overwritten.
    full: bool,
}

/// What a look-up found.
pub struct Found {
    /// The decision's bytes.
    pub decision: Option<Vec<u8>>,
    /// Since when every decision with such an id is kept, in microseconds since the epoch: those
    /// that were refused or failed, and the others. `None`: since the start.
    pub since: [Option<i64>; 2],
}

impl Recent {
    /// Keeps at most `max_bytes`; 0: nothing.
    pub fn new(max_bytes: u64) -> Self {
        let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX) / (2 * SHARDS);
        let shard = || Mutex::new(Shard { bytes: VecDeque::new(), limit, full: false });
        let half = || match limit {
            0 => Box::default(),
            _ => (0..SHARDS).map(|_| shard()).collect(),
        };
        Self { halves: [half(), half()] }
    }

    pub fn is_on(&self) -> bool {
        !self.halves[0].is_empty()
    }

    /// Keeps the bytes of a decision about request `id`.
    pub fn keep(&self, id: &[u8], refused: bool, decision: &[u8]) {
        if let Some(shard) = self.halves[usize::from(!refused)].get(place(id)) {
            shard.lock().push(decision);
        }
    }

    pub fn find(&self, id: &[u8]) -> Found {
        let mut found = Found { decision: None, since: [None, None] };
        for (half, since) in self.halves.iter().zip(&mut found.since) {
            let Some(shard) = half.get(place(id)) else { continue };
            // A copy, so that the lock is held for no search.
            let (bytes, full) = {
                let shard = shard.lock();
                (shard.bytes.iter().copied().collect::<Vec<u8>>(), shard.full)
            };
            let mut all = Records(&bytes).peekable();
            if full {
                *since = all.peek().and_then(|it| Decision::read_name(it)).map(|(time, _)| time);
            }
            // The newest, should a client make us see one id twice.
            let matching = all.filter(|it| Decision::read_name(it).is_some_and(|it| it.1 == id));
            if let Some(decision) = matching.last() {
                found.decision = Some(decision.to_vec());
            }
        }
        found
    }

    /// Bytes that are in use.
    pub fn bytes(&self) -> usize {
        self.halves.iter().flatten().map(|shard| shard.lock().bytes.len()).sum()
    }
}

impl Shard {
    fn push(&mut self, decision: &[u8]) {
        let needed = PREFIX + decision.len();
        let Some(room) = self.limit.checked_sub(needed) else { return };
        while self.bytes.len() > room {
            let mut length = [0; PREFIX];
            for (to, from) in length.iter_mut().zip(&self.bytes) {
                *to = *from;
            }
            let oldest = PREFIX + u32::from_le_bytes(length) as usize;
            self.bytes.drain(..oldest.min(self.bytes.len()));
            self.full = true;
        }
        let Ok(length) = u32::try_from(decision.len()) else { return };
        if self.bytes.capacity() < self.limit {
            // At once: growing would take up to twice the limit. Pages are taken as they are used.
            self.bytes.reserve_exact(self.limit - self.bytes.len());
        }
        self.bytes.extend(&length.to_le_bytes());
        self.bytes.extend(decision);
    }
}

/// Ids end in random characters.
fn place(id: &[u8]) -> usize {
    let end = id.last_chunk::<4>().map_or(0, |end| u32::from_le_bytes(*end));
    (end.wrapping_mul(0x9e37_79b1) >> 16) as usize % SHARDS
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<PREFIX>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use authsome_shared::id::RequestId;

    use super::*;

    fn decision(id: &str, time: i64) -> Vec<u8> {
        let decision = Decision { request_id: id.into(), time, ..Decision::default() };
        let mut bytes = Vec::new();
        decision.write(&mut bytes);
        bytes
    }

    fn found(recent: &Recent, id: &str) -> Option<i64> {
        let decision = recent.find(id.as_bytes()).decision?;
        Decision::read(&decision).map(|it| it.time)
    }

    #[test]
    fn the_latest_are_found_within_the_bound() {
        let recent = Recent::new(LEAST_BYTES);
        let ids: Vec<String> = (0..40_000).map(|_| RequestId::new().to_string()).collect();
        for (time, id) in (0..).zip(&ids) {
            recent.keep(id.as_bytes(), false, &decision(id, time));
        }
        let bound = usize::try_from(LEAST_BYTES).expect("small");
        let bytes = recent.bytes();
        assert!(bytes <= bound / 2 && bytes > bound / 3, "{bytes}");
        assert_eq!(found(&recent, &ids[39_999]), Some(39_999));
        assert_eq!(found(&recent, &ids[0]), None);
        let since = recent.find(ids[0].as_bytes()).since;
        assert_eq!(since[0], None, "nothing refused was displaced");
        let since = usize::try_from(since[1].expect("some were displaced")).expect("a place");
        for (time, id) in ids
            .iter()
            .enumerate()
            .filter(|(_, id)| place(id.as_bytes()) == place(ids[0].as_bytes()))
        {
            assert_eq!(found(&recent, id).is_some(), time >= since, "{time}, kept since {since}");
        }
    }

    #[test]
    fn a_flood_of_good_requests_displaces_no_refusal() {
        let recent = Recent::new(LEAST_BYTES);
        let refused = RequestId::new().to_string();
        recent.keep(refused.as_bytes(), true, &decision(&refused, 1));
        for time in 2..40_000 {
            let id = RequestId::new().to_string();
            recent.keep(id.as_bytes(), false, &decision(&id, time));
        }
        assert_eq!(found(&recent, &refused), Some(1));
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let recent = Recent::new(0);
        recent.keep(b"req_1", true, &decision("req_1", 1));
        assert!(!recent.is_on());
        assert_eq!(found(&recent, "req_1"), None);
        let recent = Recent::new(LEAST_BYTES);
        recent.keep(b"req_1", true, &vec![0; 1024 * 1024]);
        assert_eq!(recent.bytes(), 0, "one that is larger than a shard is not kept");
    }
}
