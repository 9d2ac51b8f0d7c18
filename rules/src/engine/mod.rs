//! The engine: takes stamped events, owns all state, returns transitions and changed rows.

use crate::event::{Setup, Stamp, Stamped};
use crate::output::{Output, Rows, Snapshot};
use crate::problem::Problems;

/// All that decides.
pub struct Engine {}

impl Engine {
    /// An engine for this configuration and these rules. `seed` seeds its hash maps and alert ids.
    ///
    /// # Errors
    /// Every problem of the configuration and of the rules.
    pub fn new(_seed: u64, _setup: &Setup) -> Result<Self, Problems> {
        Ok(Self {})
    }

    /// Takes one event. What became due before its stamp happens first.
    pub fn step(&mut self, _event: &Stamped, _output: &mut Output) {}

    /// When to wake it next if nothing happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Stamp> {
        None
    }

    /// Rows that changed since the last call, in a fixed order.
    pub fn take_rows(&mut self) -> Rows {
        Vec::new()
    }

    /// Its totals.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
