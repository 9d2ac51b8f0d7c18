//! Plays recorded events to the engine, in virtual time.

use jaga_rules::engine::Engine;
use jaga_rules::event::{Event, Setup, Stamp, Stamped};
use jaga_rules::output::{Output, Transition};
use jaga_rules::problem::Problems;

/// A replay keeps no rows: after so many events, what changed is forgotten.
const KEEP_NO_ROWS: u64 = 65_536;

/// Plays a recording, and hands over every transition.
pub struct Player<'a> {
    engine: Engine,
    output: Output,
    now: Stamp,
    played: u64,
    told: Box<dyn FnMut(&Transition) + 'a>,
}

impl<'a> Player<'a> {
    /// A player whose engine has this seed and setup. `told` gets each transition as it happens.
    ///
    /// # Errors
    /// Every problem of configuration and rules.
    pub fn new(
        seed: u64,
        setup: &Setup,
        told: impl FnMut(&Transition) + 'a,
    ) -> Result<Self, Problems> {
        Ok(Self {
            engine: Engine::new(seed, setup)?,
            output: Output::default(),
            now: Stamp::default(),
            played: 0,
            told: Box::new(told),
        })
    }

    /// Plays one event.
    pub fn play(&mut self, event: &Stamped) {
        self.now = self.now.max(event.at);
        self.played += 1;
        if self.played.is_multiple_of(KEEP_NO_ROWS) {
            self.engine.drop_rows();
        }
        self.engine.step(event, &mut self.output);
        self.output.settled.clear();
        for transition in self.output.transitions.drain(..) {
            (self.told)(&transition);
        }
    }

    /// Lets `nanos` more pass in silence, from deadline to deadline, so that what fired can be resolved.
    pub fn run_on(&mut self, nanos: i64) {
        let end = self.now.plus(nanos);
        let mut before = None;
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= end) {
            // An engine that names the same deadline twice would never end.
            if before.replace(at) == Some(at) {
                break;
            }
            self.play(&wake(at.max(self.now)));
        }
        self.play(&wake(end));
    }
}

fn wake(at: Stamp) -> Stamped {
    Stamped {
        at,
        event: Event::Wake,
    }
}
