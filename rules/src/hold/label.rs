//! Staging labels: what a file outside the stores holds, for as long as a label lives.

use std::collections::BTreeSet;

use crate::event::{FileId, SECOND, Stamp};
use crate::map::{Map, map};
use crate::names::NameId;

use super::{Contents, RunNo};

/// A staging label lives this long, nanoseconds: 7 days.
pub const LABEL_LIFE: i64 = 7 * 24 * 3600 * SECOND;
/// What was put into a channel and not taken out is forgotten after this long, nanoseconds: an hour. A socket's buffer
/// is small, and its number is not used again.
pub const CHANNEL_LIFE: i64 = 3600 * SECOND;
/// Staging labels at the most, channels among them; beyond, one label per file system carries the rest.
pub const LABELS_LIMIT: usize = 65_536;

/// What a staging file holds, per store.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Which file.
    pub file: FileId,
    /// When it is forgotten.
    pub until: Stamp,
    /// Per store.
    pub contents: Vec<(NameId, Contents)>,
    /// In a channel: bytes that were put in and not taken out yet.
    pub waiting: u64,
    /// Stores that a service put in. In a channel it is what the taker takes that
    /// counts: it then holds so much of the store, whatever else it took from that service.
    pub served: Vec<Served>,
}

/// A store that a service put in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// Which.
    pub store: NameId,
    /// Bytes that a record has.
    pub each: f64,
    /// Of this data in this file: not any session's that read the store, whose share would grow.
    pub origin: RunNo,
}

impl Label {
    fn new(file: FileId, until: Stamp) -> Self {
        Self {
            file,
            until,
            contents: Vec::new(),
            waiting: 0,
            served: Vec::new(),
        }
    }

    /// A service of this store wrote: the origin of what it put in, which is `new` if it is the first time.
    pub(super) fn serve(&mut self, store: NameId, each: f64, new: RunNo) -> RunNo {
        if let Some(served) = self.served.iter().find(|served| served.store == store) {
            return served.origin;
        }
        let origin = new;
        self.served.push(Served {
            store,
            each,
            origin,
        });
        origin
    }
}

const fn life(file: FileId) -> i64 {
    if file.is_channel() {
        CHANNEL_LIFE
    } else {
        LABEL_LIFE
    }
}

/// A label's slot, and when it is to be looked at again.
pub type Reminder = (u32, Stamp);

/// All labels.
#[derive(Debug)]
pub struct Labels {
    slots: Vec<Option<Label>>,
    by_file: Map<FileId, u32>,
    free: Vec<u32>,
    /// Labels that did not fit, and went into their file system's.
    pub merged: u64,
    /// Files whose labels changed since this was last taken.
    pub changed: BTreeSet<FileId>,
}

impl Labels {
    /// None.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (slots, free, changed) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self {
            slots,
            by_file: map(seed),
            free,
            merged: 0,
            changed,
        }
    }

    /// Labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_file.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_file.is_empty()
    }

    /// Changes the label of a file, made if need be; its life begins anew. A new one wants to be looked at.
    pub fn change(
        &mut self,
        file: FileId,
        at: Stamp,
        change: impl FnOnce(&mut Label),
    ) -> Option<Reminder> {
        let full = self.by_file.len() >= LABELS_LIMIT && !self.by_file.contains_key(&file);
        let file = if full { file_system(file) } else { file };
        self.merged += u64::from(full);
        let is_new = !self.by_file.contains_key(&file);
        let slot = self.slot(file);
        let until = at.plus(life(file));
        let label = self.slots[slot as usize].get_or_insert_with(|| Label::new(file, until));
        label.until = until;
        change(label);
        if !file.is_channel() {
            self.changed.insert(file);
        }
        is_new.then_some((slot, until))
    }

    /// What a file holds; a file without a label of its own is carried by its file system's.
    #[must_use]
    pub fn of(&mut self, file: FileId) -> Option<&mut Label> {
        let slot = self
            .by_file
            .get(&file)
            .or_else(|| self.by_file.get(&file_system(file)))?;
        self.slots[*slot as usize].as_mut()
    }

    /// The label of this very file.
    #[must_use]
    pub fn get(&self, file: FileId) -> Option<&Label> {
        self.slots.get(*self.by_file.get(&file)? as usize)?.as_ref()
    }

    /// A file moved away, was truncated or deleted.
    pub fn forget(&mut self, file: FileId) {
        if let Some(slot) = self.by_file.remove(&file) {
            self.slots[slot as usize] = None;
            self.free.push(slot);
            if !file.is_channel() {
                self.changed.insert(file);
            }
        }
    }

    /// The time has come to look whether a label has expired. Returns when to look again.
    pub fn expire(&mut self, slot: u32, at: Stamp) -> Option<Stamp> {
        let label = self.slots.get(slot as usize)?.as_ref()?;
        if label.until > at {
            return Some(label.until);
        }
        self.forget(label.file);
        None
    }

    /// Puts back what an earlier run of the agent wrote down.
    pub fn restore(&mut self, label: Label) -> Reminder {
        let slot = self.slot(label.file);
        let until = label.until;
        self.slots[slot as usize] = Some(label);
        (slot, until)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Label> {
        self.slots.iter().flatten()
    }

    fn slot(&mut self, file: FileId) -> u32 {
        if let Some(slot) = self.by_file.get(&file) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            super::last_slot(self.slots.len())
        });
        self.by_file.insert(file, slot);
        slot
    }
}

/// The label that carries what has no label of its own, per file system.
const fn file_system(file: FileId) -> FileId {
    FileId {
        inode: 0,
        generation: 0,
        ..file
    }
}
