//! Stands in for the live sensor in a program that is built without libpcap: it says so, and sees nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaga_rules::config::{Config, Interfaces};
use jaga_rules::event::{Event, Gap, GapKind};

use super::SENSOR;
use crate::sensor::{Feed, HealthTable, OFF, Probe};

/// Why it does not see.
const WHY: &str = "this program is built without the feature 'pcap': install one that has it, or name it under accept:";

/// Blindness is told again this often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Tells that nothing is seen, for as long as it lasts.
#[must_use]
pub fn start(
    config: &Config,
    feed: Feed,
    health: HealthTable,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let off = config.agent.sensors.interfaces == Interfaces::Off;
    let why = if off { OFF } else { WHY };
    health.update(SENSOR, |health| health.why = why.to_owned());
    thread::Builder::new()
        .name(SENSOR.to_owned())
        .spawn(move || {
            let mut until_told = Duration::ZERO;
            while !off && !stop.load(Ordering::Relaxed) {
                if until_told.is_zero() {
                    until_told = TELL_AGAIN;
                    if feed.send(vec![blind()]).is_err() {
                        return;
                    }
                }
                let pause = Duration::from_millis(250);
                thread::sleep(pause);
                until_told = until_told.saturating_sub(pause);
            }
        })
        .expect("a thread can be made at start")
}

/// That nothing is seen.
#[must_use]
pub fn probe(config: &Config) -> Probe {
    match config.agent.sensors.interfaces {
        Interfaces::Off => Probe::Off,
        Interfaces::Auto | Interfaces::Named(_) => Probe::Blind(WHY.to_owned()),
    }
}

fn blind() -> Event {
    Event::Gap(Gap {
        sensor: SENSOR.into(),
        kind: GapKind::Blind,
        events: 0,
        bytes: 0,
        why: WHY.into(),
    })
}
