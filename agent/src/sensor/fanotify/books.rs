//! How much of each open file was read, estimated from what `/proc` tells while it is open.
//!
//! What moved is a descriptor's position, and a process's count of bytes read (`rchar`), which holds pipes and sockets
//! too and is shared among the files that it has open. Reads through a mapping and by io_uring move neither: where nothing
//! moved, a file counts as read to its end: an estimate may be too high, a leak may not be missed.

use std::collections::BTreeMap;

use jaga_rules::event::FileId;

use crate::sensor::host::seen::By;

/// Processes with open files that are followed. Beyond, a file counts as read to its end when it is closed.
const READERS: usize = 16_384;
/// Files that are followed in each.
const FILES: usize = 4_096;
/// Looks for which a process without open files is remembered: what it reads next is told from what it read before.
const IDLE: u16 = 240;
/// Looks at which a file stood open and its process had read nothing of anything, after which it counts as read: by io_uring
/// or through a mapping, which leave no trace, it is sent before it is closed.
const STILL: u8 = 2;
/// Looks for which one that is gone is remembered: what it closed at its end may be told late.
const GONE: u8 = 4;

/// A file, and which store it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub file: FileId,
    /// Device and inode as `stat` tells them.
    pub inode: u64,
    /// The store, by index; `None` for what may carry store data.
    pub store: Option<usize>,
    /// Its size now, bytes.
    pub size: u64,
}

/// So many bytes of a file were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// By whom.
    pub by: By,
    /// Of what.
    pub seen: Seen,
    /// How many.
    pub bytes: u64,
}

/// Where a descriptor of a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// At this byte.
    At(u64),
    /// It cannot be read from.
    WriteOnly,
    /// The process has none: it is mapped, or somebody else has it.
    Nowhere,
}

/// Open files by process.
#[derive(Debug, Default)]
pub struct Books {
    readers: BTreeMap<u32, Reader>,
}

#[derive(Debug)]
struct Reader {
    by: By,
    rchar: u64,
    pool: Pool,
    /// When it was looked at last, a file was just being closed.
    closing: bool,
    /// Looks since it had a file open.
    idle: u16,
    /// Looks since it is gone.
    gone: u8,
    open: BTreeMap<FileId, Open>,
}

/// Bytes that a process has read.
#[derive(Debug, Default)]
struct Pool {
    /// That no file has got yet.
    left: u64,
    /// Of these, what was left at the last look already: only a file whose events come late can get it.
    rest: u64,
    /// That files have got, since the process is followed.
    given: u64,
}

impl Pool {
    /// A file gets so many, of which some may not be known to have been read.
    fn give(&mut self, bytes: u64) {
        self.given += bytes.min(self.left);
        self.take(bytes);
    }

    fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        self.rest = self.rest.saturating_sub(bytes);
    }
}

#[derive(Debug)]
struct Open {
    seen: Seen,
    /// How many times it is open.
    times: u32,
    /// The process's count when it was opened, less what files had got by then.
    unexplained: u64,
    booked: u64,
    /// Bytes that were booked because nothing moved: what moves later is of these first.
    guessed: u64,
    position: u64,
    /// Looked at this often without a trace of a read.
    still: u8,
    /// Looked at this often without a descriptor.
    missing: u8,
    /// Somebody else reads through its descriptor.
    elsewhere: bool,
    access: Access,
}

/// How a process may use a file, as far as a look has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Unknown,
    Reads,
    WritesOnly,
}

impl Open {
    fn left(&self) -> u64 {
        self.seen.size.saturating_sub(self.booked)
    }

    /// What a position that moved tells beyond what was guessed.
    fn beyond_guess(&mut self, moved: u64) -> u64 {
        let known = moved.min(self.guessed);
        self.guessed -= known;
        moved - known
    }

    fn book(&mut self, by: By, bytes: u64) -> Option<Estimate> {
        self.booked = self.booked.saturating_add(bytes);
        (bytes > 0).then_some(Estimate {
            by,
            seen: self.seen,
            bytes,
        })
    }
}

impl Reader {
    fn sample(&mut self, rchar: Option<u64>) {
        if let Some(rchar) = rchar {
            self.pool.left += rchar.saturating_sub(self.rchar);
            self.rchar = rchar;
        }
    }

