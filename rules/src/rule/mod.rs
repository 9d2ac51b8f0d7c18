//! A rule as the program believes it; `file.rs` turns what the user typed into it.

use globset::GlobMatcher;

use crate::config::Target;
use crate::event::{GapKind, Name};

mod file;
mod limit;
pub mod words;

pub use file::{RuleFile, parse};

/// Select, group, measure, window, limit, life cycle.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Kebab-case name, unique.
    pub name: Name,
    /// One line for a human.
    pub title: Name,
    /// How bad.
    pub severity: Severity,
    /// MITRE ATT&CK technique ids.
    pub attack: Vec<Name>,
    /// What is counted at all.
    pub select: Where,
    /// Per what it is counted; at most three.
    pub by: Vec<KeyField>,
    /// Any one of them fires. At least one.
    pub limits: Vec<Limit>,
    /// Pending for this long before it fires, nanoseconds.
    pub hold: i64,
    /// Resolved after this long with less than 1 % of the smallest limit, nanoseconds.
    pub quiet: i64,
    /// What to do.
    pub advice: Name,
}

/// How bad. Ordered: `Info < Warning < Critical`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Look at it some day.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// What an observation must be to count. An empty list means any.
#[derive(Debug, Clone, Default)]
pub struct Where {
    /// Scopes.
    pub scope: Vec<Scope>,
    /// Store names.
    pub store: Vec<Name>,
    /// Session names.
    pub session: Vec<GlobMatcher>,
    /// Program paths.
    pub exe: Vec<GlobMatcher>,
    /// Effective users.
    pub user: Vec<GlobMatcher>,
    /// Destinations.
    pub destination: Vec<Target>,
    /// Kinds of gap.
    pub gap: Vec<GapKind>,
    /// Sensors.
    pub sensor: Vec<Name>,
    /// `yes`: only what a unit sends that `serves` the store (any store, where none is exposed); `no`: all but that.
    /// A workstation is served gigabytes a day, which by anybody else would be theft.
    pub serves: Option<bool>,
    /// `yes`: only reads of a block device that the store lies on, or by `btrfs send`; `no`: only reads through a path.
    pub below: Option<bool>,
    /// `yes`: only what a listed reader does; `no`: all but that.
    pub reader: Option<bool>,
    /// Medical protocols that the flow speaks.
    pub app_protocol: Vec<AppProtocol>,
    /// DICOM titles: of the other end; of a move, of whom objects shall go to.
    pub ae_title: Vec<GlobMatcher>,
    /// `yes`: a contract names the title; `no`: there are contracts that name titles, and none names this one.
    pub ae_named: Option<bool>,
    /// What is seen for the first time.
    pub first: Vec<First>,
    /// `yes`: only what goes to a destination that store data went to for the first time within seven days; `no`: all else.
    pub new_destination: Option<bool>,
    /// Only on a host with stores (`stores: any`).
    pub on_store_host: bool,
}

/// Medical protocols that packets tell.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum AppProtocol {
    /// DICOM's upper layer: images and waveforms.
    Dicom,
    /// HL7 version 2 in MLLP frames: results and orders.
    Hl7,
}

/// What can be seen for the first time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// An address beyond the hospital that store data goes to, outside of contracts.
    Destination,
    /// A program that reads a store.
    Exe,
    /// A user who reads a store.
    User,
    /// A port of a data service that answers somebody outside of contracts.
    Port,
    /// A DICOM title that objects shall go to.
    AeTitle,
    /// A DICOM title that speaks with this host.
    AePeer,
    /// A server beyond the hospital that names are asked of.
    Resolver,
    /// A server of encrypted DNS, of each program.
    EncryptedDns,
    /// A network interface that is hardware.
    Interface,
}

/// Where a byte goes. `Contract` beats all.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Expected by a contract.
    Contract,
    /// The hospital's own network.
    Internal,
    /// An internal address that passes data on: judged as external.
    Relay,
    /// Anywhere else.
    External,
}

/// Per what a rule counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum KeyField {
    /// A protected data set.
    Store,
    /// Session name.
    Session,
    /// Program path.
    Exe,
    /// Effective user.
    User,
    /// Remote address without port.
    Destination,
    /// Remote address without port, inside the hospital.
    Peer,
    /// The /24 or /48 of the remote address.
    Network,
    /// Registrable domain of the remote's name, else its address.
    Domain,
    /// Interface.
    Interface,
    /// This host (in a recording: the local address).
    Host,
    /// Sensor, for gaps.
    Sensor,
    /// DICOM title that objects shall be moved to.
    AeTitle,
    /// Port of this host.
    Port,
}

/// How much of what, over how long, is too much.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// What is counted.
    pub measure: Measure,
    /// How much.
    pub amount: Amount,
    /// Over how long, nanoseconds. For `rate` the time in which the burst refills.
    pub window: i64,
}

/// How much is too much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Units of the measure: bytes, records, files, ….
    Units(u64),
    /// A share of the store, 0 to 1.
    Share(f64),
    /// A steady rate with a burst (`rate` only).
    Rate {
        /// Bytes per second.
        per_second: u64,
        /// Bytes.
        burst: u64,
    },
}

/// What can be counted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Bytes that left over sockets.
    SentBytes,
    /// Bytes sent while holding a store's data.
    ExposedBytes,
    /// Patient records that those bytes can be, about.
    ExposedRecords,
    /// Bytes sent on connections that the other side opened, by a holder or a service of a store.
    ServedBytes,
    /// Bytes read of a store.
    ReadBytes,
    /// Distinct files of a store with at least one byte read.
    FilesRead,
    /// Distinct remote addresses.
    Destinations,
    /// Connections.
    Connections,
    /// A steady rate with a burst, of sent bytes.
    Rate,
    /// Gaps.
    Gap,
    /// Bytes on the wire that no socket of this host says it sent.
    UnattributedBytes,
    /// Bytes on the wire to another address than the socket's.
    RewrittenBytes,
    /// Decoys opened.
    DecoyTouched,
    /// Text of distinct names looked up.
    DnsNameBytes,
    /// Distinct names looked up.
    DnsNames,
    /// ICMP payload that is no repetition.
    IcmpBytes,
    /// Bytes that holders wrote to media that can be taken away.
    MediaBytes,
    /// Reads of the memory of holders, and of services of stores.
    MemoryRead,
    /// Requests to send DICOM objects elsewhere.
    DicomMoves,
    /// Requests to take a DICOM object.
    DicomStores,
    /// HL7 messages that left.
    Hl7Messages,
    /// Things that were not seen in the last 30 days.
    FirstSeen,
    /// Hours in which a holder sent something.
    ActiveHours,
    /// Opens of devices that data can leave by, by holders.
    DevicesOpened,
}

impl Measure {
    /// What one of it is called, in alerts and messages.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::SentBytes
            | Self::ExposedBytes
            | Self::ServedBytes
            | Self::ReadBytes
            | Self::Rate
            | Self::UnattributedBytes
            | Self::RewrittenBytes
            | Self::DnsNameBytes
            | Self::IcmpBytes
            | Self::MediaBytes => "bytes",
            Self::ExposedRecords => "records",
            Self::FilesRead => "files",
            Self::Destinations => "destinations",
            Self::Connections => "connections",
            Self::Gap => "events",
            Self::DecoyTouched | Self::DevicesOpened => "opens",
            Self::DnsNames => "names",
            Self::MemoryRead => "reads",
            Self::DicomMoves => "moves",
            Self::DicomStores => "objects",
            Self::Hl7Messages => "messages",
            Self::FirstSeen => "times",
            Self::ActiveHours => "hours",
        }
    }
}
