//! Takes events, completes them from `/proc` at once, and keeps the books.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jaga_rules::event::{FileId, Gap, GapKind, SECOND};

use super::books::{Books, Estimate, Seen};
use super::decode::{self, Happened};
use super::place::Stores;
use super::sys::{self, Group, Status};
use super::{gap, next_step, open_files};
use crate::clock;
use crate::sensor::host::seen::{By, FileCount, Kind};
use crate::sensor::host::source::Root;
use crate::sensor::proc::look::{self, Look};

/// Bytes of events in one read: each has a descriptor, of which a process may have 1,024.
const BUFFER: usize = 300 * 24;

/// Counts that wait for the drain; beyond, the kernel's queue holds what comes.
const COUNTS: usize = 65_536;

/// Store files that are remembered; at the limit all are forgotten, until they are opened in the store again.
const OF_STORES: usize = 65_536;

/// Descriptors that are looked at in a drain.
const LOOKS: usize = 16_384;

/// A file that was changed within a label's life may carry store data, nanoseconds.
const LABEL_LIFE: i64 = 7 * 86_400 * SECOND;

/// All that this rung knows.
#[derive(Debug)]
pub(super) struct Eyes {
    group: Group,
    stores: Stores,
    look: Look,
    books: Books,
    /// Who was looked at since the last drain, with the count of bytes read.
    met: BTreeMap<u32, By>,
    /// Ids of file systems by device.
    file_systems: BTreeMap<(u32, u32), u64>,
    /// Files that were opened in a store.
    of_stores: BTreeMap<FileId, usize>,
    counts: Vec<FileCount>,
    gaps: Vec<Gap>,
    /// Files that were open before the start were looked for.
    settled: bool,
}

