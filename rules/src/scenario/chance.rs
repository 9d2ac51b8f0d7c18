//! Chance in scenarios: the same each time for a seed, and another for each run of each line.

use std::hash::{BuildHasher, Hash};

use crate::map::State;

/// A seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(pub u64);

impl Chance {
    /// A number from 0 to `most`, each as likely; `place` tells which.
    pub fn up_to(self, most: u64, place: impl Hash) -> u64 {
        let drawn = State::with_seed(self.0).hash_one(place);
        let scaled = (u128::from(drawn) * (u128::from(most) + 1)) >> 64;
        u64::try_from(scaled).unwrap_or(most)
    }

    /// So many bytes, up to `vary` per cent more or less.
    pub fn vary(self, bytes: u64, vary: u8, place: impl Hash) -> u64 {
        let percent = 100 - u64::from(vary.min(100)) + self.up_to(2 * u64::from(vary), place);
        let varied = u128::from(bytes) * u128::from(percent) / 100;
        u64::try_from(varied).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_even_and_come_again() {
        let drawn = |seed| (0..6_000).map(move |n| Chance(seed).up_to(5, n));
        for face in 0..=5 {
            let hits = drawn(1).filter(|drawn| *drawn == face).count();
            assert!((900..1_100).contains(&hits), "{face}: {hits}");
        }
        assert!(drawn(1).eq(drawn(1)));
        assert!(!drawn(1).eq(drawn(2)));
    }

    #[test]
    fn amounts_stay_within_their_bounds() {
        let amounts: Vec<u64> = (0..1_000).map(|n| Chance(7).vary(1_000, 30, n)).collect();
        assert_eq!(amounts.iter().min(), Some(&700));
        assert_eq!(amounts.iter().max(), Some(&1_300));
        assert_eq!(Chance(7).vary(1_000, 0, 1), 1_000);
    }
}
