//! What is counted per key: shared by all limits with the same measure, selection and grouping, in a window each.

use std::net::IpAddr;

use slab::Slab;

use crate::bucket::EngineClock;
use crate::deadline::{Deadlines, Due};
use crate::event::Stamp;
use crate::key::{Key, OTHER_KEY};
use crate::measure::{Definition, How, definition};
use crate::observation::Observation;
use crate::rule::{Amount, KeyField, Limit, Rule};
use crate::select::Select;

mod count;
mod index;

pub use count::Count;
use index::Index;

/// Keys of a tally at the most; beyond, they merge into `other` and are counted.
pub const KEYS_LIMIT: usize = 131_072;
/// Who and where to is remembered from this share of the smallest limit on: quiet keys stay small.
const TRAIL_SHARE: u64 = 16;
/// A window of this length or more is a budget, nanoseconds: 10 min.
const BUDGET: i64 = 600 * crate::event::SECOND;

/// One thing counted, per key.
#[derive(Debug)]
pub struct Tally {
    /// Number of this tally.
    pub number: u32,
    /// What is counted.
    pub definition: &'static Definition,
    /// Of what.
    pub select: Select,
    /// Per what.
    pub by: Vec<KeyField>,
    /// Rate and burst, for `rate`.
    pub rate: Option<Amount>,
    /// The same text for the same tally in any run of the agent: rows and reloads know it by this.
    pub signature: String,
    /// Over how long.
    pub lengths: Vec<Length>,
    /// Keys that were merged into `other`.
    pub merged: u64,
    /// What is counted are bytes.
    bytes: bool,
    /// The rule selects or groups by store.
    pub by_store: bool,
    cells: Slab<Cell>,
    by_key: Index,
    /// Totals of new cells begin here, above any that was told of a cell that is gone.
    base: u64,
    dirty: Vec<u32>,
    gone: Vec<(Key, u32)>,
    clock: EngineClock,
}

/// One of a tally's windows, and who looks at it.
#[derive(Debug)]
pub struct Length {
    /// How long, nanoseconds.
    pub window: i64,
    /// Limits that look at it: (rule, limit).
    pub limits: Vec<(u32, u32)>,
    /// The smallest of those limits, units.
    pub smallest: u64,
    /// It is a budget: kept across restarts.
    pub keeps: bool,
}

/// Where a limit is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// In which tally.
    pub tally: u32,
    /// In which of its windows.
    pub length: u32,
}

/// What was counted for one key.
#[derive(Debug)]
pub struct Cell {
    /// The key.
    pub key: Key,
    /// One for each of the tally's lengths.
    pub counts: Box<[Count]>,
    dirty: bool,
}

/// What there is to count of an observation.
#[derive(Debug, Clone, Copy)]
pub enum Addition {
    /// So many units.
    Amount(u64),
    /// A thing that counts once.
    Item(IpAddr),
    /// An hour that counts once.
    Hour,
}

/// What an addition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The key, which may be `other`.
    pub key: Key,
    /// What was added.
    pub amount: u64,
    /// The amount in the window.
    pub sum: u64,
    /// The total ever.
    pub total: u64,
    /// The bucket overflowed (`rate` only).
    pub over: bool,
}

impl Tally {
    /// An empty tally for limits like this one of a rule; lengths are added one by one.
    #[must_use]
    pub fn new(seed: u64, number: u32, rule: &Rule, limit: &Limit, select: Select) -> Self {
        Self {
            number,
            definition: definition(limit.measure),
            select,
            by: rule.by.clone(),
            rate: rate_of(limit),
            signature: Self::signature(rule, limit),
            lengths: Vec::new(),
            by_store: !rule.select.store.is_empty() || rule.by.contains(&KeyField::Store),
            merged: 0,
            bytes: limit.measure.unit() == "bytes",
            cells: Slab::new(),
            by_key: Index::new(seed),
            base: 0,
            dirty: Vec::new(),
            gone: Vec::new(),
            clock: EngineClock::default(),
        }
    }

    /// The same text for limits that count the same, whatever their windows.
    #[must_use]
    pub fn signature(rule: &Rule, limit: &Limit) -> String {
        let select = Select::signature(&rule.select);
        let rate = rate_of(limit);
        format!("{:?} [{select}] {:?} {rate:?}", limit.measure, rule.by)
    }

