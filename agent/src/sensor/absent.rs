//! Stands in for a sensor that does not attach, or that this program is built without: it says so, and sees nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::event::{Event, Gap, GapKind};

#[cfg(not(all(feature = "ebpf", feature = "pcap")))]
use super::Probe;
use super::{Feed, HealthTable, OFF};

/// Blindness is told again this often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// How often it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(250);

/// A sensor that is not there.
#[derive(Debug, Clone)]
pub struct Absent {
    /// Its name in health and gaps.
    pub sensor: &'static str,
    /// Why it does not see, and the next step.
    pub why: String,
    /// Somebody would want it.
    pub wanted: bool,
}

impl Absent {
    /// Shows in `health` that it sees nothing.
    pub fn show(&self, health: &HealthTable) {
        let why = if self.wanted { &self.why } else { OFF };
        health.update(self.sensor, |health| why.clone_into(&mut health.why));
    }

    /// Tells that nothing is seen, for as long as it lasts.
    #[must_use]
    pub fn start(self, feed: Feed, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::Builder::new()
            .name(self.sensor.to_owned())
            .spawn(move || self.run(&feed, &stop))
            .expect("a thread can be made at start")
    }

    /// That nothing would be seen.
    #[cfg(not(all(feature = "ebpf", feature = "pcap")))]
    #[must_use]
    pub fn probe(self) -> Probe {
        if self.wanted {
            Probe::Blind(self.why)
        } else {
            Probe::Off
        }
    }

    fn run(&self, feed: &Feed, stop: &AtomicBool) {
        let mut until_told = Duration::ZERO;
        while self.wanted && !stop.load(Ordering::Relaxed) {
            if until_told.is_zero() {
                until_told = TELL_AGAIN;
                if feed.send(vec![self.blind()]).is_err() {
                    return;
                }
            }
            thread::park_timeout(LOOK);
            until_told = until_told.saturating_sub(LOOK);
        }
    }

    fn blind(&self) -> Event {
        Event::Gap(Gap {
            sensor: self.sensor.into(),
            kind: GapKind::Blind,
            events: 0,
            bytes: 0,
            why: self.why.as_str().into(),
        })
    }
}
