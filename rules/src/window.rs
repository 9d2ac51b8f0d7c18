//! One sliding window of one key: sparse slots, so that a quiet key costs next to nothing.

use crate::event::Stamp;

/// A window is cut into this many slots. It covers the running slot and these before it, so at least its length
/// and at most a sixtieth more: it never fires later than an exact one.
pub const SLOTS: i64 = 60;

/// Amounts by slot. Its length is not stored here: it belongs to all keys of a tally.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    slots: Vec<Slot>,
    sum: u64,
}

/// Twelve bytes, not sixteen: there are millions. The number is the slot's since the boot, in slots (16 ms and more,
/// so it holds for a year of the smallest); the amount is in two halves for the sake of alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    number: i32,
    low: u32,
    high: u32,
}

impl Slot {
    fn new(number: i64, amount: u64) -> Self {
        let number = i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX });
        Self {
            number,
            low: amount as u32,
            high: (amount >> 32) as u32,
        }
    }

    fn number(self) -> i64 {
        i64::from(self.number)
    }

    fn amount(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

impl Window {
    /// Adds `amount` at `at` and lets go of what is too old.
    pub fn add(&mut self, length: i64, at: Stamp, amount: u64) {
        let slot = slot(length, at);
        self.forget(slot);
        match self.slots.last_mut() {
            Some(last) if last.number() >= slot => {
                *last = Slot::new(last.number(), last.amount().saturating_add(amount));
            }
            _ => {
                if self.slots.len() == self.slots.capacity() {
                    // Doubling would waste half of a table with 100,000 keys.
                    let more = if self.slots.is_empty() { 1 } else { 2 };
                    self.slots.reserve_exact(more);
                }
                self.slots.push(Slot::new(slot, amount));
            }
        }
        self.sum = self.sum.saturating_add(amount);
    }

    /// The amount in the window that ends at `at`.
    #[must_use]
    pub fn sum_at(&self, length: i64, at: Stamp) -> u64 {
        let oldest = slot(length, at) - SLOTS;
        let gone: u64 = self
            .slots
            .iter()
            .take_while(|slot| slot.number() < oldest)
            .map(|slot| slot.amount())
            .sum();
        self.sum.saturating_sub(gone)
    }

    /// The amount after the last `add`.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether nothing was added since it was made.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that its slots take, for the benchmark.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// When nothing will be left in it, if nothing more comes.
    #[must_use]
    pub fn end(&self, length: i64) -> Option<Stamp> {
        let last = self.slots.last()?.number();
        Some(end_of_slot(length, last))
    }

    /// The slots as (start of the slot, amount), to be kept across a restart.
    pub fn parts(&self, length: i64) -> impl Iterator<Item = (Stamp, u64)> + '_ {
        let width = width(length);
        self.slots
            .iter()
            .map(move |slot| (Stamp(slot.number().saturating_mul(width)), slot.amount()))
    }

    fn forget(&mut self, slot: i64) {
        let old = self
            .slots
            .iter()
            .take_while(|held| held.number() < slot - SLOTS)
            .count();
        for gone in self.slots.drain(..old) {
            self.sum = self.sum.saturating_sub(gone.amount());
        }
    }
}

/// The width of a slot, nanoseconds.
#[must_use]
pub const fn width(length: i64) -> i64 {
    if length < SLOTS { 1 } else { length / SLOTS }
}

/// When nothing will be left in a window of `length` that got something at `at` last.
#[must_use]
pub const fn end(length: i64, at: Stamp) -> Stamp {
    end_of_slot(length, slot(length, at))
}

const fn end_of_slot(length: i64, slot: i64) -> Stamp {
    Stamp((slot + SLOTS + 1).saturating_mul(width(length)))
}

/// After this long without an addition, nothing is left in a window of `length`, nanoseconds.
#[must_use]
pub const fn life(length: i64) -> i64 {
    width(length).saturating_mul(SLOTS + 1)
}

const fn slot(length: i64, at: Stamp) -> i64 {
    at.0.div_euclid(width(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Between the exact sum over W and the exact sum over W + W/60, at every addition; with long silences.
        #[test]
        fn between_exact_windows(steps in prop::collection::vec((0i64..5_000, 1u64..100), 1..200), jump in 1i64..400) {
            let length = 6_000;
            let mut window = Window::default();
            let mut at = Stamp(-50_000);
            let mut all: Vec<(i64, u64)> = Vec::new();
            for (index, (wait, amount)) in steps.into_iter().enumerate() {
                at = at.plus(if index % 7 == 0 { wait * jump } else { wait / 50 });
                window.add(length, at, amount);
                all.push((at.0, amount));
                let exact = |length: i64| all.iter().filter(|(then, _)| *then > at.0 - length).map(|(_, n)| n).sum::<u64>();
                prop_assert!(window.sum() >= exact(length), "{} < {}", window.sum(), exact(length));
                prop_assert!(window.sum() <= exact(length + length / 60 + 1));
                prop_assert_eq!(window.sum(), window.sum_at(length, at));
            }
            prop_assert_eq!(window.sum_at(length, at.plus(life(length))), 0);
        }
    }
}
