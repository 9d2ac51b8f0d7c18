//! The configuration as the program believes it; `file.rs` turns what the user typed into it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use globset::GlobMatcher;
use ipnet::IpNet;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::event::Name;

mod at_most;
mod contract;
mod file;
pub(crate) mod glob;
mod store;
pub(crate) mod target;
mod when;
mod who;

pub use at_most::AtMost;
pub use file::{FILE, default_rules, parse};
pub(crate) use store::quoted;
pub use store::{is_format, label_of, render_stores, with_stores};
pub use when::When;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The site, a label on every alert.
    pub site: Name,
    /// This host as Prometheus calls it; empty = the agent takes the host's name.
    pub instance: Name,
    /// Networks that are the hospital's own.
    pub internal: Vec<IpNet>,
    /// Internal addresses that pass data on; judged as external.
    pub relays: Vec<Target>,
    /// Protected data sets, in file order.
    pub stores: Vec<Store>,
    /// Services that send store data, read or not.
    pub serves: Vec<Serves>,
    /// Expected transfers, in file order: the first that matches counts.
    pub contracts: Vec<Contract>,
    /// Whose work it is to read whole stores: scanners, backups.
    pub readers: Vec<Who>,
    /// Files that nobody has a reason to open.
    pub decoys: Vec<Decoy>,
    /// What only the agent needs.
    pub agent: AgentConfig,
}

/// A protected data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Its name, a label in metrics and alerts.
    pub name: Name,
    /// Absolute directories (or files) that belong to it.
    pub paths: Vec<PathBuf>,
    /// Where its data comes from if it lies on other hosts: what they send here counts as read.
    pub from: Vec<Target>,
    /// How many patient records it holds.
    pub records: Records,
    /// Found by the agent, not written by the user.
    pub guessed: bool,
}

/// How to count patient records.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Records {
    /// So many in each file.
    PerFile(f64),
    /// One in every so many bytes.
    BytesEach(f64),
}

/// Who serves a store.
#[derive(Debug, Clone)]
pub struct Serves {
    /// The store's name.
    pub store: Name,
    /// Who.
    pub by: Server,
}

/// A service.
#[derive(Debug, Clone)]
pub enum Server {
    /// By the unit's name, such as `postgresql@*.service`.
    Unit(GlobMatcher),
    /// A file server inside the kernel.
    Kernel(KernelServer),
}

impl Server {
    /// Whether it is the unit of this name.
    #[must_use]
    pub fn is_unit(&self, name: &str) -> bool {
        match self {
            Self::Unit(unit) => unit.is_match(name),
            Self::Kernel(_) => false,
        }
    }
}

/// File servers inside the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelServer {
    /// NFS (fs/nfsd).
    Nfsd,
    /// SMB (fs/smb/server).
    Ksmbd,
}

/// What users type.
pub const KERNEL_SERVERS: [(&str, KernelServer); 2] =
    [("nfsd", KernelServer::Nfsd), ("ksmbd", KernelServer::Ksmbd)];

impl KernelServer {
    /// Whether a thread of the kernel (`[nfsd]`) that sends from this port is it: ksmbd sends from work queues, whose
    /// threads are anybody's.
    #[must_use]
    pub fn is(self, thread: &str, port: u16) -> bool {
        let (name, own) = match self {
            Self::Nfsd => ("[nfsd", 2049),
            Self::Ksmbd => ("[ksmbd", 445),
        };
        thread.starts_with(name) || (thread.starts_with('[') && port == own)
    }
}

/// An address or network, with a port or any port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Address or network.
    pub net: IpNet,
    /// The other side's port; absent = any.
    pub port: Option<u16>,
}

impl Target {
    /// Whether `remote` is (in) this target. A remote port of 0 (aggregated over) matches no port.
    #[must_use]
    pub fn holds(&self, remote: SocketAddr) -> bool {
        self.net.contains(&canonical(remote.ip()))
            && self.port.is_none_or(|port| port == remote.port())
    }

    /// What is in both.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Option<Self> {
        let net = match (self.net.contains(&other.net), other.net.contains(&self.net)) {
            (true, _) => other.net,
            (_, true) => self.net,
            (false, false) => return None,
        };
        let port = match (self.port, other.port) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        Some(Self { net, port })
    }
}

