//! What the engine is told: one closed enum of events, each stamped once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod dicom;
mod hardware;
mod regrouped;
mod settle;

pub use dicom::Dicom;
pub use hardware::{DeviceOpened, Interface};
pub use regrouped::Regrouped;
pub use settle::{Settle, Verdict};

/// A name that comes from the configuration or from the host; cheap to clone.
pub type Name = Arc<str>;

/// Nanoseconds on CLOCK_BOOTTIME. Negative for what was restored from before the last boot.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl Stamp {
    /// This stamp, `nanos` nanoseconds later (earlier if negative), without overflow.
    #[must_use]
    pub const fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this stamp.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

/// An event with the time it was given where it left the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// When it left the queue.
    pub at: Stamp,
    /// What happened.
    pub event: Event,
}

/// Everything that the engine can be told. A tape is a list of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A process that ran before the agent, or whose facts changed.
    Known(Process),
    /// A process made another.
    Fork(Fork),
    /// A process became another program.
    Exec(Exec),
    /// A process ended. Comes after everything it read, wrote and sent.
    Exit {
        /// The process that ended.
        actor: Actor,
    },
    /// A process read bytes of a file.
    Read(Read),
    /// A process wrote bytes of a file outside the stores.
    Wrote(Wrote),
    /// Bytes went from one place to another on this host.
    Pass(Pass),
    /// Bytes left over a socket.
    Sent(Sent),
    /// Something learnt about the world.
    Fact(Fact),
    /// The wall clock, at start and at each step.
    Clock {
        /// Wall time (Unix epoch) minus CLOCK_BOOTTIME, nanoseconds.
        wall_offset: i64,
    },
    /// Data was lost, or cannot be seen.
    Gap(Gap),
    /// A person settled a case.
    Settle(Settle),
    /// A row from an earlier run, fed back before anything else.
    Restore(Restore),
    /// New configuration and rules. Boxed: it is rare and large.
    Reload(Box<Setup>),
    /// Time passed and nothing happened. Never changes what is decided, only when it is told.
    Wake,
}

/// A process: pids are reused, a pid with its start time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// Start of the thread group leader, CLOCK_BOOTTIME nanoseconds, in whole ticks of 10 ms: `/proc` tells no more,
    /// and what a process is called must not depend on the rung that saw it.
    pub start: u64,
}

impl Actor {
    /// Somebody on this host, where a rung cannot tell who: its session is `unknown`.
    pub const NOBODY: Self = Self { pid: 0, start: 0 };
}

/// What is known of a process beside its program. Gathered by the agent; judged by the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Effective user, by name, else the number.
    pub user: Name,
    /// Who logged in, where an audit session exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Path of the cgroup (v2 hierarchy), empty for the root.
    #[serde(default, skip_serializing_if = "str_is_empty")]
    pub cgroup: Name,
    /// The container's name, where its runtime told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Name>,
}

fn str_is_empty(text: &Name) -> bool {
    text.is_empty()
}

/// An audit session (`/proc/PID/loginuid` and `sessionid`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The login user, by name, else the number.
    pub user: Name,
    /// The audit session's number; unique within a boot.
    pub session: u32,
}

/// A process that already runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Which.
    pub actor: Actor,
    /// Its parent as far as known; absent for pid 1 and for what was inherited from a dead parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Actor>,
    /// Path of the program; empty if the kernel has none (a kernel thread).
    pub exe: Name,
    /// Users, session, cgroup.
    pub identity: Identity,
}

/// A process made another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fork {
    /// The maker.
    pub parent: Actor,
    /// The made.
    pub child: Actor,
    /// The child's users, session and cgroup at birth; absent = its parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// A process became another program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Which process.
    pub actor: Actor,
    /// Path of the new program.
    pub exe: Name,
    /// Users, session and cgroup after it.
    pub identity: Identity,
}

/// A file, whatever its names: device numbers and paths change, these do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The file system: a hash of its UUID (and subvolume), else of its device number.
    pub fs: u64,
    /// Inode number.
    pub inode: u64,
    /// Inode generation: ext4 hands a deleted file's number to the next one within milliseconds.
    #[serde(default)]
    pub generation: u32,
}

impl FileId {
    /// In the place of a file system: one direction of a pipe or of a connection within this host. Who puts bytes
    /// in wrote it, who takes them out read it; each byte is taken once.
    pub const CHANNEL: u64 = 0x6a61_6761_2f6c_6f63;

    /// Whether bytes pass through it, and do not stay.
    #[must_use]
    pub const fn is_channel(self) -> bool {
        self.fs == Self::CHANNEL
    }
}

