//! Stands in where no output is configured, so that the outbox does not fill.

use jaga_rules::output::Transition;

use super::{Delivery, Output};

/// Takes everything and tells nobody; `/metrics` still shows what fires.
#[derive(Debug)]
pub struct Nowhere;

impl Nowhere {
    /// Its name among outputs.
    pub const NAME: &'static str = "none";
}

impl Output for Nowhere {
    fn deliver<'a>(&'a mut self, _transitions: &'a [Transition]) -> Delivery<'a> {
        Box::pin(async { Ok(0) })
    }
}