    /// What it has read of nobody knows what.
    fn unexplained(&self) -> u64 {
        self.rchar.saturating_sub(self.pool.given)
    }
}

impl Books {
    /// A process opened a file. `rchar`: its count, unless it is gone.
    pub fn opened(&mut self, pid: u32, by: By, rchar: Option<u64>, seen: Seen) {
        if self.readers.len() >= READERS && !self.readers.contains_key(&pid) {
            return;
        }
        let reader = self.readers.entry(pid).or_insert_with(|| Reader {
            by,
            rchar: rchar.unwrap_or(0),
            // It may have read this file and others before anybody looked.
            pool: Pool {
                left: rchar.unwrap_or(0),
                ..Pool::default()
            },
            closing: false,
            idle: 0,
            gone: 0,
            open: BTreeMap::new(),
        });
        reader.by = by;
        reader.idle = 0;
        reader.sample(rchar);
        if reader.open.len() >= FILES && !reader.open.contains_key(&seen.file) {
            return;
        }
        let unexplained = reader.unexplained();
        let open = reader.open.entry(seen.file).or_insert(Open {
            seen,
            times: 0,
            unexplained,
            booked: 0,
            guessed: 0,
            position: 0,
            still: 0,
            missing: 0,
            elsewhere: false,
            access: Access::Unknown,
        });
        open.times += 1;
        open.seen.size = open.seen.size.max(seen.size);
    }

    /// A file that was open before anybody looked, at this position: what was read until then is no news.
    pub fn was_open(&mut self, pid: u32, by: By, rchar: Option<u64>, seen: Seen, position: u64) {
        self.opened(pid, by, rchar, seen);
        if let Some(reader) = self.readers.get_mut(&pid)
            && let Some(open) = reader.open.get_mut(&seen.file)
        {
            (open.position, open.booked) = (position, position);
            open.still = STILL; // a service has its files open for years
            reader.pool.left = 0;
        }
    }

    /// A process closed a file that it could not write to. `rchar`: its count, unless it is gone.
    pub fn closed(&mut self, pid: u32, by: By, rchar: Option<u64>, seen: Seen) -> Option<Estimate> {
        let Some(reader) = self.readers.get_mut(&pid) else {
            // Opened by somebody else, or opened or mapped before anybody looked.
            let bytes = seen.size;
            return (bytes > 0).then_some(Estimate { by, seen, bytes });
        };
        reader.sample(rchar);
        let now = reader.unexplained();
        let Some(open) = reader.open.get_mut(&seen.file) else {
            let bytes = at_most(seen.size, reader.pool.left, rchar.is_none());
            reader.pool.give(bytes);
            return (bytes > 0).then_some(Estimate { by, seen, bytes });
        };
        open.seen.size = open.seen.size.max(seen.size);
        // What it has read since is of others.
        let no_trace = now <= open.unexplained && open.booked == 0;
        let bytes = at_most(
            open.left(),
            reader.pool.left,
            rchar.is_none() || no_trace || open.elsewhere,
        );
        reader.pool.give(bytes);
        // A process that is gone is called by the name that it had.
        let by = match by {
            By::Process(_) => by,
            By::Ended(_) | By::Nobody => reader.by,
        };
        let estimate = open.book(by, bytes);
        open.times = open.times.saturating_sub(1);
        if open.times == 0 {
            reader.open.remove(&seen.file);
        }
        if reader.open.is_empty() && rchar.is_none() {
            self.readers.remove(&pid);
        }
        estimate
    }

    /// A process closed a file that it could write to; how large it was when it was opened. What was only written is
    /// not read, and one that is as large as before may have been.
    pub fn written(
        &mut self,
        pid: u32,
        rchar: Option<u64>,
        seen: Seen,
    ) -> (Option<u64>, Option<Estimate>) {
        let Some(reader) = self.readers.get_mut(&pid) else {
            return (None, None);
        };
        reader.sample(rchar);
        let Some(mut open) = reader.open.remove(&seen.file) else {
            return (None, None);
        };
        let before = open.seen.size;
        let read_too = before == seen.size && open.access != Access::WritesOnly;
        let bytes = if read_too {
            open.left().min(reader.pool.left)
        } else {
            0
        };
        // Events come late: a copy that was only written, and is looked at first when it is whole, takes nothing from others.
        if open.access == Access::Reads || open.seen.store.is_some() {
            reader.pool.take(bytes);
        }
        (Some(before), open.book(reader.by, bytes))
    }

