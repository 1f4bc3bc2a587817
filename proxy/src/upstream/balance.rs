//! Which of an application's URLs is next, as functions of what is known of them. A set of URLs is
//! a bit mask over their places, of which there are at most [`MOST`].

/// URLs an application may have.
pub const MOST: usize = 16;

/// Places of URLs, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places(pub u16);

impl Places {
    pub const NONE: Self = Self(0);

    pub fn first(count: usize) -> Self {
        (0..count).fold(Self::NONE, Self::with)
    }

    pub fn with(self, place: usize) -> Self {
        Self(self.0 | 1 << (place % MOST))
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn has(self, place: usize) -> bool {
        self.0 & 1 << (place % MOST) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST).filter(move |place| self.has(*place))
    }
}

/// Smooth weighted round robin (nginx's): each turn everyone gains its weight, the richest is
/// taken and pays what all gained. Shares are exact over a round, and spread within it.
pub fn in_turn(credit: &mut [i64], weights: &[u32], among: Places) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    let count = credit.len();
    for place in among.iter().take_while(|place| *place < count) {
        let weight = i64::from(weights[place]);
        credit[place] += weight;
        total += weight;
        if best.is_none_or(|best| credit[place] > credit[best]) {
            best = Some(place);
        }
    }
    credit[best?] -= total;
    best
}

/// The one with the fewest requests under way for its weight. `turn` decides between equals, so
/// that an idle fleet is not all sent to the first.
pub fn least(
    under_way: impl Fn(usize) -> usize,
    weights: &[u32],
    among: Places,
    turn: usize,
) -> Option<usize> {
    let count = weights.len();
    (0..count).map(|i| turn.wrapping_add(i) % count).filter(|place| among.has(*place)).min_by(
        |a, b| {
            // (n + 1) / weight, compared without a division.
            let load = |place: usize| under_way(place) as u128 + 1;
            (load(*a) * u128::from(weights[*b])).cmp(&(load(*b) * u128::from(weights[*a])))
        },
    )
}

/// Weighted rendezvous hashing: every URL draws a score for the subject, and the highest has it.
/// When one URL goes, only its subjects move; when it returns, they return.
pub fn by_hash(subject: u64, urls: &[u64], weights: &[u32], among: Places) -> Option<usize> {
    let score = |place: usize| {
        let drawn = mix(subject ^ urls[place]) >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = (drawn as f64 + 0.5) / (1_u64 << 53) as f64;
        f64::from(weights[place]) / -uniform.ln()
    };
    among
        .iter()
        .take_while(|place| *place < urls.len())
        .max_by(|a, b| score(*a).total_cmp(&score(*b)))
}

/// A text's hash that is the same on every proxy, in every release (FNV-1a).
pub fn hash(text: &(impl AsRef<[u8]> + ?Sized)) -> u64 {
    mix(text.as_ref().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// Spreads a hash over all bits (the finaliser of `SplitMix64`).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
#[path = "balance/tests.rs"]
mod tests;
