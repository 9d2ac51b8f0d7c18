//! What is counted per key: shared by all limits with the same measure, selection, grouping and window.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::IpAddr;

use hashbrown::HashTable;

use crate::bucket::{Bucket, EngineClock};
use crate::deadline::{Deadlines, Due};
use crate::event::Stamp;
use crate::key::{Key, OTHER_KEY};
use crate::map::State;
use crate::measure::{Definition, How, definition};
use crate::observation::Observation;
use crate::rule::{Amount, KeyField, Limit, Rule};
use crate::select::Select;
use crate::trail::Trail;
use crate::window::{Window, end};

/// Keys of a tally at the most; beyond, they merge into `other` and are counted.
pub const KEYS_LIMIT: usize = 131_072;
/// Distinct things told apart per key; beyond, each counts.
const DISTINCT_LIMIT: usize = 4_096;
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
    /// Over how long, nanoseconds.
    pub window: i64,
    /// Rate and burst, for `rate`.
    pub rate: Option<Amount>,
    /// The same text for the same tally in any run of the agent.
    pub signature: String,
    /// Limits that look at it: (rule, limit).
    pub limits: Vec<(u32, u32)>,
    /// The smallest of those limits, units.
    pub smallest: u64,
    /// Keys that were merged into `other`.
    pub merged: u64,
    /// The rule selects or groups by store.
    pub by_store: bool,
    /// Its windows are budgets: kept across restarts.
    pub keeps: bool,
    cells: Vec<Option<Cell>>,
    by_key: Index,
    free: Vec<u32>,
    /// Totals of new cells begin here, above any that was told of a cell that is gone.
    base: u64,
    dirty: Vec<u32>,
    gone: Vec<Key>,
    clock: EngineClock,
}

/// What was counted for one key.
#[derive(Debug)]
pub struct Cell {
    /// The key.
    pub key: Key,
    /// Amounts of the window.
    pub window: Window,
    /// All that was ever counted, from the tally's base on.
    pub total: u64,
    /// When its window was empty last, and something came.
    pub first: Stamp,
    /// Who and where to, once it is worth remembering.
    pub trail: Option<Box<Trail>>,
    kind: Option<Box<Kind>>,
    dirty: bool,
}

#[derive(Debug)]
enum Kind {
    Distinct(Distinct),
    Rate(Bucket),
}

#[derive(Debug, Default)]
struct Distinct {
    seen: std::collections::BTreeMap<IpAddr, Stamp>,
    order: VecDeque<(Stamp, IpAddr)>,
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
    /// An empty tally for a limit of a rule.
    #[must_use]
    pub fn new(seed: u64, number: u32, rule: &Rule, limit: &Limit, select: Select) -> Self {
        let definition = definition(limit.measure);
        Self {
            number,
            definition,
            select,
            by: rule.by.clone(),
            window: limit.window,
            rate: rate_of(limit),
            signature: Self::signature(rule, limit),
            keeps: limit.window >= BUDGET && matches!(definition.how, How::Add(_)),
            by_store: !rule.select.store.is_empty() || rule.by.contains(&KeyField::Store),
            limits: Vec::new(),
            smallest: u64::MAX,
            merged: 0,
            cells: Vec::new(),
            by_key: Index::new(seed),
            free: Vec::new(),
            base: 0,
            dirty: Vec::new(),
            gone: Vec::new(),
            clock: EngineClock::default(),
        }
    }

    /// The same text for limits that count the same; state belongs to it, across reloads and restarts.
    #[must_use]
    pub fn signature(rule: &Rule, limit: &Limit) -> String {
        let select = Select::signature(&rule.select);
        format!(
            "{:?} [{select}] {:?} {} {:?}",
            limit.measure,
            rule.by,
            limit.window,
            rate_of(limit)
        )
    }

    /// Counts what was seen, if this measure counts it at all.
    pub fn count(
        &mut self,
        seen: &Observation,
        at: Stamp,
        deadlines: &mut Deadlines,
    ) -> Option<Counted> {
        let key = Key::of(&self.by, seen);
        match self.definition.how {
            How::Add(of) => {
                let amount = of(seen);
                (amount > 0).then(|| self.add(key, seen, at, amount, deadlines))
            }
            How::Distinct(of) => {
                let item = of(seen)?;
                Some(self.add_distinct(key, seen, at, item, deadlines))
            }
            How::Rate(of) => {
                let amount = of(seen);
                (amount > 0).then(|| self.add_rate(key, seen, at, amount, deadlines))
            }
        }
    }

    /// A key's cell.
    #[must_use]
    pub fn cell(&self, key: &Key) -> Option<&Cell> {
        self.cells[self.find(key)? as usize].as_ref()
    }

    /// What was ever counted for a key: the base if there is nothing of it now.
    #[must_use]
    pub fn total(&self, key: &Key) -> u64 {
        self.cell(key).map_or(self.base, |cell| cell.total)
    }

