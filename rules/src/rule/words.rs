//! The words of rules, in one table each: what users type, what is shown, and what `jaga explain` says of them.

use std::fmt;

use super::{AppProtocol, First, KeyField, Measure, Scope, Severity};
use crate::event::GapKind;
use crate::output::AlertState;

/// What a measure is to its reader.
#[derive(Debug)]
pub struct MeasureWord {
    /// What the user types.
    pub name: &'static str,
    /// Which.
    pub measure: Measure,
    /// What a limit's amount is written in.
    pub unit: Unit,
    /// What it watches, which tells the keys and selections that it has.
    pub watches: Watches,
}

/// What a limit's amount is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `100 MB`.
    Bytes,
    /// `10000`.
    Count,
    /// `20 MB/s burst 2 GB`.
    Rate,
}

/// What a measure watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watches {
    /// What left over sockets.
    Sent,
    /// What left over sockets, booked to each store that the sender holds.
    Exposed,
    /// What was read of stores.
    Read,
    /// What was lost or could not be seen.
    Gaps,
    /// What left by an interface and is not, or not so, what a socket sent.
    Wire,
    /// Files that nobody has a reason to open.
    Decoys,
    /// Names that this host looks up.
    Lookups,
    /// ICMP messages that leave.
    Icmp,
    /// What holders write to media that can be taken away.
    Media,
    /// Who reads the memory of those that hold or serve a store.
    Memory,
    /// Which devices holders open.
    Devices,
    /// What medical systems ask of each other.
    Medical,
    /// What was never seen before.
    Firsts,
}

/// All measures.
pub const MEASURES: [MeasureWord; 24] = [
    MeasureWord {
        name: "sent-bytes",
        measure: Measure::SentBytes,
        unit: Unit::Bytes,
        watches: Watches::Sent,
    },
    MeasureWord {
        name: "exposed-bytes",
        measure: Measure::ExposedBytes,
        unit: Unit::Bytes,
        watches: Watches::Exposed,
    },
    MeasureWord {
        name: "exposed-records",
        measure: Measure::ExposedRecords,
        unit: Unit::Count,
        watches: Watches::Exposed,
    },
    MeasureWord {
        name: "served-bytes",
        measure: Measure::ServedBytes,
        unit: Unit::Bytes,
        watches: Watches::Exposed,
    },
    MeasureWord {
        name: "read-bytes",
        measure: Measure::ReadBytes,
        unit: Unit::Bytes,
        watches: Watches::Read,
    },
    MeasureWord {
        name: "files-read",
        measure: Measure::FilesRead,
        unit: Unit::Count,
        watches: Watches::Read,
    },
    MeasureWord {
        name: "destinations",
        measure: Measure::Destinations,
        unit: Unit::Count,
        watches: Watches::Sent,
    },
    MeasureWord {
        name: "connections",
        measure: Measure::Connections,
        unit: Unit::Count,
        watches: Watches::Sent,
    },
    MeasureWord {
        name: "rate",
        measure: Measure::Rate,
        unit: Unit::Rate,
        watches: Watches::Sent,
    },
    MeasureWord {
        name: "gap",
        measure: Measure::Gap,
        unit: Unit::Count,
        watches: Watches::Gaps,
    },
    MeasureWord {
        name: "unattributed-bytes",
        measure: Measure::UnattributedBytes,
        unit: Unit::Bytes,
        watches: Watches::Wire,
    },
    MeasureWord {
        name: "rewritten-bytes",
        measure: Measure::RewrittenBytes,
        unit: Unit::Bytes,
        watches: Watches::Wire,
    },
    MeasureWord {
        name: "decoy-touched",
        measure: Measure::DecoyTouched,
        unit: Unit::Count,
        watches: Watches::Decoys,
    },
    MeasureWord {
        name: "dns-name-bytes",
        measure: Measure::DnsNameBytes,
        unit: Unit::Bytes,
        watches: Watches::Lookups,
    },
    MeasureWord {
        name: "dns-names",
        measure: Measure::DnsNames,
        unit: Unit::Count,
        watches: Watches::Lookups,
    },
    MeasureWord {
        name: "icmp-bytes",
        measure: Measure::IcmpBytes,
        unit: Unit::Bytes,
        watches: Watches::Icmp,
    },
    MeasureWord {
        name: "media-bytes",
        measure: Measure::MediaBytes,
        unit: Unit::Bytes,
        watches: Watches::Media,
    },
    MeasureWord {
        name: "memory-read",
        measure: Measure::MemoryRead,
        unit: Unit::Count,
        watches: Watches::Memory,
    },
    MeasureWord {
        name: "dicom-moves",
        measure: Measure::DicomMoves,
        unit: Unit::Count,
        watches: Watches::Medical,
    },
    MeasureWord {
        name: "dicom-stores",
        measure: Measure::DicomStores,
        unit: Unit::Count,
        watches: Watches::Medical,
    },
    MeasureWord {
        name: "hl7-messages",
        measure: Measure::Hl7Messages,
        unit: Unit::Count,
        watches: Watches::Medical,
    },
    MeasureWord {
        name: "first-seen",
        measure: Measure::FirstSeen,
        unit: Unit::Count,
        watches: Watches::Firsts,
    },
    MeasureWord {
        name: "active-hours",
        measure: Measure::ActiveHours,
        unit: Unit::Count,
        watches: Watches::Exposed,
    },
    MeasureWord {
        name: "devices-opened",
        measure: Measure::DevicesOpened,
        unit: Unit::Count,
        watches: Watches::Devices,
    },
];

