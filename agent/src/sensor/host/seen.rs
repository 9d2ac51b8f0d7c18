//! What the sources of a host's sensors see, whichever rung they stand on.

use jaga_rules::event::{Actor, FileId, Flow};

/// A tick, nanoseconds: `/proc/PID/stat` tells the start in these (USER_HZ is 100 on every Linux that jaga runs on).
pub const NANOS_A_TICK: u64 = 10_000_000;

/// The process of this id that started then, CLOCK_BOOTTIME nanoseconds. Every source makes its actors here: one
/// that `/proc` told must equal one that the kernel side told. No pid comes around again within a tick.
#[must_use]
pub const fn actor(pid: u32, start: u64) -> Actor {
    let start = start / NANOS_A_TICK * NANOS_A_TICK;
    Actor { pid, start }
}

/// A process with what may change of it without an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// Which process.
    pub actor: Actor,
    /// Whose and where.
    pub facts: Facts,
}

/// Who did something, as far as a rung can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This process.
    Process(Who),
    /// Whoever had this id last: it ended before it could be looked at.
    Ended(u32),
    /// Somebody on this host.
    Nobody,
}

/// Users, audit session and cgroup, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Effective user.
    pub uid: u32,
    /// Login user; `None` outside an audit session.
    pub login: Option<(u32, u32)>,
    /// Id in the cgroup v2 hierarchy.
    pub cgroup: u64,
}

/// What one process did with one file since the last drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCount {
    /// Who, as of the last access.
    pub who: By,
    /// Which file.
    pub file: FileId,
    /// What it did.
    pub kind: Kind,
    /// The store it lies in, as an index of the sensor's list of stores.
    pub store: Option<usize>,
    /// Bytes.
    pub bytes: u64,
    /// The file's size at the last access, bytes.
    pub size: u64,
    /// When the last access was, CLOCK_BOOTTIME nanoseconds.
    pub last_at: u64,
}

/// Ways of touching a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Read, to the byte or to the page.
    Read,
    /// Mapped pages were touched: an estimate.
    Mapped,
    /// Read, seen by a rung that cannot count.
    Estimated,
    /// Written.
    Write,
    /// Read below every path: the file is a block device, or is sent with its subvolume.
    Below {
        /// The stores that lie on it: a bit for each index of the sensor's list of stores.
        stores: u64,
    },
}

/// A file that was told as written is deleted, or truncated to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Which file.
    pub file: FileId,
    /// When, CLOCK_BOOTTIME nanoseconds.
    pub at: u64,
}

/// A file outside the stores came to hold bytes that nobody read: it was renamed or linked out of a store, or shares
/// blocks with another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Which file.
    pub file: FileId,
    /// When, CLOCK_BOOTTIME nanoseconds.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What held them before.
    pub from: Origin,
}

/// Where bytes were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In this store, as an index of the sensor's list of stores.
    Store(usize),
    /// In this file, outside the stores.
    File(FileId),
}

/// Something that happened in a process's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The process.
    pub who: Who,
    /// What happened to it.
    pub what: What,
    /// Path of its cgroup, where that is told with it.
    pub cgroup: Option<String>,
}

/// What happened to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was there when asked for.
    Known {
        /// Its parent.
        parent: Actor,
        /// Its program; empty for a kernel thread.
        exe: String,
    },
    /// It was made.
    Fork {
        /// By whom.
        parent: Actor,
    },
    /// It became a program.
    Exec {
        /// Path of the program.
        exe: String,
    },
    /// It was put into another cgroup.
    Regrouped {
        /// By whom; itself, perhaps.
        by: Actor,
    },
    /// It ended.
    Exit,
}

/// What one process sent over one conversation since the last drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketCount {
    /// Who, as of the last send.
    pub who: By,
    /// Over what.
    pub flow: Flow,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Payload bytes.
    pub bytes: u64,
    /// Connections that sent for the first time.
    pub connections: u32,
}
