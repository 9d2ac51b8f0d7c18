//! Loads one subject's object into the kernel and attaches its programs; says in words why it cannot.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::btf::{Btf, TypeId, types};
use libbpf_rs::{
    ErrorKind, Iter, Link, MapCore, MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel,
};

use super::table::Table;

/// Objects are read as ELF, which wants eight-byte alignment; `include_bytes!` promises none.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

macro_rules! object {
    ($name:literal) => {{
        static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(
            env!("OUT_DIR"),
            "/",
            $name,
            ".bpf.o"
        )));
        &OBJECT.0
    }};
}

/// One object of programs.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// As `jaga check` calls it.
    pub name: &'static str,
    object: &'static [u8],
    /// The kernel that first has all of its tracepoints or functions.
    kernel: &'static str,
    /// Tracepoints and functions that it does well without: of single file systems, possibly of a module, or of some
    /// kernels only.
    optional: &'static [&'static str],
    /// Entries of its table, instead of those that the object has.
    entries: Option<u32>,
    /// Without its programs at functions: a kernel without trampolines refuses them, and with them the object.
    only_tracepoints: bool,
}

/// Functions of channels that some kernels have and some have not.
const SOME_CHANNELS: &[&str] = &[
    "inet_sendpage",
    "unix_stream_sendpage",
    "tcp_splice_read",
    "unix_stream_splice_read",
    "pipe_write",
    "pipe_read",
    "anon_pipe_write",
    "anon_pipe_read",
    "do_splice",
    "splice_file_to_pipe",
];

/// Programs of which the second is for kernels where the first does not attach.
const INSTEAD: [(&str, &str); 1] = [("on_direct", "on_direct_part")];

/// Programs that may be skipped without a loss: they help to name an opener or a destination, which otherwise the
/// ports or the system call tell, or count a second time what the sends have counted. A soft interrupt skips them now
/// and then.
const HELPERS: [&str; 3] = ["on_state", "on_queue", "on_wire"];

impl Subject {
    /// The same without what needs trampolines.
    pub fn by_tracepoint(mut self) -> Self {
        self.only_tracepoints = true;
        self
    }

    /// The same with a smaller table, to see it full.
    #[cfg(test)]
    pub(crate) fn with_entries(mut self, entries: u32) -> Self {
        self.entries = Some(entries);
        self
    }
}

/// Reads and writes, by tracepoints.
pub fn files() -> Subject {
    Subject {
        name: "files",
        object: object!("files-tp"),
        kernel: "6.10",
        optional: &[
            "rss_stat",
            "ext4_da_write_end",
            "ext4_write_end",
            "ext4_journalled_write_end",
            "ext4_evict_inode",
            "ext4_truncate_enter",
            "xfs_file_buffered_write",
            "btrfs_inode_evict",
            "block_bio_queue",
            "fuse_file_write_iter",
            "blkdev_write_iter",
            "evict",
        ],
        entries: None,
        only_tracepoints: false,
    }
}

/// Reads and writes, by functions.
pub fn files_by_function() -> Subject {
    Subject {
        object: object!("files-fexit"),
        kernel: "5.18",
        optional: &[
            "filemap_splice_read",
            "shmem_file_read_iter",
            "shmem_file_splice_read",
            "blkdev_read_iter",
            "iomap_iter",
            "iomap_file_buffered_write",
            "fuse_file_write_iter",
            "blkdev_write_iter",
            "evict",
            "ext4_evict_inode",
            "ext4_truncate_enter",
            "btrfs_inode_evict",
        ],
        ..files()
    }
}

/// Sends, by tracepoints.
pub fn sockets() -> Subject {
    Subject {
        name: "sockets",
        object: object!("sockets-tp"),
        kernel: "6.3",
        optional: &[],
        entries: None,
        only_tracepoints: false,
    }
}

/// Sends, by functions.
pub fn sockets_by_function() -> Subject {
    Subject {
        object: object!("sockets-fexit"),
        kernel: "5.18",
        optional: &["inet_sendpage", "packet_sendmsg", "packet_sendmsg_spkt"],
        ..sockets()
    }
}

/// What passes through local sockets.
pub fn channels() -> Subject {
    Subject {
        name: "channels",
        object: object!("channels-tp"),
        kernel: "6.3",
        optional: SOME_CHANNELS,
        entries: None,
        only_tracepoints: false,
    }
}

/// What passes through local sockets, by functions.
pub fn channels_by_function() -> Subject {
    Subject {
        object: object!("channels-fexit"),
        kernel: "5.18",
        ..channels()
    }
}

/// Process life.
pub fn processes() -> Subject {
    Subject {
        name: "processes",
        object: object!("processes"),
        kernel: "5.17",
        optional: &[],
        entries: None,
        only_tracepoints: false,
    }
}