/// A process read bytes of a file; aggregated by the sensor over a few hundred milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Who.
    pub actor: Actor,
    /// Which file.
    pub file: FileId,
    /// The store whose path it lies under; absent = outside every store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Name>,
    /// Bytes read since the last such event.
    pub bytes: u64,
    /// The file's size, bytes, at the last read.
    pub size: u64,
    /// The bytes are an estimate (mmap, or a rung that cannot count).
    #[serde(default, skip_serializing_if = "is_false")]
    pub estimated: bool,
    /// Not through a path: `file` is a block device that the store lies on, or is sent with its subvolume.
    #[serde(default, skip_serializing_if = "is_false")]
    pub below: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A process wrote bytes of a regular file outside the stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wrote {
    /// Who.
    pub actor: Actor,
    /// Which file.
    pub file: FileId,
    /// Bytes written since the last such event.
    pub bytes: u64,
    /// The file's size, bytes, at the last write.
    pub size: u64,
}

/// Bytes went from one place to another without leaving the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// Out of here.
    pub from: Place,
    /// Into here.
    pub to: Place,
    /// How many, bytes.
    pub bytes: u64,
}

/// Where data can be on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In a process.
    Actor(Actor),
    /// In a file outside the stores.
    File(FileId),
    /// In a store.
    Store(Name),
    /// In a service, by unit name: what it passes on is what its store holds.
    Unit(Name),
}

/// Bytes left over a socket; aggregated per actor and flow over a few hundred milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Who sent them.
    pub sender: Sender,
    /// Over which connection or connections.
    pub flow: Flow,
    /// Transport payload since the last such event, each TCP sequence byte once, no headers.
    pub bytes: u64,
    /// Connections of this flow that were opened since the last such event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub connections: u32,
    /// The interface they left by, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Name>,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Who sent bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sender {
    /// A process.
    Actor(Actor),
    /// A host in a recording without actors, by its address: session `host:<address>`.
    Host(IpAddr),
    /// Somebody on this host: held to hold whatever any live session holds.
    Unknown,
}

/// One conversation. A port is 0 where the sensor aggregates over it (ephemeral ports).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Transport.
    pub protocol: Protocol,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Who opened it.
    pub opener: Opener,
}

/// Transport protocols that the sensors tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP, QUIC among it.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
    /// Any other IP protocol, by number.
    Other(u8),
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opener {
    /// This host.
    Local,
    /// The other side: what this host sends is served.
    Remote,
    /// The start was not seen and nothing else tells.
    Unknown,
}

/// Something learnt about the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// An address was called by a name (a DNS answer, or a TLS server name towards it).
    Name {
        /// The address.
        address: IpAddr,
        /// The name, lower case; raw bytes outside printable ASCII as `\xHH`.
        name: Name,
    },
    /// An address was spoken to as a relay (HTTP CONNECT or absolute form, SOCKS, SMTP).
    Relay {
        /// Address and port of the relay.
        address: SocketAddr,
        /// What was spoken: `http-connect`, `http-absolute`, `socks`, `smtp`.
        protocol: Name,
    },
    /// A file was deleted, or truncated to nothing: what it held is gone.
    FileGone {
        /// Which.
        file: FileId,
    },
    /// What an interface sent since the last such fact (its own counter), for the backstop.
    Wire {
        /// The interface.
        interface: Name,
        /// Bytes, headers and retransmits included.
        bytes: u64,
    },
    /// What was queued to leave by an interface to one remote since the last such fact, for the backstop.
    Egress(Egress),
    /// A decoy was opened.
    Decoy {
        /// By whom; [`Actor::NOBODY`] where a rung cannot tell.
        actor: Actor,
        /// Its name in the configuration.
        decoy: Name,
        /// How often, since the last such fact.
        opens: u64,
    },
    /// Names were looked up that had not been lately; aggregated per registrable domain.
    Lookup {
        /// Who asked: a host of a recording, or somebody on this host.
        client: Sender,
        /// Who was asked.
        server: SocketAddr,
        /// Their registrable domain (public suffix list); `(no domain)` for names that have none.
        domain: Name,
        /// How many.
        names: u64,
        /// Their text without the domain, bytes.
        bytes: u64,
    },
    /// ICMP messages left whose content had not been sent lately; aggregated per remote.
    Icmp {
        /// Who sent them: a host of a recording, or somebody on this host.
        client: Sender,
        /// Where to.
        remote: IpAddr,
        /// Their payload, bytes.
        bytes: u64,
    },
    /// A file system came, or went, that lies on a medium which can be taken away.
    Medium {
        /// The file system, as in [`FileId`].
        fs: u64,
        /// What it is, such as `vfat on sdb1`; absent when it goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
    },
    /// A process was put into another cgroup.
    Regrouped(Regrouped),
    /// A device node was opened that data can leave by.
    Device(DeviceOpened),
    /// A network interface is there.
    Interface(Interface),
    /// A DICOM association was opened, or asked for something.
    Dicom(Dicom),
    /// HL7 messages left in MLLP frames, acknowledgements not among them.
    Hl7 {
        /// Where to. The port of who opened it is 0.
        flow: Flow,
        /// How many since the last such fact.
        messages: u64,
    },
    /// A process got at the memory of another.
    MemoryRead {
        /// Who.
        actor: Actor,
        /// Of whom.
        of: Actor,
    },
    /// How large a store is, for limits as a share of it.
    StoreSize {
        /// The store.
        store: Name,
        /// Bytes of all its files.
        bytes: u64,
        /// Number of files.
        files: u64,
    },
}

