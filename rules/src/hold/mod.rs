//! Held data: which session run holds how much of which store, and what carries it on.

use crate::event::{Actor, FileId, Read, Stamp};
use crate::lineage::RunKey;
use crate::map::{Map, State, map};
use crate::names::NameId;
use crate::rule::Scope;

mod label;
mod part;
mod run;
#[cfg(test)]
mod tests;

pub use label::{LABEL_LIFE, LABELS_LIMIT, Label, Labels, Reminder};
pub use part::{Amount, Contents, HOLD_LIFE, RunNo};
pub use run::{Exposure, Held, Kept, Run};

/// Files remembered per session and store, in all; beyond, a file read again counts again.
pub const SEEN_LIMIT: usize = 2_097_152;
/// Session runs that hold something, at the most; beyond, they share the last one.
pub const RUNS_LIMIT: usize = 65_536;

/// Who holds what.
#[derive(Debug)]
pub struct Holdings {
    runs: Vec<Run>,
    by_key: Map<RunKey, u32>,
    free: Vec<u32>,
    next_no: u64,
    /// What staging files hold.
    pub labels: Labels,
    seen: usize,
    seed: u64,
    /// Entries that did not fit and were merged.
    pub merged: u64,
    /// Runs that changed since they were last taken, to be written as rows.
    pub changed: Changed,
}

/// What changed since it was last taken.
#[derive(Debug, Default)]
pub struct Changed {
    /// Slots of runs.
    pub runs: Vec<u32>,
    /// Runs that are gone.
    pub gone: Vec<RunKey>,
}

/// What a read added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Bytes of files that were not counted before.
    pub bytes: u64,
    /// 1 if the file is new to this session.
    pub files: u64,
}

