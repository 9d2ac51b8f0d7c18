//! The live sensor of a program that is built without libpcap.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use jaga_rules::config::{Config, Interfaces};

use super::SENSOR;
use crate::sensor::absent::Absent;
use crate::sensor::{Feed, HealthTable, Probe};

/// Tells that nothing is seen, for as long as it lasts.
#[must_use]
pub fn start(
    config: &Config,
    feed: Feed,
    health: HealthTable,
    stop: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let absent = absent(config);
    absent.show(&health);
    absent.start(feed, stop)
}

/// That nothing would be seen.
#[must_use]
pub fn probe(config: &Config) -> Probe {
    absent(config).probe()
}

fn absent(config: &Config) -> Absent {
    Absent {
        sensor: SENSOR,
        why: "this program is built without the feature 'pcap': install one that has it, or name it under accept:".to_owned(),
        wanted: config.agent.sensors.interfaces != Interfaces::Off,
    }
}
