//! The one hash map of this crate: seeded from the tape, for look-up only: it cannot be walked, so that no order of it
//! can reach what is told (I5).

use std::hash::Hash;

use hashbrown::HashMap;

/// Hashes with the engine's seed. Keys come from the network: the seed is random per installation.
pub type State = foldhash::fast::FixedState;

/// A map for look-up only.
#[derive(Debug, Clone)]
pub struct Map<K, V>(HashMap<K, V, State>);

impl<K: Eq + Hash, V> Map<K, V> {
    /// An empty map.
    #[must_use]
    pub const fn new(state: State) -> Self {
        Self(HashMap::with_hasher(state))
    }

    /// What a key has.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// What a key has, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// What a key has; `new`, put in now, if it had nothing.
    pub fn get_or_insert(&mut self, key: K, new: V) -> &mut V {
        self.0.entry(key).or_insert(new)
    }

    /// Whether a key has something.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Gives a key something; what it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes a key out; what it had.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// Takes out what `keeps` does not want. It is asked in no order and must only answer.
    #[expect(clippy::disallowed_methods, reason = "the closure only answers")]
    pub fn retain(&mut self, keeps: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(keeps);
    }

    /// Takes everything out, and gives the room back.
    pub fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to_fit();
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An empty map.
#[must_use]
pub fn map<K: Eq + Hash, V>(seed: u64) -> Map<K, V> {
    Map::new(State::with_seed(seed))
}