/// Who gets at the memory of another process.
pub fn memory() -> Subject {
    Subject {
        name: "memory",
        object: object!("memory"),
        kernel: "5.11",
        optional: &[],
        entries: None,
        only_tracepoints: false,
    }
}

/// What is queued to leave.
pub fn wire() -> Subject {
    Subject {
        name: "wire",
        object: object!("wire"),
        kernel: "5.5",
        optional: &[],
        entries: None,
        only_tracepoints: false,
    }
}

/// An object in the kernel. Dropped, its programs are detached.
#[derive(Debug)]
pub struct Attached {
    links: BTreeMap<String, Link>,
    maps: BTreeMap<String, MapHandle>,
    object: Object,
}

/// Loads and attaches.
///
/// # Errors
/// In words for a human, with the next step.
pub fn attach(subject: &Subject) -> Result<Attached, String> {
    libbpf_rs::set_print(Some((PrintLevel::Warn, |_, text| {
        tracing::debug!("{}", text.trim_end());
    })));
    let btf = kernel_types()?;
    let mut open = ObjectBuilder::default()
        .name(format!("jaga_{}", subject.name))
        .and_then(|builder| builder.open_memory(subject.object))
        .map_err(|error| format!("cannot open the embedded object: {error}; build jaga again"))?;
    leave_out_missing(subject, &mut open, &btf)?;
    if let Some(entries) = subject.entries {
        let tables = open
            .maps_mut()
            .filter(|map| map.name().to_string_lossy().starts_with("counts_"));
        for mut table in tables {
            table
                .set_max_entries(entries)
                .map_err(|error| refused("size the table of", &error))?;
        }
    }
    let object = open.load().map_err(|error| refused("load", &error))?;
    let links = attach_programs(&object)?;
    let mut maps = BTreeMap::new();
    for map in object.maps() {
        let handle = MapHandle::try_from(&map).map_err(|error| refused("open a map of", &error))?;
        maps.insert(map.name().to_string_lossy().into_owned(), handle);
    }
    Ok(Attached {
        links,
        maps,
        object,
    })
}

fn attach_programs(object: &Object) -> Result<BTreeMap<String, Link>, String> {
    let mut links = BTreeMap::new();
    let mut failed = Vec::new();
    for program in object.progs_mut().filter(|program| program.autoload()) {
        let name = program.name().to_string_lossy().into_owned();
        let first = INSTEAD.iter().find(|(_, second)| *second == name);
        if first.is_some_and(|(first, _)| links.contains_key(*first)) {
            continue;
        }
        match program.attach() {
            Ok(link) => drop(links.insert(name, link)),
            Err(error) => failed.push((name, error)),
        }
    }
    let gone = |(name, _): &&(String, libbpf_rs::Error)| !has_instead(&links, name);
    match failed.iter().find(gone) {
        Some((name, error)) => Err(refused(&format!("attach '{name}' of"), error)),
        None => Ok(links),
    }
}

fn has_instead(links: &BTreeMap<String, Link>, name: &str) -> bool {
    let mut seconds = INSTEAD.iter().filter(|(first, _)| *first == name);
    seconds.any(|(_, second)| links.contains_key(*second))
}

fn kernel_types() -> Result<Btf<'static>, String> {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    if !path.exists() {
        return Err(format!(
            "no type information of the kernel at '{}'; use a kernel with CONFIG_DEBUG_INFO_BTF \
             (those of Debian 11+, Ubuntu 20.10+, RHEL 8.2+ have it)",
            path.display()
        ));
    }
    Btf::from_vmlinux().map_err(|error| refused("read the kernel's types for", &error))
}

/// One program on a hook that this kernel does not have would fail the whole object.
fn leave_out_missing(
    subject: &Subject,
    open: &mut OpenObject,
    btf: &Btf<'_>,
) -> Result<(), String> {
    for mut program in open.progs_mut() {
        let section = program.section().to_string_lossy().into_owned();
        let Some((kind, hook)) = section.split_once('/') else {
            continue;
        };
        if subject.only_tracepoints && matches!(kind, "fentry" | "fexit") {
            program.set_autoload(false);
            continue;
        }
        let (what, there) = match kind {
            "tp_btf" => ("tracepoint", has_tracepoint(btf, hook)),
            "fentry" | "fexit" => ("function", has_function(btf, hook)),
            _ => continue,
        };
        if there {
            continue;
        }
        if !subject.optional.contains(&hook) {
            return Err(format!(
                "this kernel has no {what} '{hook}'; use Linux {} or later",
                subject.kernel
            ));
        }
        program.set_autoload(false);
    }
    Ok(())
}

fn has_tracepoint(btf: &Btf<'_>, name: &str) -> bool {
    let type_name = format!("btf_trace_{name}");
    btf.type_by_name::<types::Typedef<'_>>(&type_name).is_some()
}

