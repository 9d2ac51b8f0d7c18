//! When something must happen although nothing else does: one heap for all timers, stale entries passed over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::Stamp;

/// What is due. The order breaks ties, so that equal times always happen in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// An alert's `hold` or `quiet` may be over: (rule, slot of the alert).
    Alert(u32, u32),
    /// A key's window may be empty: (tally, slot of the cell, which of the tally's lengths).
    Cell(u32, u32, u32),
    /// A session run may hold nothing any more: its slot.
    Run(u32),
    /// A staging label may have expired: its slot.
    Label(u32),
    /// What was seen long ago may be forgotten.
    Firsts,
    /// What the wire is ahead of the sockets may have waited long enough.
    Round,
}

/// All timers. An entry is a reminder to look, never an order: whoever is reminded asks its own state.
/// Setting a timer again leaves the old entry behind, which then reminds in vain.
#[derive(Debug, Default)]
pub struct Deadlines(BinaryHeap<Reverse<(Stamp, Due)>>);

impl Deadlines {
    /// Reminds of `due` at `at`.
    pub fn remind(&mut self, at: Stamp, due: Due) {
        self.0.push(Reverse((at, due)));
    }

    /// The earliest reminder.
    #[must_use]
    pub fn next(&self) -> Option<Stamp> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest reminder that is due at `now`.
    pub fn take(&mut self, now: Stamp) -> Option<(Stamp, Due)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// Forgets reminders of what is gone.
    pub fn forget(&mut self, gone: impl Fn(Due) -> bool) {
        self.0.retain(|Reverse((_, due))| !gone(*due));
    }

    /// Entries, stale ones included.
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
