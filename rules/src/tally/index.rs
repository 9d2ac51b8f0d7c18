//! Slots by key, without a second copy of the keys: they are in the cells.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use slab::Slab;

use super::Cell;
use crate::key::Key;
use crate::map::State;

#[derive(Debug)]
pub(super) struct Index {
    table: HashTable<u32>,
    state: State,
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            table: HashTable::new(),
            state: State::with_seed(seed),
        }
    }

    pub(super) fn find(&self, key: &Key, cells: &Slab<Cell>) -> Option<u32> {
        let is_it = |slot: &u32| cells[*slot as usize].key == *key;
        self.table.find(self.state.hash_one(key), is_it).copied()
    }

    pub(super) fn insert(&mut self, slot: u32, cells: &Slab<Cell>) {
        let hash = |slot: &u32| self.state.hash_one(cells[*slot as usize].key);
        self.table.insert_unique(hash(&slot), slot, hash);
    }

    pub(super) fn remove(&mut self, key: &Key, slot: u32) {
        let hash = self.state.hash_one(key);
        if let Ok(entry) = self.table.find_entry(hash, |of| *of == slot) {
            entry.remove();
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.table.allocation_size()
    }
}