    /// The window of a limit: shared by all that are as long. To be called before anything is counted.
    pub fn length_for(&mut self, limit: &Limit) -> u32 {
        let known = self.lengths.iter().position(|of| of.window == limit.window);
        let index = known.unwrap_or_else(|| {
            self.lengths.push(Length {
                window: limit.window,
                limits: Vec::new(),
                smallest: u64::MAX,
                keeps: limit.window >= BUDGET
                    && matches!(self.definition.how, How::Add(_) | How::Hours),
            });
            self.lengths.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// What there is to count of what was seen, and the slot of its key.
    pub fn take(&mut self, seen: &Observation, at: Stamp) -> Option<(u32, Addition)> {
        let addition = match self.definition.how {
            How::Add(of) => Addition::Amount(of(seen)),
            How::Distinct(of) => Addition::Item(of(seen)?),
            How::Rate(of) => {
                self.clock.set(at);
                Addition::Amount(of(seen))
            }
            How::Hours => Addition::Hour,
        };
        let some = !matches!(addition, Addition::Amount(0));
        some.then(|| (self.open(Key::of(&self.by, seen)), addition))
    }

    /// Counts it in one of the windows.
    pub fn add(
        &mut self,
        (slot, addition): (u32, Addition),
        length: u32,
        seen: &Observation,
        at: Stamp,
        deadlines: &mut Deadlines,
    ) -> Counted {
        let Length {
            window,
            smallest,
            keeps,
            ..
        } = self.lengths[length as usize];
        let cell = &mut self.cells[slot as usize];
        let count = &mut cell.counts[length as usize];
        if count.window.is_empty() {
            let due = Due::Cell(self.number, slot, length);
            deadlines.remind(crate::window::end(window, at), due);
        }
        let (amount, over) = count.add(window, at, addition);
        let sum = count.window.sum();
        let before = if self.bytes {
            sum.saturating_sub(amount)
        } else {
            0
        };
        count.follow(seen, at, before, smallest / TRAIL_SHARE);
        if keeps && !std::mem::replace(&mut cell.dirty, true) {
            self.dirty.push(slot);
        }
        Counted {
            key: cell.key,
            amount,
            sum,
            total: count.total,
            over,
        }
    }

    /// What is counted of a key in one of the windows.
    #[must_use]
    pub fn count(&self, key: &Key, length: u32) -> Option<&Count> {
        let slot = self.by_key.find(key, &self.cells)?;
        self.cells[slot as usize].counts.get(length as usize)
    }

    /// What was ever counted for a key: the base if there is nothing of it now.
    #[must_use]
    pub fn total(&self, key: &Key, length: u32) -> u64 {
        self.count(key, length)
            .map_or(self.base, |count| count.total)
    }

    /// The amount of a key's window at `at`.
    #[must_use]
    pub fn sum(&self, key: &Key, length: u32, at: Stamp) -> u64 {
        let window = self.lengths[length as usize].window;
        self.count(key, length)
            .map_or(0, |count| count.window.sum_at(window, at))
    }

    /// All cells, by slot.
    pub fn cells(&self) -> impl Iterator<Item = (u32, &Cell)> {
        let number = |slot| u32::try_from(slot).unwrap_or(u32::MAX);
        self.cells
            .iter()
            .map(move |(slot, cell)| (number(slot), cell))
    }

    /// Keys alive.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.cells.len()
    }

    /// Bytes that keys and windows take, for the benchmark.
    #[must_use]
    pub fn memory(&self) -> usize {
        let counts = self.cells.iter().flat_map(|(_, cell)| &cell.counts);
        let counts: usize = counts
            .map(|count| size_of::<Count>() + count.window.memory())
            .sum();
        self.cells.capacity() * (size_of::<Cell>() + size_of::<usize>())
            + counts
            + self.by_key.memory()
    }

    /// The time has come to look whether a window of a cell is empty.
    pub fn expire(&mut self, slot: u32, length: u32, at: Stamp, deadlines: &mut Deadlines) {
        let Length { window, keeps, .. } = self.lengths[length as usize];
        let Some(cell) = self.cells.get_mut(slot as usize) else {
            return;
        };
        let count = &mut cell.counts[length as usize];
        let Some(end) = count.window.end(window) else {
            return;
        };
        if end > at {
            return deadlines.remind(end, Due::Cell(self.number, slot, length));
        }
        count.clear();
        if keeps {
            self.gone.push((cell.key, length));
        }
        if cell.counts.iter().all(|count| count.window.is_empty()) {
            self.close(slot);
        }
    }

    /// When the first window will be empty, by looking at all of them: the oracle of the deadline heap.
    #[must_use]
    pub fn scan_deadline(&self) -> Option<Stamp> {
        let ends = self.cells.iter().flat_map(|(_, cell)| {
            let each = cell.counts.iter().zip(&self.lengths);
            each.filter_map(|(count, length)| count.window.end(length.window))
        });
        ends.min()
    }

    /// Slots of cells that changed since the last call, and windows that are empty now.
    pub fn take_changed(&mut self) -> (Vec<u32>, Vec<(Key, u32)>) {
        let slots = std::mem::take(&mut self.dirty);
        for slot in &slots {
            if let Some(cell) = self.cells.get_mut(*slot as usize) {
                cell.dirty = false;
            }
        }
        (slots, std::mem::take(&mut self.gone))
    }

    /// Takes over what an equal tally of the rules before a reload has counted, window by window.
    pub fn inherit(&mut self, old: Self, deadlines: &mut Deadlines) {
        let same = |new: &Length| old.lengths.iter().position(|of| of.window == new.window);
        let from: Vec<Option<usize>> = self.lengths.iter().map(same).collect();
        (self.base, self.merged, self.clock) = (old.base, old.merged, old.clock);
        for (_, cell) in old.cells {
            let mut counts: Vec<Option<Count>> = cell.counts.into_iter().map(Some).collect();
            let mut take = |index: Option<usize>| counts.get_mut(index?)?.take();
            let counts: Box<[Count]> = from
                .iter()
                .map(|index| take(*index).unwrap_or_else(|| Count::new(self)))
                .collect();
            if counts.iter().any(|count| !count.window.is_empty()) {
                let slot = self.insert(cell.key, counts);
                self.remind(slot, deadlines);
            }
        }
    }

    /// The cell in a slot.
    #[must_use]
    pub fn slot(&self, slot: u32) -> Option<&Cell> {
        self.cells.get(slot as usize)
    }

    /// Puts back a window of an earlier run: its parts and its total.
    pub fn restore(
        &mut self,
        key: Key,
        length: u32,
        parts: &[(Stamp, u64)],
        total: u64,
        deadlines: &mut Deadlines,
    ) {
        let Some((first, _)) = parts.first() else {
            return;
        };
        let window = self.lengths[length as usize].window;
        let slot = self.open(key);
        let count = &mut self.cells[slot as usize].counts[length as usize];
        for (at, amount) in parts {
            count.put_back(window, *at, *amount);
        }
        (count.total, count.first) = (total, *first);
        self.base = self.base.max(total);
        if let Some(end) = count.window.end(window) {
            deadlines.remind(end, Due::Cell(self.number, slot, length));
        }
    }

    fn open(&mut self, key: Key) -> u32 {
        if let Some(slot) = self.by_key.find(&key, &self.cells) {
            return slot;
        }
        if self.cells.len() >= KEYS_LIMIT && key != OTHER_KEY {
            self.merged += 1;
            return self.open(OTHER_KEY);
        }
        let counts = self.lengths.iter().map(|_| Count::new(self)).collect();
        self.insert(key, counts)
    }

    fn insert(&mut self, key: Key, counts: Box<[Count]>) -> u32 {
        let cell = Cell {
            key,
            counts,
            dirty: false,
        };
        let slot = u32::try_from(self.cells.insert(cell)).unwrap_or(u32::MAX);
        self.by_key.insert(slot, &self.cells);
        slot
    }

    fn close(&mut self, slot: u32) {
        let cell = self.cells.remove(slot as usize);
        let totals = cell.counts.iter().map(|count| count.total);
        self.base = totals.fold(self.base, u64::max);
        self.by_key.remove(&cell.key, slot);
    }

    fn remind(&self, slot: u32, deadlines: &mut Deadlines) {
        let counts = self.cells[slot as usize].counts.iter();
        for ((index, length), count) in (0u32..).zip(&self.lengths).zip(counts) {
            if let Some(end) = count.window.end(length.window) {
                deadlines.remind(end, Due::Cell(self.number, slot, index));
            }
        }
    }
}

/// Two buckets of different size are different state; two sums with different limits are not.
fn rate_of(limit: &Limit) -> Option<Amount> {
    matches!(limit.amount, Amount::Rate { .. }).then_some(limit.amount)
}
