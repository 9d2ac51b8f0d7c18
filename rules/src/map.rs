//! The one hash map of this crate: seeded from the tape, for look-up only (iterating one is denied by lint, I5).

use hashbrown::HashMap;

/// Hashes with the engine's seed. Keys come from the network: the seed is random per installation.
pub type State = foldhash::fast::FixedState;
/// A map for look-up only.
pub type Map<K, V> = HashMap<K, V, State>;

/// An empty map.
#[must_use]
pub fn map<K, V>(seed: u64) -> Map<K, V> {
    HashMap::with_hasher(State::with_seed(seed))
}