/// An IPv4-mapped IPv6 address as the IPv4 address it is.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// An expected transfer.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Its name, a label in metrics.
    pub name: Name,
    /// Who may.
    pub who: Who,
    /// To whom; any of these.
    pub to: Vec<Target>,
    /// DICOM titles (AE) that the other end may have; empty = any, or no DICOM.
    pub to_ae: Vec<Name>,
    /// In which hours; absent = at any time.
    pub when: Option<When>,
    /// How much in how many days; empty = any amount. Each with another number of days.
    pub at_most: Vec<AtMost>,
    /// The time zone of its days.
    pub zone: TimeZone,
    /// Whose responsibility it is.
    pub owner: Name,
    /// The last day, UTC; absent = none.
    pub until: Option<Date>,
}

/// A file that nobody has a reason to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoy {
    /// What alerts call it.
    pub name: Name,
    /// Where it is.
    pub path: PathBuf,
}

/// Who somebody is; everything that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// Unit of the cgroup path.
    pub unit: Option<GlobMatcher>,
    /// Container name.
    pub container: Option<GlobMatcher>,
    /// Path of the program.
    pub exe: Option<GlobMatcher>,
    /// Effective user.
    pub user: Option<Name>,
    /// Login user.
    pub login: Option<Name>,
    /// DICOM title (AE) of this host's end of the association; of a contract only.
    pub ae_title: Option<Name>,
}

/// What only the agent needs: where to listen, where to send, how often.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// Which sensors.
    pub sensors: Sensors,
    /// Where `/metrics` listens; absent = nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where alerts go.
    pub outputs: Vec<OutputConfig>,
    /// Blindness that was accepted.
    pub accept: Vec<Accept>,
    /// State directory.
    pub state: PathBuf,
    /// How paths are shown.
    pub privacy: Privacy,
    /// How often things happen.
    pub periods: Periods,
    /// `stores: auto`, or none given: the agent finds the stores and writes them in with `with_stores`.
    pub discover: bool,
    /// Directory of further rule files, beside the shipped packs.
    pub rules: PathBuf,
    /// Record a tape here; absent = none.
    pub tape: Option<PathBuf>,
}

/// Which sensors run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensors {
    /// File reads and writes.
    pub files: Choice,
    /// Socket sends.
    pub sockets: Choice,
    /// Process life: never off while one of the others is on.
    pub processes: Choice,
    /// Interfaces that pcap listens on.
    pub interfaces: Interfaces,
    /// Which network namespaces' sockets count.
    pub namespaces: Namespaces,
}

/// A sensor, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The best rung that attaches.
    Auto,
    /// The best rung that attaches, from this number on: for whoever distrusts a better one, and for tests.
    From(u8),
    /// Not at all.
    Off,
}

/// Interfaces that pcap listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// All that are up, loopback aside.
    Auto,
    /// None.
    Off,
    /// These.
    Named(Vec<Name>),
}

/// Whose sockets count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces {
    /// All: containers have network namespaces of their own.
    All,
    /// The agent's own: for a lab in which the other namespaces play other hosts.
    Own,
}

/// Where alerts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputConfig {
    /// JSON lines, one transition a line, fsynced.
    File {
        /// The file.
        path: PathBuf,
    },
    /// Alertmanager API v2. Give one output per cluster member.
    Alertmanager {
        /// Base address, `http://` or `https://`.
        url: String,
    },
}

/// Blindness that somebody answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// What is not seen, as `jaga check` names it.
    pub blind: Name,
    /// Who accepted it.
    pub owner: Name,
    /// The last day, UTC.
    pub until: Date,
}

/// How paths are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// As a keyed hash.
    Hashed,
    /// Relative to the store.
    StoreRelative,
    /// As they are.
    Plain,
}

/// How often things happen; all in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// Sensors hand over their differences. Default 250 ms.
    pub drain: i64,
    /// Rows are written when no transition forces it earlier. Default 1 s.
    pub save: i64,
    /// Active alerts are sent to Alertmanager again. Default 1 min.
    pub resend: i64,
    /// Overrides every rule's `quiet`; absent = as the rule says. For tests.
    pub quiet: Option<i64>,
}