/// Packets as the kernel queued them, whatever any socket said of them; aggregated per remote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Egress {
    /// By which interface; absent = of another network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Name>,
    /// Where to, by the packet; absent = no IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// Where the socket is connected to, if that is another address: rewritten on the way, or wrapped for a tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meant: Option<IpAddr>,
    /// Whose packets they are.
    pub origin: Origin,
    /// The socket's transport, else the packet's.
    pub protocol: Protocol,
    /// Transport payload, each TCP sequence byte once where the socket tells.
    pub bytes: u64,
    /// Payload that the socket had sent before, or that is wrapped for a tunnel.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub again: u64,
    /// Bytes as the interface counts them: the headers of every segment included.
    pub frame_bytes: u64,
    /// Segments.
    pub frames: u64,
}

/// Whose packets they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Of a process's socket, in the agent's own network namespace.
    Socket,
    /// Of the kernel's own socket, or of none.
    Kernel,
    /// Passed on: they came in by another interface, from a container, a virtual machine or another host.
    Forwarded,
    /// On their way into a tunnel, whose own packets do not tell the socket.
    Tunnel,
    /// Of a socket of another network namespace, where they leave that.
    Elsewhere,
    /// Only how much the interface queued.
    Frames,
}

/// Lost or unseen data: an event like any other, and loud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Which sensor, as in `jaga check`: `files`, `sockets`, `processes`, `pcap`, `engine`, `clock`.
    pub sensor: Name,
    /// What kind.
    pub kind: GapKind,
    /// Events lost, where countable.
    #[serde(default)]
    pub events: u64,
    /// Bytes lost, where countable.
    #[serde(default)]
    pub bytes: u64,
    /// Why, and the next step; for a human.
    pub why: Name,
}

impl Gap {
    /// A gap of which no bytes can be counted.
    #[must_use]
    pub fn new(sensor: &str, kind: GapKind, events: u64, why: impl Into<Name>) -> Self {
        Self {
            sensor: sensor.into(),
            kind,
            events,
            bytes: 0,
            why: why.into(),
        }
    }
}

/// Kinds of gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapKind {
    /// Events were dropped.
    Lost,
    /// The sensor sees nothing; repeated every few seconds while it lasts.
    Blind,
    /// The wall clock stepped by more than a minute.
    ClockStep,
    /// Something unreadable was passed over (a cut or corrupt capture, a row of an unknown shape).
    Unreadable,
    /// The agent was not running.
    Down,
    /// The agent ended as it was asked to, and was back within seconds.
    Restart,
    /// A subject is on a lower rung than it was on this host before; repeated every few seconds while it lasts.
    LowerRung,
    /// Something that is protected can be reached by a way that the rung does not see.
    Unseen,
}

/// A row of an earlier run. Times in it are that run's stamps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    /// The row.
    pub row: Row,
    /// Add this to a stamp in the row to get a stamp of this run, nanoseconds.
    pub shift: i64,
}

/// State that outlives a run. The engine returns rows that changed; the agent keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What kind of state.
    pub kind: RowKind,
    /// Unique within its kind.
    pub id: String,
    /// JSON; absent = the state has expired, delete the row.
    pub body: Option<String>,
}

/// Kinds of rows; the order is the order in which they are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// What the wall clock showed, and when it was set.
    Clock,
    /// What was sent under a contract, a day each.
    Contract,
    /// What a session run holds.
    Held,
    /// What a staging file holds.
    Label,
    /// A window of a key.
    Window,
    /// An alert's life, and its case.
    Alert,
    /// What was seen before.
    Seen,
}

/// All that decides: enough to replay a tape.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Setup {
    /// The configuration file's text, `stores: auto` already resolved.
    pub config: String,
    /// The rule files: name and text, in order.
    pub rules: Vec<RuleText>,
}

/// One rule file as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    /// File name, for messages.
    pub file: String,
    /// YAML, one document or several.
    pub text: String,
}
