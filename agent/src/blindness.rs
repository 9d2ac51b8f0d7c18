//! What this host cannot see, by the name under which somebody may answer for it (`accept:`).

use jaga_rules::config::{Accept, Config};
use jiff::civil::Date;

use crate::sensor::{Probe, fanotify, host, interfaces, pcap, wire};

/// What is not seen, however well the sensors are attached: its name, and what it is.
pub const ALWAYS: [(&str, &str); 9] = [
    host::NOT_SEEN[0],
    host::NOT_SEEN[1],
    host::NOT_SEEN[2],
    host::NOT_SEEN[3],
    host::NOT_SEEN[4],
    host::NOT_SEEN[5],
    host::NOT_SEEN[6],
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
const SENSORS: [&str; 9] = [
    "files",
    "channels",
    "sockets",
    "processes",
    host::MEMORY,
    fanotify::decoys::SENSOR,
    pcap::SENSOR,
    interfaces::SENSOR,
    wire::SENSOR,
];

/// Subjects on rungs that see less than the best: the name, and what is not seen beside what never is.
const LOWER: [(&str, &str); 10] = [
    ("files-rung-2", ""),
    (
        "files-rung-3",
        "how much of a file was read, to the byte: it is estimated, and too low where a program maps it, or reads it by \
         io_uring, and reads others meanwhile; who reads through a descriptor that was passed to it; memfd; a store's \
         file by a hard link outside the store, until it was opened in the store; a store's snapshot; before Linux 6.10 \
         what another mount namespace's overlay shows",
    ),
    (
        "files-rung-4",
        "who reads; how much of a file; what is staged outside the stores; memfd; a store's file by a hard link outside \
         the store; a store's snapshot",
    ),
    ("sockets-rung-2", ""),
    (
        "sockets-rung-3",
        "UDP and raw sockets, which have no counter: the interfaces' counters hold them; who had a connection of a few \
         milliseconds; other network namespaces; what a process sends to another on this host",
    ),
    (
        "sockets-rung-4",
        "who sends; packets that pass by the queue (PACKET_QDISC_BYPASS); what a process sends to another on this host",
    ),
    (
        "memory-rung-3",
        "who reads another process's memory without tracing it (process_vm_readv, /proc/PID/mem)",
    ),
    ("processes-rung-2", ""),
    (
        "processes-rung-3",
        "the program of a process that ends within a millisecond",
    ),
    (
        "processes-rung-4",
        "processes that end between two looks at /proc",
    ),
];

/// What is not seen on a host whose subjects came to this.
#[must_use]
pub fn not_seen(probes: &[(&'static str, Probe)]) -> Vec<(&'static str, &'static str)> {
    let (mut rungs, mut seen) = (Vec::new(), Vec::new());
    for (subject, probe) in probes {
        if let Probe::Sees {
            rung, sees_also, ..
        } = probe
        {
            rungs.push(format!("{subject}-rung-{rung}"));
            seen.extend(*sees_also);
        }
    }
    let lower = LOWER
        .into_iter()
        .filter(|(name, what)| !what.is_empty() && rungs.iter().any(|known| known == name));
    let always = ALWAYS.into_iter().filter(|(name, _)| !seen.contains(&name));
    always.chain(lower).collect()
}

/// Every name that may be accepted.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let always = ALWAYS.iter().map(|(name, _)| *name);
    let lower = LOWER.iter().map(|(name, _)| *name);
    SENSORS.into_iter().chain(always).chain(lower).collect()
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
    fn what_a_lower_rung_does_not_see_is_added() {
        let sees = |rung, sees_also| Probe::Sees {
            rung,
            how: String::new(),
            sees_also,
        };
        let names = |probes: &[(&'static str, Probe)]| -> Vec<&str> {
            let all = not_seen(probes);
            all.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(
            names(&[("files", sees(1, &[]))]),
            ALWAYS.map(|(name, _)| name)
        );
        let lower = names(&[("files", sees(3, &["tmpfs"])), ("sockets", sees(4, &[]))]);
        assert!(!lower.contains(&"tmpfs"));
        assert!(lower.ends_with(&["files-rung-3", "sockets-rung-4"]));
    }

    #[test]
    fn every_sensor_may_be_accepted() {
        let config = jaga_rules::config::parse(
            "a.yaml",
            "sensors: { files: off, sockets: off, interfaces: off }\ndecoys: [{ name: a, path: /a }]",
        )
        .unwrap();
        let sensors: Vec<&str> = crate::sensor::probe(&config)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(sensors, SENSORS);
    }
}
