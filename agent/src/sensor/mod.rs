//! What every sensor shares: how it hands over events, and how its health is told.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use jaga_rules::config::Config;
use jaga_rules::event::Event;

pub mod absent;
#[cfg(feature = "ebpf")]
pub mod ebpf;
pub mod fanotify;
pub(crate) mod fields;
pub mod host;
pub mod inotify;
pub mod interfaces;
pub(crate) mod netlink;
pub mod pcap;
pub mod proc;
pub mod sock_diag;
pub mod wire;

/// One drain of a sensor, in the order in which it must be told. Not stamped: ingest stamps.
pub type Batch = Vec<Event>;

/// Where sensors put their batches. Bounded: a full queue blocks the sensor's own thread, while the kernel's
/// maps go on counting, so the watched host is never slowed and nothing is lost (I12).
pub type Feed = SyncSender<Batch>;

/// Batches that may wait for the engine.
pub const FEED_LIMIT: usize = 64;

/// What a sensor is, right now; the source of `jaga check` and of `jaga_sensor_*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// It sees.
    pub up: bool,
    /// 1 is best; 0 = not running.
    pub rung: u8,
    /// How it sees, or why it does not and the next step.
    pub why: String,
    /// Events that it handed over since start.
    pub events: u64,
    /// Events lost since start.
    pub lost_events: u64,
    /// Bytes lost since start, where countable.
    pub lost_bytes: u64,
}

/// Why a sensor that nobody wants does not see.
pub const OFF: &str = "off: by configuration";

/// What came of trying a sensor: started as `jaga run` would, and let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It would see.
    Sees {
        /// 1 is best.
        rung: u8,
        /// How, and why not better.
        how: String,
        /// What it sees all the same of what is not seen everywhere, by its name in `jaga check`.
        sees_also: &'static [&'static str],
    },
    /// Nobody wants it.
    Off,
    /// It would see nothing; why, and the next step.
    Blind(String),
}

/// Of a sensor that has one rung only: how it sees, or why it does not.
impl From<Result<String, String>> for Probe {
    fn from(tried: Result<String, String>) -> Self {
        tried.map_or_else(Self::Blind, |how| Self::Sees {
            rung: 1,
            how,
            sees_also: &[],
        })
    }
}

/// Tries every sensor that there is.
#[must_use]
pub fn probe(config: &Config) -> Vec<(&'static str, Probe)> {
    let beside = [
        (pcap::SENSOR, pcap::probe(config)),
        (interfaces::SENSOR, interfaces::probe(config)),
        (wire::SENSOR, wire::probe(config)),
    ];
    host::probe(config).into_iter().chain(beside).collect()
}

/// The health of all sensors by subject: `files`, `sockets`, `processes`, `pcap`, `interfaces`, `wire`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HealthTable(Arc<Mutex<BTreeMap<&'static str, Health>>>);

impl HealthTable {
    /// Changes the health of `subject`, creating it if need be.
    pub fn update(&self, subject: &'static str, change: impl FnOnce(&mut Health)) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(table.entry(subject).or_default());
    }

    /// All, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, Health)> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table
            .iter()
            .map(|(subject, health)| (*subject, health.clone()))
            .collect()
    }
}
