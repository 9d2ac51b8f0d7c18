//! The `wire` sensor (`ebpf/wire.rs`), or what stands in for it in a program that is built without eBPF.

/// Its name in health and gaps.
pub const SENSOR: &str = "wire";

#[cfg(not(feature = "ebpf"))]
pub use self::absent::{attach, probe};
#[cfg(feature = "ebpf")]
pub use super::ebpf::wire::{attach, probe};

#[cfg(not(feature = "ebpf"))]
mod absent {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread::JoinHandle;

    use jaga_rules::config::{Choice, Config};

    use super::SENSOR;
    use crate::sensor::absent::Absent;
    use crate::sensor::{Feed, HealthTable, Probe};

    /// The sensor that is not there; [`Wire::start`] lets it say so.
    pub struct Wire(Absent, Feed);

    /// Shows in `health` that nothing is seen.
    #[must_use]
    pub fn attach(config: &Config, feed: Feed, health: &HealthTable) -> Wire {
        let absent = absent(config);
        absent.show(health);
        Wire(absent, feed)
    }

    impl Wire {
        /// Tells that nothing is seen, for as long as it lasts.
        #[must_use]
        pub fn start(self, stop: Arc<AtomicBool>) -> JoinHandle<()> {
            self.0.start(self.1, stop)
        }
    }

    /// That nothing would be seen.
    #[must_use]
    pub fn probe(config: &Config) -> Probe {
        absent(config).probe()
    }

    fn absent(config: &Config) -> Absent {
        Absent {
            sensor: SENSOR,
            why: "this program is built without the feature 'ebpf': install one that has it, or name it under accept:".to_owned(),
            wanted: config.agent.sensors.sockets != Choice::Off,
        }
    }
}
