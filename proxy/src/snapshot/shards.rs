//! A copy-on-write hash map in shards: a clone shares every shard, and a change copies only the
//! one it falls into. Values should be cheap to clone.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

/// Takes the first eight bytes of what is hashed as they are: for keys that are digests already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity(u64);

pub type Hashed = BuildHasherDefault<Identity>;

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// A slice's length comes first, and says nothing here.
    fn write_usize(&mut self, _: usize) {}
}

/// For ids that the control plane makes: they end in random characters, and nobody can choose them
/// so that they collide.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tail(u64);

pub type ById = BuildHasherDefault<Tail>;

impl Hasher for Tail {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last),
            None => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        // Between them, a product's halves depend on every bit of the word.
        let (low, high) = (self.0 ^ word).carrying_mul(0x9e37_79b9_7f4a_7c15, 0);
        self.0 = low ^ high;
    }

    /// A text's end says nothing here.
    fn write_u8(&mut self, _: u8) {}
}

#[derive(Debug, Clone)]
pub struct Shards<K, V, S = RandomState> {
    parts: Arc<[Arc<HashMap<K, V, S>>]>,
    hasher: S,
    len: usize,
}

impl<K: Hash + Eq + Clone, V: Clone, S: BuildHasher + Default + Clone> Shards<K, V, S> {
    /// In `count` shards, at least one.
    pub fn new(count: usize) -> Self {
        let empty = Arc::new(HashMap::with_hasher(S::default()));
        let parts = vec![empty; count.max(1)].into();
        Self { parts, hasher: S::default(), len: 0 }
    }

    /// Makes room for so many in all: growing with them would leave holes of half that size.
    pub fn reserve(&mut self, total: usize) {
        let each = total / self.parts.len();
        for shard in Arc::make_mut(&mut self.parts) {
            Arc::make_mut(shard).reserve(each);
        }
    }

    fn index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The middle bits: the map inside takes the low and the top ones.
        let hash = (self.hasher.hash_one(key) >> 20) & u64::from(u32::MAX);
        usize::try_from((hash * self.parts.len() as u64) >> 32).expect("less than a length")
    }

    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.parts[self.index(key)].get(key)
    }

    /// The key itself that is kept, where it holds more than makes it equal.
    pub fn get_name<Q>(&self, key: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.parts[self.index(key)].get_key_value(key).map(|(key, _)| key)
    }

    /// Where an equal key is kept, that stays; the value is replaced.
    pub fn insert(&mut self, key: K, value: V) {
        let index = self.index(&key);
        let shard = Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[index]);
        if shard.insert(key, value).is_none() {
            self.len += 1;
        }
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let index = self.index(key);
        if !self.parts[index].contains_key(key) {
            return None;
        }
        let removed = Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[index]).remove(key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Every value, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    /// Every key, in no order.
    pub fn names(&self) -> impl Iterator<Item = &K> {
        self.parts.iter().flat_map(|part| part.keys())
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clone_does_not_see_later_changes() {
        let mut map: Shards<u32, u32> = Shards::new(8);
        map.insert(1, 1);
        let before = map.clone();
        map.insert(1, 2);
        map.insert(2, 2);
        map.remove(&9);
        assert_eq!((before.get(&1), before.get(&2), before.len()), (Some(&1), None, 1));
        assert_eq!((map.get(&1), map.get(&2), map.len()), (Some(&2), Some(&2), 2));
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(steps in prop::collection::vec((any::<bool>(), any::<[u8; 2]>()), 0..200)) {
            let mut map: Shards<[u8; 32], usize, Hashed> = Shards::new(4);
            let mut model = HashMap::new();
            for (i, (insert, seed)) in steps.into_iter().enumerate() {
                let mut key = [0; 32];
                key[..2].copy_from_slice(&seed);
                key[4..7].copy_from_slice(&[seed[0], seed[1], seed[0]]);
                if insert {
                    map.insert(key, i);
                    model.insert(key, i);
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(map.len(), model.len());
            }
            for (key, value) in model {
                prop_assert_eq!(map.get(&key), Some(&value));
            }
        }
    }
}