/// `iomap_iter` is a structure, too: the first type of that name need not be the function.
fn has_function(btf: &Btf<'_>, name: &str) -> bool {
    let is = |function: types::Func<'_>| function.name().is_some_and(|found| found == name);
    let ids = 1..u32::try_from(btf.len()).unwrap_or(u32::MAX);
    btf.type_by_name::<types::Func<'_>>(name).is_some()
        || ids
            .map(TypeId::from)
            .any(|id| btf.type_by_id(id).is_some_and(is))
}

fn refused(step: &str, error: &libbpf_rs::Error) -> String {
    let next = match error.kind() {
        ErrorKind::PermissionDenied if nix::unistd::geteuid().is_root() => {
            "; this kernel (no trampolines, lockdown) or this container refuses them even to root"
        }
        ErrorKind::PermissionDenied => {
            "; run as root, or give the agent CAP_BPF and CAP_PERFMON \
             (systemd: AmbientCapabilities=CAP_BPF CAP_PERFMON)"
        }
        _ => "; run `RUST_LOG=debug jaga check` for the kernel's words",
    };
    format!("cannot {step} the eBPF programs: {error:#}{next}")
}

impl Attached {
    /// Whether this program is attached: an optional one may not be.
    #[must_use]
    pub fn has(&self, program: &str) -> bool {
        self.links.contains_key(program)
    }

    /// A map of the object.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn map(&self, name: &str) -> Result<&MapHandle, String> {
        self.maps
            .get(name)
            .ok_or_else(|| format!("the embedded object has no map '{name}'; build jaga again"))
    }

    /// The table that user space drains.
    ///
    /// # Errors
    /// The object has none.
    pub fn table(&self) -> Result<Table, String> {
        let own = |name| {
            let map = self.map(name)?;
            let fd = map.as_fd().try_clone_to_owned();
            fd.map_err(|error| format!("cannot keep the map '{name}': {error}"))
        };
        let sizes = self.map("counts_a")?;
        let (key, value) = (sizes.key_size() as usize, sizes.value_size() as usize);
        Ok(Table::new(
            own("counts")?,
            [own("counts_a")?, own("counts_b")?],
            key,
            value,
        ))
    }

    /// Everything that an iterator program writes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn iterate(&self, program: &str) -> Result<Vec<u8>, String> {
        let link = self.links.get(program);
        let link =
            link.ok_or_else(|| format!("the embedded object has no iterator '{program}'"))?;
        let mut iterator = Iter::new(link).map_err(|error| refused("run", &error))?;
        let mut bytes = Vec::new();
        iterator
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot read the iterator '{program}': {error}"))?;
        Ok(bytes)
    }

    /// Events that were lost since the object was loaded, and their bytes, where they are known: entries that found
    /// the table full, records that found the ring full, and calls that the kernel skipped because the same
    /// program ran already on that processor.
    #[must_use]
    pub fn lost(&self) -> Lost {
        let mut lost = Lost::default();
        let sums = self.maps.get("lost");
        let sums = sums.and_then(|map| map.lookup_percpu(&[0; 4], libbpf_rs::MapFlags::ANY).ok());
        for sum in sums.flatten().unwrap_or_default() {
            let mut fields = super::decode::Fields(&sum);
            lost.events += fields.u64().unwrap_or_default();
            lost.bytes += fields.u64().unwrap_or_default();
        }
        let counting = self.object.progs().filter(|program| {
            let name = program.name();
            program.autoload() && !HELPERS.iter().any(|helper| name == *helper)
        });
        lost.skipped = counting.map(|program| skipped(&program)).sum();
        lost
    }
}

impl Attached {
    /// Bytes read of each store, by index, that found the table full, since the object was loaded.
    #[must_use]
    pub fn overflow(&self) -> Vec<u64> {
        let Some(map) = self.maps.get("overflow") else {
            return Vec::new();
        };
        let sum = |index: u32| {
            let sums = map.lookup_percpu(&index.to_ne_bytes(), libbpf_rs::MapFlags::ANY);
            let sums = sums.ok().flatten().unwrap_or_default();
            sums.iter()
                .filter_map(|sum| super::decode::Fields(sum).u64())
                .sum()
        };
        (0..map.max_entries()).map(sum).collect()
    }
}

/// What an object lost since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Entries and records that found no room.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Calls that the kernel skipped.
    pub skipped: u64,
}

impl Lost {
    /// What came after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            events: self.events.saturating_sub(earlier.events),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            skipped: self.skipped.saturating_sub(earlier.skipped),
        }
    }
}

/// `recursion_misses` of a program's information.
fn skipped(program: &libbpf_rs::Program<'_>) -> u64 {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of_val(&info) as u32;
    let fd = program.as_fd().as_raw_fd();
    // SAFETY: `info` is a whole bpf_prog_info and `size` is its size; libbpf writes at most that much.
    let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd, &raw mut info, &raw mut size) };
    if result == 0 {
        info.recursion_misses
    } else {
        0
    }
}
