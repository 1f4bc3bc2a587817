//! Chance that can be had again: the same seed throws the same numbers.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::env;

pub struct Dice(u64);

impl Dice {
    /// From the seed that the environment asks for, else from any. Says which.
    pub fn throw() -> Self {
        let seed = env::number(env::CHAOS_SEED)
            .unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000);
        eprintln!("chance: {}={seed}", env::CHAOS_SEED);
        Self(seed)
    }

    /// `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).expect("an index")]
    }
}