impl Holdings {
    /// Nobody holds anything.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            runs: Vec::new(),
            by_key: map(seed),
            free: Vec::new(),
            next_no: 1,
            labels: Labels::new(seed),
            seen: 0,
            seed,
            merged: 0,
            changed: Changed::default(),
        }
    }

    /// The slot of a run that holds something.
    #[must_use]
    pub fn find(&self, key: &RunKey) -> Option<u32> {
        if self.by_key.is_empty() {
            return None;
        }
        let full = self.runs.len() >= RUNS_LIMIT && self.free.is_empty();
        let shared = full.then(|| last_slot(self.runs.len()));
        self.by_key.get(key).copied().or(shared)
    }

    /// A run by its slot.
    #[must_use]
    pub fn run(&self, slot: u32) -> &Run {
        &self.runs[slot as usize]
    }

    /// The runs that hold something, by slot.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &Run)> {
        (0u32..)
            .zip(&self.runs)
            .filter(|(_, run)| run.key.is_some())
    }

    /// Runs, labels and remembered files: for the page of metrics.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.by_key.len(), self.labels.len(), self.seen)
    }

    /// The slot of a run, made if need be.
    pub fn open(&mut self, key: &RunKey, session: NameId) -> u32 {
        if let Some(slot) = self.find(key) {
            return slot;
        }
        let run = Run {
            key: Some(key.clone()),
            no: RunNo(self.next_no),
            session,
            takers: Vec::new(),
            held: Vec::new(),
            dirty: false,
        };
        self.next_no += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.runs[slot as usize] = run;
                slot
            }
            None if self.runs.len() >= RUNS_LIMIT => {
                self.merged += 1;
                return last_slot(self.runs.len());
            }
            None => {
                self.runs.push(run);
                last_slot(self.runs.len())
            }
        };
        self.by_key.insert(key.clone(), slot);
        slot
    }

    /// A run read bytes of a file of a store. `records` says how many records files and bytes are.
    pub fn read(
        &mut self,
        slot: u32,
        store: NameId,
        read: &Read,
        at: Stamp,
        records: impl Fn(Taken) -> f64,
    ) -> Taken {
        let no = self.runs[slot as usize].no;
        let hash = self.hash(read.file);
        let full = self.seen >= SEEN_LIMIT;
        let held = self.held(slot, store);
        let known = held.seen.get(&hash).copied();
        let counted = known.unwrap_or(0);
        let fresh = read.bytes.min(read.size.saturating_sub(counted));
        let taken = Taken {
            bytes: fresh,
            files: u64::from(known.is_none()),
        };
        if known.is_some() || !full {
            held.seen.insert(hash, counted + fresh);
        }
        let amount = Amount {
            bytes: fresh,
            files: taken.files as f64,
            records: records(taken),
        };
        if taken != Taken::default() {
            held.contents.read(no, at, amount);
        }
        self.seen += usize::from(known.is_none() && !full);
        self.merged += u64::from(known.is_none() && full);
        self.touch(slot);
        taken
    }

    /// Bytes were written into a file outside the stores, or put into a channel: it holds what the run in `slot` may
    /// have put in. `served`: stores that the writer serves, with the bytes a record has; of these it may be anything.
    pub fn write(
        &mut self,
        slot: Option<u32>,
        served: &[(NameId, f64)],
        file: FileId,
        bytes: u64,
        at: Stamp,
    ) -> Option<Reminder> {
        let held = slot.map_or(&[][..], |slot| &self.runs[slot as usize].held);
        let is_served = |store: NameId| served.iter().any(|(of, _)| *of == store);
        if served.is_empty() && held.iter().all(|held| held.contents.is_empty()) {
            return None;
        }
        let origin = RunNo(self.next_no);
        self.next_no += 1;
        let put = |label: &mut Label| {
            for held in held.iter().filter(|held| !is_served(held.store)) {
                held.contents
                    .stage(entry(&mut label.contents, held.store), bytes, at);
            }
            label.waiting = label.waiting.saturating_add(bytes);
            for (store, each) in served {
                let origin = label.serve(*store, *each, origin);
                if !file.is_channel() {
                    let (files, records) = (0.0, bytes as f64 / each);
                    let amount = Amount {
                        bytes,
                        files,
                        records,
                    };
                    entry(&mut label.contents, *store).read(origin, at, amount);
                }
            }
        };
        self.labels.change(file, at, put)
    }

    /// A run read `bytes` of a file outside the stores, or took them out of a channel: it takes what that holds.
    /// Tells whether it took any.
    pub fn read_file(
        &mut self,
        key: &RunKey,
        session: NameId,
        file: FileId,
        bytes: u64,
        at: Stamp,
    ) -> Option<u32> {
        if file.is_channel() {
            return self.take_out(key, session, file, bytes, at);
        }
        let contents = self.labels.of(file)?.contents.clone();
        self.take(key, session, &contents, bytes, true, at)
    }

    fn take_out(
        &mut self,
        key: &RunKey,
        session: NameId,
        file: FileId,
        bytes: u64,
        at: Stamp,
    ) -> Option<u32> {
        let label = self.labels.of(file)?;
        let bytes = bytes.min(label.waiting);
        label.waiting -= bytes;
        let (contents, served) = (label.contents.clone(), label.served.clone());
        if label.waiting == 0 {
            self.labels.forget(file);
        }
        if bytes == 0 {
            return None;
        }
        let taken = self.take(key, session, &contents, bytes, true, at);
        let served = served.into_iter().map(|served| {
            let records = bytes as f64 / served.each;
            self.served(key, session, served.store, bytes, records, at)
        });
        served.last().or(taken)
    }

    /// Bytes went from a run to another.
    pub fn pass(
        &mut self,
        from: u32,
        key: &RunKey,
        session: NameId,
        bytes: u64,
        at: Stamp,
    ) -> Option<u32> {
        let held: Vec<(NameId, Contents)> = self.runs[from as usize]
            .held
            .iter()
            .map(|held| (held.store, held.contents.clone()))
            .collect();
        self.take(key, session, &held, bytes, false, at)
    }

    /// The stores that a run holds anything of.
    pub fn stores_of(&self, slot: u32) -> impl Iterator<Item = NameId> {
        let held = self.runs[slot as usize].held.iter();
        held.filter(|held| !held.contents.is_empty())
            .map(|held| held.store)
    }

    /// What a run holds of a store.
    #[must_use]
    pub fn held_of(&self, slot: u32, store: NameId) -> Amount {
        let held = self.runs[slot as usize]
            .held
            .iter()
            .find(|held| held.store == store);
        held.map_or_else(Amount::default, |held| held.contents.total())
    }

    /// A file left a store under another name: it holds itself.
    pub fn left_store(
        &mut self,
        store: NameId,
        file: FileId,
        amount: Amount,
        at: Stamp,
    ) -> Option<Reminder> {
        let origin = RunNo(self.next_no);
        self.next_no += 1;
        self.labels.change(file, at, |label| {
            entry(&mut label.contents, store).read(origin, at, amount)
        })
    }

    /// `bytes` of a file became part of another without being read (a clone shares the blocks): it holds what they hold.
    pub fn shared(&mut self, from: FileId, to: FileId, bytes: u64, at: Stamp) -> Option<Reminder> {
        let contents = self.labels.of(from)?.contents.clone();
        self.labels.change(to, at, |label| {
            for (store, source) in &contents {
                entry(&mut label.contents, *store).take(source, bytes, true, at);
            }
        })
    }

    /// A service handed over `bytes` of its store to a local client.
    pub fn served(
        &mut self,
        key: &RunKey,
        session: NameId,
        store: NameId,
        bytes: u64,
        records: f64,
        at: Stamp,
    ) -> u32 {
        let slot = self.open(key, session);
        let no = self.runs[slot as usize].no;
        self.held(slot, store).contents.read(
            no,
            at,
            Amount {
                bytes,
                files: 0.0,
                records,
            },
        );
        self.touch(slot);
        slot
    }

    /// Whoever is not known may hold whatever any session holds.
    pub fn hold_everything(&mut self, slot: u32, at: Stamp) {
        let others: Vec<(NameId, Contents)> = self
            .runs()
            .filter(|(other, _)| *other != slot)
            .flat_map(|(_, run)| {
                run.held
                    .iter()
                    .map(|held| (held.store, held.contents.clone()))
            })
            .collect();
        for (store, contents) in others {
            self.held(slot, store)
                .contents
                .take(&contents, u64::MAX, false, at);
        }
        self.touch(slot);
    }

    /// A run sent `bytes` of payload to another host: what that exposes, per store. `serves`: its stores have no cap.
    pub fn expose(
        &mut self,
        slot: u32,
        scope: Scope,
        bytes: u64,
        at: Stamp,
        serves: &[(NameId, f64)],
    ) -> Vec<Exposure> {
        for (store, _) in serves {
            self.held(slot, *store);
        }
        let run = &mut self.runs[slot as usize];
        if run.takers.is_empty() {
            run.expire(at, &mut self.seen);
        }
        let exposures: Vec<Exposure> = run
            .held
            .iter_mut()
            .filter_map(|held| {
                let served = serves
                    .iter()
                    .find(|(store, _)| *store == held.store)
                    .map(|(_, each)| *each);
                held.expose(scope, bytes, at, served)
            })
            .collect();
        if !exposures.is_empty() {
            self.touch(slot);
        }
        exposures
    }

    /// A process that took something joined a run.
    pub fn add_taker(&mut self, slot: u32, actor: Actor) {
        self.runs[slot as usize].takers.push(actor);
        self.touch(slot);
    }

    /// A process that took something left its run or ended.
    pub fn remove_taker(&mut self, key: &RunKey, actor: Actor) -> Option<u32> {
        let slot = self.find(key)?;
        self.runs[slot as usize]
            .takers
            .retain(|taker| *taker != actor);
        self.touch(slot);
        Some(slot)
    }

    /// The time has come to look whether a run still holds anything. Returns when to look again.
    pub fn expire_run(&mut self, slot: u32, at: Stamp) -> Option<Stamp> {
        let run = self.runs.get_mut(slot as usize)?;
        run.key.as_ref()?;
        if run.takers.is_empty() && run.expire(at, &mut self.seen) {
            run.held.retain(|held| !held.is_idle(at));
            self.touch(slot);
        }
        let run = &mut self.runs[slot as usize];
        if run.held.iter().any(|held| !held.is_idle(at)) || !run.takers.is_empty() {
            return Some(at.plus(HOLD_LIFE / 24));
        }
        if let Some(key) = run.key.take() {
            run.held.clear();
            self.by_key.remove(&key);
            self.free.push(slot);
            self.changed.gone.push(key);
        }
        None
    }

    /// Puts back what an earlier run of the agent wrote down of a session run.
    pub fn restore_run(
        &mut self,
        key: &RunKey,
        session: NameId,
        no: RunNo,
        kept: Vec<(NameId, Kept)>,
    ) -> u32 {
        let slot = self.open(key, session);
        self.runs[slot as usize].no = no;
        self.used(no);
        for (store, kept) in kept {
            self.used(kept.newest_origin());
            let held = self.held(slot, store);
            held.put_back(kept);
        }
        slot
    }

    /// A restored label; its origins' numbers are not used again.
    pub fn restore_label(&mut self, label: Label) -> Reminder {
        for (_, contents) in &label.contents {
            self.used(contents.newest_origin().unwrap_or_default());
        }
        self.labels.restore(label)
    }

    fn used(&mut self, no: RunNo) {
        self.next_no = self.next_no.max(no.0.saturating_add(1));
    }

    fn take(
        &mut self,
        key: &RunKey,
        session: NameId,
        source: &[(NameId, Contents)],
        bytes: u64,
        staged: bool,
        at: Stamp,
    ) -> Option<u32> {
        if source.iter().all(|(_, contents)| contents.is_empty()) {
            return None;
        }
        let slot = self.open(key, session);
        let mut taken = 0;
        for (store, contents) in source {
            taken += self
                .held(slot, *store)
                .contents
                .take(contents, bytes, staged, at);
        }
        self.touch(slot);
        (taken > 0).then_some(slot)
    }

    fn held(&mut self, slot: u32, store: NameId) -> &mut Held {
        let seed = self.seed;
        let held = &mut self.runs[slot as usize].held;
        let index = held
            .iter()
            .position(|held| held.store == store)
            .unwrap_or_else(|| {
                let seen = map(seed);
                held.push(Held {
                    store,
                    contents: Contents::default(),
                    seen,
                    exposed: Vec::new(),
                });
                held.len() - 1
            });
        &mut held[index]
    }

    fn touch(&mut self, slot: u32) {
        let run = &mut self.runs[slot as usize];
        if !std::mem::replace(&mut run.dirty, true) {
            self.changed.runs.push(slot);
        }
    }

    /// The slots of runs that changed since the last call.
    pub fn take_changed_runs(&mut self) -> Vec<u32> {
        let slots = std::mem::take(&mut self.changed.runs);
        for slot in &slots {
            self.runs[*slot as usize].dirty = false;
        }
        slots
    }

    fn hash(&self, file: FileId) -> u64 {
        use std::hash::BuildHasher;
        State::with_seed(self.seed).hash_one(file)
    }
}

fn last_slot(length: usize) -> u32 {
    u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// The contents for `store`, made if need be. A place holds few stores: a list is enough.
fn entry(contents: &mut Vec<(NameId, Contents)>, store: NameId) -> &mut Contents {
    let index = contents
        .iter()
        .position(|(of, _)| *of == store)
        .unwrap_or_else(|| {
            contents.push((store, Contents::default()));
            contents.len() - 1
        });
    &mut contents[index].1
}
