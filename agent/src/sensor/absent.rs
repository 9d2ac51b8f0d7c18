//! Stands in for a sensor that does not attach, that this program is built without, or that failed: it says so, and sees
//! nothing.

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

/// Waits for a sensor's thread to end. If it ended by a fault of its own, what it told of is blind from then on.
#[must_use]
pub fn replace_fallen(
    thread: JoinHandle<()>,
    sensors: &'static [&'static str],
    (feed, health): (Feed, HealthTable),
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let stand_in = move || {
        if thread.join().is_ok() {
            return;
        }
        tracing::error!(
            "a sensor ended by a fault of its own: {}",
            sensors.join(", ")
        );
        let seeing = health.all().into_iter().filter(|(_, health)| health.up);
        let fallen = seeing.filter(|(sensor, _)| sensors.contains(sensor));
        let fallen = fallen.map(|(sensor, _)| Absent {
            sensor,
            why: "it ended by a fault of its own: restart jaga, and report what its log says"
                .into(),
            wanted: true,
        });
        let stand_ins: Vec<_> = fallen
            .map(|absent| {
                absent.show(&health);
                absent.start(feed.clone(), Arc::clone(&stop))
            })
            .collect();
        for thread in stand_ins {
            let _ = thread.join(); // it cannot fail, and if it did there is nobody left to say so
        }
    };
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(stand_in)
        .expect("a thread can be made at start")
}

impl Absent {
    /// Shows in `health` that it sees nothing.
    pub fn show(&self, health: &HealthTable) {
        let why = if self.wanted { &self.why } else { OFF };
        health.update(self.sensor, |health| {
            (health.up, health.rung) = (false, 0);
            why.clone_into(&mut health.why);
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fallen_sensor_told_of_is_blind() {
        let (feed, batches) = std::sync::mpsc::sync_channel(4);
        let health = HealthTable::default();
        for sensor in ["files", "sockets"] {
            health.update(sensor, |health| {
                (health.up, health.rung) = (sensor == "files", 1)
            });
        }
        let fallen = thread::spawn(|| panic!("as a sensor might"));
        let stop = Arc::new(AtomicBool::new(false));
        let ends = (feed, health.clone());
        let watch = replace_fallen(fallen, &["files", "sockets"], ends, Arc::clone(&stop));
        let batch = batches.recv().unwrap();
        assert!(
            matches!(&batch[..], [Event::Gap(Gap { sensor, kind: GapKind::Blind, .. })] if &**sensor == "files")
        );
        stop.store(true, Ordering::Relaxed);
        watch.join().unwrap();
        assert!(health.all().iter().all(|(_, health)| !health.up));
    }
}