    /// The processes with open files, and the inodes of these.
    pub fn open(&self) -> impl Iterator<Item = (u32, impl Iterator<Item = (FileId, u64)>)> {
        self.readers.iter().map(|(pid, reader)| {
            let files = reader.open.values();
            (*pid, files.map(|open| (open.seen.file, open.seen.inode)))
        })
    }

    /// What a process that has files open has read of them since it was last looked at. Unless events wait to be taken,
    /// [`Self::forget_rest`] comes next.
    pub fn looked_at(&mut self, pid: u32, rchar: u64, stands: &[(FileId, Stand)]) -> Vec<Estimate> {
        let Some(reader) = self.readers.get_mut(&pid) else {
            return Vec::new();
        };
        let mut told = Vec::new();
        // Two looks later no event is late.
        let rest = std::mem::take(&mut reader.pool.rest);
        reader.pool.left = reader.pool.left.saturating_sub(rest);
        reader.sample(Some(rchar));
        reader.idle += u16::from(reader.open.is_empty());
        let mut still = Vec::new();
        reader.closing = false;
        for (file, stand) in stands {
            let Some(open) = reader.open.get_mut(file) else {
                continue;
            };
            let bytes = match stand {
                Stand::At(position) => {
                    open.access = Access::Reads;
                    open.missing = 0;
                    let moved = position.saturating_sub(open.position);
                    open.position = *position;
                    open.elsewhere |= moved > reader.pool.left;
                    // A position may be set to anywhere: no more was read than there is, or than was read of anything.
                    let moved = moved.min(open.seen.size.max(reader.pool.left));
                    if moved == 0 {
                        still.push(*file);
                    }
                    moved
                }
                Stand::WriteOnly => {
                    open.access = Access::WritesOnly;
                    0
                }
                // Twice: it may have been closed since the events were read.
                Stand::Nowhere if open.missing == 1 => {
                    open.missing = 2;
                    open.left()
                }
                Stand::Nowhere => {
                    reader.closing |= open.missing == 0;
                    open.missing = open.missing.max(1);
                    0
                }
            };
            reader.pool.give(bytes);
            let bytes = match stand {
                Stand::At(_) => open.beyond_guess(bytes),
                Stand::WriteOnly | Stand::Nowhere => bytes,
            };
            told.extend(open.book(reader.by, bytes));
        }
        // Reads at a place of their own (pread) move no position: these files share what is left.
        let now = reader.unexplained();
        let share = reader.pool.left / (still.len() as u64).max(1);
        let mut shared = 0;
        for file in still {
            if let Some(open) = reader.open.get_mut(&file) {
                // What it read before it opened the file is no trace of it.
                let since = now.saturating_sub(open.unexplained);
                let no_trace = since == 0 && open.booked == 0;
                open.still = open.still.saturating_add(u8::from(no_trace));
                let bytes = if no_trace && open.still == STILL {
                    open.guessed = open.left();
                    open.guessed
                } else {
                    let bytes = share.min(since).min(open.left());
                    shared += bytes;
                    bytes
                };
                told.extend(open.book(reader.by, bytes));
            }
        }
        reader.pool.left = reader.pool.left.saturating_sub(shared);
        reader.pool.rest = reader.pool.left;
        told
    }

    /// What a process has read of nobody knows what, when it was looked at last, is of no file. But where events wait, it
    /// may be of a file whose open is among them; and of one that it has just closed it is told with the close.
    pub fn forget_rest(&mut self, pid: u32) {
        if let Some(reader) = self.readers.get_mut(&pid)
            && !reader.closing
        {
            (reader.pool.left, reader.pool.rest) = (0, 0);
        }
    }

    /// Forgets who is gone, and who has had nothing open for long.
    pub fn forget(&mut self, is_gone: impl Fn(u32) -> bool) {
        self.readers.retain(|pid, reader| {
            reader.gone += u8::from(is_gone(*pid));
            reader.idle < IDLE && reader.gone < GONE
        });
    }
}

fn at_most(size: u64, pool: u64, all: bool) -> u64 {
    if all { size } else { size.min(pool) }
}

#[cfg(test)]
mod tests;
