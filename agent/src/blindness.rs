//! What this host cannot see, by the name under which somebody may answer for it (`accept:`).

use jaga_rules::config::{Accept, Config};
use jiff::civil::Date;

use crate::sensor::{host, interfaces, pcap};

/// What is not seen, however well the sensors are attached: its name, and what it is.
pub const ALWAYS: [(&str, &str); 7] = [
    host::NOT_SEEN[0],
    host::NOT_SEEN[1],
    host::NOT_SEEN[2],
    host::NOT_SEEN[3],
    host::NOT_SEEN[4],
    (
        "snapshots",
        "hypervisor and SAN snapshots, pulled disks, photographs of screens",
    ),
    (
        "single-rows",
        "one row per request through an application that may",
    ),
];

/// The sensors: each may be blind on a host.
const SENSORS: [&str; 6] = [
    "files",
    "channels",
    "sockets",
    "processes",
    pcap::SENSOR,
    interfaces::SENSOR,
];

/// Every name that may be accepted.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let always = ALWAYS.iter().map(|(name, _)| *name);
    SENSORS.into_iter().chain(always).collect()
}

/// Who answers for this blindness today.
#[must_use]
pub fn accepted<'a>(config: &'a Config, name: &str, today: Date) -> Option<&'a Accept> {
    config
        .agent
        .accept
        .iter()
        .find(|accept| *accept.blind == *name && accept.until >= today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sensor_may_be_accepted() {
        let config = jaga_rules::config::parse(
            "a.yaml",
            "sensors: { files: off, sockets: off, interfaces: off }",
        )
        .unwrap();
        let sensors: Vec<&str> = crate::sensor::probe(&config)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(sensors, SENSORS);
    }
}