    /// The amount of a key's window at `at`.
    #[must_use]
    pub fn sum(&self, key: &Key, at: Stamp) -> u64 {
        self.cell(key)
            .map_or(0, |cell| cell.window.sum_at(self.window, at))
    }

    /// All cells, by slot.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().flatten()
    }

    /// Keys alive.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// Bytes that keys and windows take, for the benchmark.
    #[must_use]
    pub fn memory(&self) -> usize {
        let slots: usize = self.cells().map(|cell| cell.window.memory()).sum();
        self.cells.len() * size_of::<Option<Cell>>() + slots + self.by_key.memory()
    }

    /// The time has come to look whether a cell is empty.
    pub fn expire(&mut self, slot: u32, at: Stamp, deadlines: &mut Deadlines) {
        let Some(cell) = self.cells.get(slot as usize).and_then(Option::as_ref) else {
            return;
        };
        let end = cell.end(self.window);
        if end > at {
            return deadlines.remind(end, Due::Cell(self.number, slot));
        }
        self.base = self.base.max(cell.total);
        let key = cell.key;
        self.by_key.remove(&key, slot);
        if self.keeps {
            self.gone.push(key);
        }
        self.cells[slot as usize] = None;
        self.free.push(slot);
    }

    /// When the first cell will be empty, by looking at all of them: the oracle of the deadline heap.
    #[must_use]
    pub fn scan_deadline(&self) -> Option<Stamp> {
        self.cells().map(|cell| cell.end(self.window)).min()
    }

    /// Slots of cells that changed since the last call, and keys whose cells are gone.
    pub fn take_changed(&mut self) -> (Vec<u32>, Vec<Key>) {
        let slots = std::mem::take(&mut self.dirty);
        for slot in &slots {
            if let Some(cell) = &mut self.cells[*slot as usize] {
                cell.dirty = false;
            }
        }
        (slots, std::mem::take(&mut self.gone))
    }

    /// Takes over what an equal tally of the rules before a reload has counted.
    pub fn inherit(&mut self, old: Self, deadlines: &mut Deadlines) {
        self.cells = old.cells;
        self.by_key = old.by_key;
        (self.free, self.dirty, self.gone) = (old.free, old.dirty, old.gone);
        (self.base, self.merged, self.clock) = (old.base, old.merged, old.clock);
        let end = |cell: &Cell| cell.end(self.window);
        for (slot, cell) in (0u32..).zip(&self.cells) {
            if let Some(cell) = cell {
                deadlines.remind(end(cell), Due::Cell(self.number, slot));
            }
        }
    }

    /// The cell in a slot.
    #[must_use]
    pub fn slot(&self, slot: u32) -> Option<&Cell> {
        self.cells.get(slot as usize)?.as_ref()
    }

    /// Puts back a cell of an earlier run: its parts and its total.
    pub fn restore(
        &mut self,
        key: Key,
        parts: &[(Stamp, u64)],
        total: u64,
        deadlines: &mut Deadlines,
    ) {
        let Some((last, _)) = parts.last() else {
            return;
        };
        let slot = self.open(key, *last, deadlines);
        let window = self.window;
        let Some(cell) = &mut self.cells[slot as usize] else {
            return;
        };
        for (at, amount) in parts {
            cell.window.add(window, *at, *amount);
        }
        cell.total = total;
        cell.first = parts.first().map_or(*last, |(first, _)| *first);
        self.base = self.base.max(total);
        deadlines.remind(end(window, *last), Due::Cell(self.number, slot));
    }

    fn add(
        &mut self,
        key: Key,
        seen: &Observation,
        at: Stamp,
        amount: u64,
        deadlines: &mut Deadlines,
    ) -> Counted {
        let slot = self.open(key, at, deadlines);
        self.put(slot, seen, at, amount, false)
    }

    fn add_distinct(
        &mut self,
        key: Key,
        seen: &Observation,
        at: Stamp,
        item: IpAddr,
        deadlines: &mut Deadlines,
    ) -> Counted {
        let slot = self.open(key, at, deadlines);
        let window = self.window;
        let fresh = match self.cells[slot as usize]
            .as_mut()
            .and_then(|cell| cell.kind.as_deref_mut())
        {
            Some(Kind::Distinct(distinct)) => distinct.add(window, at, item),
            _ => true,
        };
        self.put(slot, seen, at, u64::from(fresh), false)
    }

    fn add_rate(
        &mut self,
        key: Key,
        seen: &Observation,
        at: Stamp,
        amount: u64,
        deadlines: &mut Deadlines,
    ) -> Counted {
        self.clock.set(at);
        let slot = self.open(key, at, deadlines);
        let over = match self.cells[slot as usize]
            .as_mut()
            .and_then(|cell| cell.kind.as_deref_mut())
        {
            Some(Kind::Rate(bucket)) => bucket.add(amount),
            _ => false,
        };
        self.put(slot, seen, at, amount, over)
    }

    fn put(
        &mut self,
        slot: u32,
        seen: &Observation,
        at: Stamp,
        amount: u64,
        over: bool,
    ) -> Counted {
        let Some(cell) = self.cells[slot as usize].as_mut() else {
            return Counted {
                key: OTHER_KEY,
                amount,
                sum: 0,
                total: 0,
                over,
            };
        };
        cell.window.add(self.window, at, amount);
        if cell.window.sum() == amount {
            cell.first = at;
        }
        cell.total = cell.total.saturating_add(amount);
        let sum = cell.window.sum();
        if let Some(trail) = &mut cell.trail {
            trail.follow(seen, at);
        } else if sum >= self.smallest / TRAIL_SHARE {
            cell.trail = Some(Box::new(Trail::start(seen, at, cell.first)));
        }
        let counted = Counted {
            key: cell.key,
            amount,
            sum,
            total: cell.total,
            over,
        };
        self.mark(slot);
        counted
    }

    fn mark(&mut self, slot: u32) {
        if self.keeps
            && let Some(cell) = &mut self.cells[slot as usize]
            && !std::mem::replace(&mut cell.dirty, true)
        {
            self.dirty.push(slot);
        }
    }

    fn open(&mut self, key: Key, at: Stamp, deadlines: &mut Deadlines) -> u32 {
        if let Some(slot) = self.find(&key) {
            return slot;
        }
        if self.by_key.len() >= KEYS_LIMIT && key != OTHER_KEY {
            self.merged += 1;
            return self.open(OTHER_KEY, at, deadlines);
        }
        let cell = Some(Cell {
            key,
            window: Window::default(),
            total: self.base,
            first: at,
            trail: None,
            kind: self.kind(),
            dirty: false,
        });
        let slot = if let Some(slot) = self.free.pop() {
            self.cells[slot as usize] = cell;
            slot
        } else {
            self.cells.push(cell);
            u32::try_from(self.cells.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_key.insert(&key, slot, &self.cells);
        deadlines.remind(end(self.window, at), Due::Cell(self.number, slot));
        slot
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.by_key.find(key, &self.cells)
    }

    fn kind(&self) -> Option<Box<Kind>> {
        let kind = match (&self.definition.how, self.rate) {
            (How::Distinct(_), _) => Kind::Distinct(Distinct::default()),
            (How::Rate(_), Some(Amount::Rate { per_second, burst })) => {
                Kind::Rate(Bucket::new(per_second, burst, self.clock.clone()))
            }
            _ => return None,
        };
        Some(Box::new(kind))
    }
}

impl Cell {
    fn end(&self, window: i64) -> Stamp {
        self.window
            .end(window)
            .unwrap_or_else(|| end(window, self.first))
    }
}

/// Slots by key, without a second copy of the keys: they are in the cells.
#[derive(Debug)]
struct Index {
    table: HashTable<u32>,
    state: State,
}

impl Index {
    fn new(seed: u64) -> Self {
        Self {
            table: HashTable::new(),
            state: State::with_seed(seed),
        }
    }

    fn find(&self, key: &Key, cells: &[Option<Cell>]) -> Option<u32> {
        let is_it = |slot: &u32| {
            cells[*slot as usize]
                .as_ref()
                .is_some_and(|cell| cell.key == *key)
        };
        self.table.find(self.state.hash_one(key), is_it).copied()
    }

    fn insert(&mut self, key: &Key, slot: u32, cells: &[Option<Cell>]) {
        let state = &self.state;
        let hash = |slot: &u32| {
            cells[*slot as usize]
                .as_ref()
                .map_or(0, |cell| state.hash_one(cell.key))
        };
        self.table.insert_unique(state.hash_one(key), slot, hash);
    }

    fn remove(&mut self, key: &Key, slot: u32) {
        if let Ok(entry) = self
            .table
            .find_entry(self.state.hash_one(key), |of| *of == slot)
        {
            entry.remove();
        }
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    fn memory(&self) -> usize {
        self.table.allocation_size()
    }
}

/// Two buckets of different size are different state; two sums with different limits are not.
fn rate_of(limit: &Limit) -> Option<Amount> {
    matches!(limit.amount, Amount::Rate { .. }).then_some(limit.amount)
}

impl Distinct {
    fn add(&mut self, window: i64, at: Stamp, item: IpAddr) -> bool {
        while let Some((then, old)) = self
            .order
            .front()
            .copied()
            .filter(|(then, _)| then.plus(window) < at)
        {
            self.order.pop_front();
            if self.seen.get(&old) == Some(&then) {
                self.seen.remove(&old);
            }
        }
        if self.seen.contains_key(&item) {
            return false;
        }
        if self.seen.len() < DISTINCT_LIMIT {
            self.seen.insert(item, at);
            self.order.push_back((at, item));
        }
        true
    }
}