/// Measures of the design that this version has not.
pub const MEASURES_LATER: [&str; 4] = ["records-read", "staged-bytes", "send-ratio", "budget-burn"];

/// All key fields: what users type, which, and what it is.
pub const KEY_FIELDS: [(&str, KeyField, &str); 13] = [
    ("store", KeyField::Store, "a protected data set"),
    (
        "session",
        KeyField::Session,
        "a session's name, such as login:alice or unit:nginx.service",
    ),
    ("exe", KeyField::Exe, "path of the program"),
    ("user", KeyField::User, "effective user"),
    (
        "destination",
        KeyField::Destination,
        "remote address without port",
    ),
    (
        "peer",
        KeyField::Peer,
        "remote address without port, inside the hospital",
    ),
    (
        "network",
        KeyField::Network,
        "the /24 or /48 of the remote address",
    ),
    (
        "domain",
        KeyField::Domain,
        "registrable domain of the remote's name, else its address",
    ),
    ("interface", KeyField::Interface, "network interface"),
    (
        "host",
        KeyField::Host,
        "this host; in a recording the local address",
    ),
    ("sensor", KeyField::Sensor, "the sensor that has the gap"),
    (
        "ae-title",
        KeyField::AeTitle,
        "DICOM title of the other end; of a move, of whom objects shall go to",
    ),
    (
        "port",
        KeyField::Port,
        "port of this host that answered for the first time",
    ),
];

/// All scopes.
pub const SCOPES: [(&str, Scope); 4] = [
    ("contract", Scope::Contract),
    ("internal", Scope::Internal),
    ("relay", Scope::Relay),
    ("external", Scope::External),
];

/// All medical protocols.
pub const APP_PROTOCOLS: [(&str, AppProtocol); 2] =
    [("dicom", AppProtocol::Dicom), ("hl7", AppProtocol::Hl7)];

/// All that can be seen for the first time.
pub const FIRSTS: [(&str, First); 9] = [
    ("destination", First::Destination),
    ("exe", First::Exe),
    ("user", First::User),
    ("port", First::Port),
    ("ae-title", First::AeTitle),
    ("ae-peer", First::AePeer),
    ("resolver", First::Resolver),
    ("encrypted-dns", First::EncryptedDns),
    ("interface", First::Interface),
];

/// All severities.
pub const SEVERITIES: [(&str, Severity); 3] = [
    ("info", Severity::Info),
    ("warning", Severity::Warning),
    ("critical", Severity::Critical),
];

/// All kinds of gap.
pub const GAP_KINDS: [(&str, GapKind); 8] = [
    ("lost", GapKind::Lost),
    ("blind", GapKind::Blind),
    ("clock-step", GapKind::ClockStep),
    ("unreadable", GapKind::Unreadable),
    ("down", GapKind::Down),
    ("restart", GapKind::Restart),
    ("lower-rung", GapKind::LowerRung),
    ("unseen", GapKind::Unseen),
];

/// All states of an alert.
pub const ALERT_STATES: [(&str, AlertState); 3] = [
    ("pending", AlertState::Pending),
    ("firing", AlertState::Firing),
    ("resolved", AlertState::Resolved),
];