impl Eyes {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            group: Group::new()?,
            stores: Stores::default(),
            look: Look::default(),
            books: Books::default(),
            met: BTreeMap::new(),
            file_systems: BTreeMap::new(),
            of_stores: BTreeMap::new(),
            counts: Vec::new(),
            gaps: Vec::new(),
            settled: false,
        })
    }

    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.group.duplicate()
    }

    /// Marks every file system that data can lie on: a store, a place to stage. How many.
    pub(super) fn mark_file_systems(&mut self) -> io::Result<usize> {
        self.stores.read_mounts();
        self.mark()
    }

    fn mark(&self) -> io::Result<usize> {
        let tried: Vec<io::Result<()>> = self
            .stores
            .file_systems()
            .into_iter()
            .map(|point| self.group.mark(point))
            .collect();
        let marked = tried.iter().filter(|tried| tried.is_ok()).count();
        match tried.into_iter().find_map(Result::err) {
            Some(error) if marked == 0 => Err(error),
            _ => Ok(marked),
        }
    }

    pub(super) fn place(&mut self, roots: &[Root]) -> Result<(), String> {
        self.stores.read_mounts();
        self.of_stores.clear();
        self.stores.place(roots);
        self.stores.read_mounts();
        let _ = self.mark();
        let unmarked: Vec<String> = roots
            .iter()
            .filter_map(|root| {
                let error = self.group.mark(&root.path).err()?;
                Some(format!("cannot watch '{}': {error}", root.path.display()))
            })
            .collect();
        if !std::mem::replace(&mut self.settled, true) {
            self.meet_open_files();
        }
        if unmarked.is_empty() {
            Ok(())
        } else {
            Err(unmarked.join("; "))
        }
    }

    /// A mount came or went. An overlay over a store is seen from now on, and what was read through it until now is not.
    pub(super) fn mounts_changed(&mut self) {
        let covered = self.stores.read_mounts();
        let _ = self.mark();
        self.gaps.extend(covered.into_iter().map(|point| {
            let why = format!(
                "an overlay that shows a store was mounted at '{}': what was read through it in the first moments is \
                 not known; find out who mounted it",
                point.display()
            );
            gap(GapKind::Unseen, 1, why)
        }));
    }

    pub(super) fn is_full(&self) -> bool {
        self.counts.len() >= COUNTS
    }

    /// Takes all events that wait.
    pub(super) fn take_events(&mut self) {
        let mut buffer = [0_u8; BUFFER];
        while !self.is_full() {
            match self.group.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    decode::events(&buffer[..length]).for_each(|event| self.happened(event))
                }
                Err(error) => {
                    let why = format!("events cannot be read: {error}; {}", next_step(&error));
                    self.gaps.push(gap(GapKind::Lost, 1, why));
                    return;
                }
            }
        }
    }

    fn happened(&mut self, event: Happened) {
        if event.overflow {
            let why =
                "the kernel dropped events, because the agent's memory is full; raise MemoryMax=";
            self.gaps.push(gap(GapKind::Lost, 1, why.to_owned()));
        }
        let Some(fd) = event.fd.map(sys::own) else {
            return;
        };
        if event.pid == std::process::id() {
            return;
        }
        if let Some(seen) = self.identify(&fd, event.pid) {
            self.book(event, seen);
        }
    }

    /// Which file it is; `None` if nobody needs to know.
    fn identify(&mut self, fd: &OwnedFd, pid: u32) -> Option<Seen> {
        let status = sys::status(fd.as_fd())
            .ok()
            .filter(|found| found.is_regular)?;
        if self.stores.is_told_below(fd.as_fd(), &status) {
            return None;
        }
        let store = self.stores.store_of(fd.as_fd(), &status, pid);
        if store.is_none() && !is_young(&status) {
            return None;
        }
        let mut seen = self.seen(fd.as_fd(), &status, store);
        match store {
            Some(store) => self.remember(seen.file, store),
            None if status.links > 1 => seen.store = self.of_stores.get(&seen.file).copied(),
            None => {}
        }
        Some(seen)
    }

    /// A file that was opened by a name in a store lies there by its other names, too.
    fn remember(&mut self, file: FileId, store: usize) {
        if self.of_stores.len() >= OF_STORES {
            self.of_stores.clear();
        }
        self.of_stores.insert(file, store);
    }

    fn seen(&mut self, fd: BorrowedFd<'_>, status: &Status, store: Option<usize>) -> Seen {
        let file = FileId {
            fs: self.file_system(fd, status.device),
            inode: status.inode,
            generation: sys::generation(fd),
        };
        Seen {
            file,
            inode: status.inode,
            store,
            size: status.size,
        }
    }

    /// What files on the file system of an open folder are told with.
    pub(super) fn file_system_of(&mut self, folder: &File) -> Option<u64> {
        let status = sys::status(folder.as_fd()).ok()?;
        Some(self.file_system(folder.as_fd(), status.device))
    }

    fn file_system(&mut self, fd: BorrowedFd<'_>, device: (u32, u32)) -> u64 {
        *self
            .file_systems
            .entry(device)
            .or_insert_with(|| match sys::uuid(fd) {
                Some(uuid) => file_system_id(uuid),
                None => mix(u64::from(device.0) << 20 | u64::from(device.1), 1),
            })
    }

    fn book(&mut self, event: Happened, seen: Seen) {
        let by = self.who(event.pid);
        // Other reads of this process that wait in the queue are in it already: they take their share of what is left.
        let rchar = look::read_bytes(event.pid);
        if event.opened {
            self.books.opened(event.pid, by, rchar, seen);
        }
        if event.written {
            let (before, read) = self.books.written(event.pid, rchar, seen);
            self.count_read(read.filter(|_| seen.store.is_some()));
            if seen.store.is_none() {
                self.count_write(by, seen, before.unwrap_or(0));
            }
        }
        if event.closed {
            let read = self.books.closed(event.pid, by, rchar, seen);
            self.count_read(read);
        }
    }

    fn who(&mut self, pid: u32) -> By {
        if pid == 0 {
            return By::Nobody;
        }
        let look = &self.look;
        *self.met.entry(pid).or_insert_with(|| {
            let person = look.person(pid);
            person.map_or(By::Ended(pid), |person| By::Process(person.who))
        })
    }

    fn count_read(&mut self, read: Option<Estimate>) {
        let Some(Estimate { by, seen, bytes }) = read else {
            return;
        };
        self.counts.push(FileCount {
            who: by,
            file: seen.file,
            kind: Kind::Estimated,
            store: seen.store,
            bytes,
            size: seen.size,
            last_at: now(),
        });
    }

    /// As far as it grew; all of it, if it did not grow: then it was written anew.
    fn count_write(&mut self, by: By, seen: Seen, before: u64) {
        let grown = seen.size.saturating_sub(before);
        self.counts.push(FileCount {
            who: by,
            file: seen.file,
            kind: Kind::Write,
            store: None,
            bytes: if grown > 0 { grown } else { seen.size },
            size: seen.size,
            last_at: now(),
        });
    }

    /// What was read of files that are still open.
    pub(super) fn look_at_open_files(&mut self) {
        let readers: Vec<(u32, Vec<(FileId, u64)>)> = self
            .books
            .open()
            .map(|(pid, files)| (pid, files.collect()))
            .collect();
        let mut looks = 0;
        for (pid, files) in readers {
            if looks > LOOKS {
                break;
            }
            let Some(rchar) = look::read_bytes(pid) else {
                continue; // its closes are on their way
            };
            let stands = open_files::stands(pid, &files, &mut looks);
            for read in self.books.looked_at(pid, rchar, &stands) {
                self.count_read(Some(read));
            }
            if !self.group.has_events() {
                self.books.forget_rest(pid);
            }
        }
        self.met.clear();
        self.books.forget(|pid| look::life(pid).is_none());
    }

    /// Store files that were open before the start.
    fn meet_open_files(&mut self) {
        let pids: Vec<u32> = look::pids()
            .filter(|pid| *pid != std::process::id())
            .collect();
        for pid in pids {
            for open in open_files::of(pid) {
                if self.stores.store(&open.path, open.mount, pid).is_none() {
                    continue;
                }
                if let Ok(file) = File::open(&open.link)
                    && let Some(seen) = self.identify(&OwnedFd::from(file), pid)
                {
                    let by = self.who(pid);
                    let rchar = look::read_bytes(pid);
                    self.books.was_open(pid, by, rchar, seen, open.position);
                }
            }
        }
    }

    pub(super) fn take_counts(&mut self) -> Vec<FileCount> {
        std::mem::take(&mut self.counts)
    }

    pub(super) fn take_gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.gaps)
    }
}

fn is_young(status: &Status) -> bool {
    status.links > 1 || status.changed.saturating_mul(SECOND) > clock::wall() - LABEL_LIFE
}

fn now() -> u64 {
    clock::boottime().0.unsigned_abs()
}

/// As `super_id` of `bpf/file.h` has it: a label outlives a change of rung.
fn file_system_id(uuid: [u8; 16]) -> u64 {
    let half = |place: usize| {
        let bytes = uuid[place..place + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    mix(half(0), half(8))
}

fn mix(low: u64, high: u64) -> u64 {
    let hash = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}