impl Measure {
    /// Its line in the table.
    #[must_use]
    pub fn word(self) -> &'static MeasureWord {
        // Complete by the test below; the first line keeps the types simple.
        MEASURES
            .iter()
            .find(|word| word.measure == self)
            .unwrap_or(&MEASURES[0])
    }
}

impl Watches {
    /// Key fields that an observation of this kind has.
    #[must_use]
    pub const fn keys(self) -> &'static [KeyField] {
        use KeyField as K;
        match self {
            Self::Sent => &[
                K::Session,
                K::Exe,
                K::User,
                K::Destination,
                K::Peer,
                K::Network,
                K::Domain,
                K::Interface,
                K::Host,
            ],
            Self::Exposed => &[
                K::Store,
                K::Session,
                K::Exe,
                K::User,
                K::Destination,
                K::Peer,
                K::Network,
                K::Domain,
                K::Interface,
                K::Host,
            ],
            Self::Read => &[K::Store, K::Session, K::Exe, K::User, K::Host],
            Self::Decoys => &[K::Session, K::Exe, K::User, K::Host],
            Self::Lookups => &[K::Domain, K::Destination, K::Network, K::Host],
            Self::Icmp => &[K::Destination, K::Network, K::Host],
            Self::Media | Self::Memory | Self::Devices => {
                &[K::Store, K::Session, K::Exe, K::User, K::Host]
            }
            Self::Medical => &[K::AeTitle, K::Destination, K::Peer, K::Network, K::Host],
            Self::Firsts => &[
                K::Store,
                K::Session,
                K::Exe,
                K::User,
                K::Destination,
                K::Peer,
                K::Network,
                K::Port,
                K::AeTitle,
                K::Interface,
                K::Host,
            ],
            Self::Gaps => &[K::Sensor, K::Host],
            Self::Wire => &[
                K::Destination,
                K::Peer,
                K::Network,
                K::Domain,
                K::Interface,
                K::Host,
            ],
        }
    }
}

impl KeyField {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        KEY_FIELDS
            .iter()
            .find(|(_, field, _)| *field == self)
            .map_or("", |(name, ..)| name)
    }
}

fn name_in<T: PartialEq + Copy>(words: &[(&'static str, T)], value: T) -> &'static str {
    words
        .iter()
        .find(|(_, word)| *word == value)
        .map_or("", |(name, _)| name)
}

impl Measure {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.word().name
    }
}

impl Scope {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&SCOPES, self)
    }
}

impl AppProtocol {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&APP_PROTOCOLS, self)
    }
}

impl First {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&FIRSTS, self)
    }
}

impl Severity {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&SEVERITIES, self)
    }
}

impl GapKind {
    /// What users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&GAP_KINDS, self)
    }
}

impl AlertState {
    /// What is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_in(&ALERT_STATES, self)
    }
}

macro_rules! shown_by_name {
    ($($word:ty),*) => {$(
        impl fmt::Display for $word {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(self.name())
            }
        }
    )*};
}
shown_by_name!(
    Measure,
    KeyField,
    Scope,
    AppProtocol,
    First,
    Severity,
    GapKind,
    AlertState
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// Serde derives the same words from the variants: a tape and an alert line must not speak another language.
    #[track_caller]
    fn check<T: serde::Serialize + fmt::Display + Debug>(name: &str, value: &T) {
        assert_eq!(serde_json::to_string(value).unwrap(), format!("\"{name}\""));
        assert_eq!(value.to_string(), name);
    }

    #[test]
    fn tables_and_serde_agree() {
        MEASURES
            .iter()
            .for_each(|word| check(word.name, &word.measure));
        KEY_FIELDS
            .iter()
            .for_each(|(name, field, _)| check(name, field));
        SCOPES.iter().for_each(|(name, word)| check(name, word));
        SEVERITIES.iter().for_each(|(name, word)| check(name, word));
        FIRSTS.iter().for_each(|(name, word)| check(name, word));
        APP_PROTOCOLS
            .iter()
            .for_each(|(name, word)| check(name, word));
        GAP_KINDS.iter().for_each(|(name, word)| check(name, word));
        ALERT_STATES
            .iter()
            .for_each(|(name, word)| check(name, word));
    }
}
