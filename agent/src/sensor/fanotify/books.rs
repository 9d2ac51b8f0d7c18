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
mod tests {
    use super::*;

    const BY: By = By::Ended(7);

    fn seen(inode: u64, size: u64) -> Seen {
        let file = FileId {
            fs: 1,
            inode,
            generation: 0,
        };
        Seen {
            file,
            inode,
            store: Some(0),
            size,
        }
    }

    /// Books in which process 7 opened file 1 of 1,000 bytes when it had read 5,000 bytes.
    fn books() -> Books {
        let mut books = Books::default();
        books.opened(7, BY, Some(0), seen(9, 1));
        books.closed(7, BY, Some(5_000), seen(9, 1));
        look(&mut books, 5_000, &[]);
        books.opened(7, BY, Some(5_000), seen(1, 1_000));
        books
    }

    /// Looks at process 7 while no events wait.
    fn look(books: &mut Books, rchar: u64, stands: &[(FileId, Stand)]) -> Vec<Estimate> {
        let told = books.looked_at(7, rchar, stands);
        books.forget_rest(7);
        told
    }

    fn bytes(told: impl IntoIterator<Item = Estimate>) -> u64 {
        told.into_iter().map(|estimate| estimate.bytes).sum()
    }

    #[test]
    fn a_file_is_read_at_most_once_and_as_far_as_the_process_has_read() {
        assert_eq!(
            bytes(books().closed(7, BY, Some(5_300), seen(1, 1_000))),
            300
        );
        assert_eq!(
            bytes(books().closed(7, BY, Some(9_999), seen(1, 1_000))),
            1_000
        );
    }

    #[test]
    fn where_nothing_tells_it_was_read_to_its_end() {
        assert_eq!(bytes(books().closed(7, BY, None, seen(1, 1_000))), 1_000);
        // Mapped.
        assert_eq!(
            bytes(books().closed(7, BY, Some(5_000), seen(1, 1_000))),
            1_000
        );
        // Opened by somebody else, who is not known.
        assert_eq!(
            bytes(Books::default().closed(8, BY, None, seen(1, 1_000))),
            1_000
        );
        // The first two of a process, which it may have read before it was looked at.
        let mut books = Books::default();
        for file in [1, 2] {
            books.opened(7, BY, Some(50_000), seen(file, 1_000));
            let read = books.closed(7, BY, Some(50_100), seen(file, 1_000));
            assert_eq!(bytes(read), 1_000);
        }
    }

    #[test]
    fn what_its_program_took_is_no_trace_of_a_file() {
        let big = seen(2, 1 << 20);
        let mut books = Books::default();
        books.opened(7, BY, Some(2_797), big);
        assert_eq!(bytes(books.closed(7, BY, Some(2_797), big)), 1 << 20);
        // Neither if it is looked at meanwhile.
        let mut books = Books::default();
        books.opened(7, BY, Some(2_797), big);
        let at_start = [(big.file, Stand::At(0))];
        assert_eq!(bytes(look(&mut books, 2_797, &at_start)), 0);
        assert_eq!(bytes(books.closed(7, BY, Some(2_797), big)), 1 << 20);
        // Nor what it reads of another: a clone of it, or the layer below.
        let mut books = Books::default();
        books.opened(7, BY, Some(2_797), big);
        books.opened(7, BY, Some(2_797), seen(3, 9_000));
        let other = books.closed(7, BY, Some(2_797 + 9_000), seen(3, 9_000));
        assert_eq!(bytes(other), 9_000);
        let told = books.closed(7, BY, Some(2_797 + 9_000), big);
        assert_eq!(bytes(told), 1 << 20);
        // Mapped before anybody looked.
        let told = Books::default().closed(8, BY, Some(7_554), big);
        assert_eq!(bytes(told), 1 << 20);
    }

    #[test]
    fn what_was_read_before_a_look_that_a_close_overtook_is_told_with_the_close() {
        let mut books = books();
        let nowhere = [(seen(1, 1_000).file, Stand::Nowhere)];
        let read_before = look(&mut books, 5_400, &nowhere);
        assert_eq!(bytes(read_before), 0);
        assert_eq!(bytes(books.closed(7, BY, Some(5_900), seen(1, 1_000))), 900);
    }

    #[test]
    fn files_read_one_after_the_other_share_what_was_read() {
        let mut books = books();
        // Events come late: both were read before the first is looked at.
        let first = books.closed(7, BY, Some(7_000), seen(1, 1_000));
        books.opened(7, BY, Some(7_000), seen(2, 1_000));
        let second = books.closed(7, BY, Some(7_000), seen(2, 1_000));
        assert_eq!((bytes(first), bytes(second)), (1_000, 1_000));
    }

    #[test]
    fn a_position_tells_while_the_file_is_open() {
        let mut books = books();
        let file = seen(1, 1_000).file;
        assert_eq!(
            bytes(look(&mut books, 5_400, &[(file, Stand::At(400))])),
            400
        );
        assert_eq!(bytes(look(&mut books, 5_400, &[(file, Stand::At(400))])), 0);
        assert_eq!(bytes(books.closed(7, BY, Some(6_000), seen(1, 1_000))), 600);
    }

    #[test]
    fn reads_without_a_position_are_shared_and_end_with_the_file() {
        let mut books = books();
        let file = seen(1, 1_000).file;
        let still = [(file, Stand::At(0))];
        assert_eq!(bytes(look(&mut books, 5_700, &still)), 700);
        assert_eq!(bytes(look(&mut books, 9_000, &still)), 300);
        assert_eq!(bytes(look(&mut books, 10_000, &still)), 0);
    }

    #[test]
    fn what_was_read_of_a_file_whose_open_is_not_taken_yet_is_kept_for_it() {
        let mut books = books();
        // It has closed its file, and read 800 bytes of the next one.
        books.closed(7, BY, Some(5_000), seen(1, 1_000));
        assert_eq!(bytes(books.looked_at(7, 5_800, &[])), 0);
        books.opened(7, BY, Some(6_000), seen(2, 1_000));
        let read = books.closed(7, BY, Some(6_000), seen(2, 1_000));
        assert_eq!(bytes(read), 1_000);
    }

    #[test]
    fn what_was_kept_is_dropped_once() {
        let mut books = books();
        books.closed(7, BY, Some(5_000), seen(1, 1_000));
        books.looked_at(7, 5_800, &[]);
        // This one gets what was kept; what is read after it is of another.
        books.opened(7, BY, Some(5_800), seen(2, 800));
        let second = books.closed(7, BY, Some(5_800), seen(2, 800));
        books.opened(7, BY, Some(5_800), seen(3, 10_000));
        books.opened(7, BY, Some(6_600), seen(4, 10_000));
        let still = [3, 4].map(|inode| (seen(inode, 0).file, Stand::At(0)));
        let looked = books.looked_at(7, 6_600, &still);
        let third = books.closed(7, BY, Some(6_600), seen(3, 10_000));
        assert_eq!(bytes(second), 800);
        assert!(bytes(looked) + bytes(third) >= 800);
    }

    #[test]
    fn guesses_of_any_size_are_no_share_of_what_was_read() {
        let mut books = books();
        let huge = u64::MAX / 2;
        books.opened(7, BY, Some(5_000), seen(2, huge));
        books.opened(7, BY, Some(5_000), seen(3, huge));
        books.opened(7, BY, Some(5_000), seen(4, huge));
        let still = [2, 3, 4].map(|inode| (seen(inode, 0).file, Stand::At(0)));
        look(&mut books, 5_000, &still);
        let guessed = look(&mut books, 5_000, &still);
        assert_eq!(guessed.len(), 3);
    }

    #[test]
    fn a_slow_disk_makes_nothing_be_read_twice() {
        let mut books = books();
        let file = seen(1, 1_000).file;
        let still = [(file, Stand::At(0))];
        assert_eq!(bytes(look(&mut books, 5_000, &still)), 0);
        // Taken to be mapped; but its first page was on its way from the disk.
        assert_eq!(bytes(look(&mut books, 5_000, &still)), 1_000);
        let read = [(file, Stand::At(600))];
        assert_eq!(bytes(look(&mut books, 5_600, &read)), 0);
        let further = [(file, Stand::At(1_000))];
        assert_eq!(bytes(look(&mut books, 6_000, &further)), 0);
        assert_eq!(bytes(books.closed(7, BY, Some(6_000), seen(1, 1_000))), 0);
    }

    #[test]
    fn a_descriptor_that_somebody_else_reads_by_counts_to_the_end() {
        let mut books = books();
        let file = seen(1, 1_000).file;
        assert_eq!(
            bytes(look(&mut books, 5_000, &[(file, Stand::At(300))])),
            300
        );
        assert_eq!(bytes(books.closed(7, BY, Some(5_000), seen(1, 1_000))), 700);
    }

    #[test]
    fn what_has_no_descriptor_is_mapped() {
        let mut books = books();
        let file = seen(1, 1_000).file;
        let nowhere = [(file, Stand::Nowhere)];
        let told = [0; 3].map(|_| bytes(look(&mut books, 5_000, &nowhere)));
        assert_eq!(told, [0, 1_000, 0]);
    }

    #[test]
    fn what_was_written_is_not_read() {
        let mut books = books();
        let (before, read) = books.written(7, Some(9_000), seen(1, 3_000));
        assert_eq!((before, bytes(read)), (Some(1_000), 0));
    }

    #[test]
    fn a_copy_that_is_looked_at_when_it_is_whole_takes_no_read_from_its_source() {
        let mut books = books();
        let copy = Seen {
            store: None,
            ..seen(2, 1_000)
        };
        books.opened(7, BY, Some(6_000), copy);
        books.written(7, Some(6_000), copy);
        let source = books.closed(7, BY, Some(6_000), seen(1, 1_000));
        assert_eq!(bytes(source), 1_000);
    }

    #[test]
    fn what_was_read_before_the_start_is_no_news() {
        let mut books = Books::default();
        let file = seen(1, 1_000).file;
        books.was_open(7, BY, Some(50_000), seen(1, 1_000), 600);
        assert_eq!(
            bytes(look(&mut books, 50_100, &[(file, Stand::At(700))])),
            100
        );
    }

    #[test]
    fn what_was_read_before_a_file_was_opened_again_is_not_of_it() {
        let mut books = books();
        books.closed(7, BY, Some(6_000), seen(1, 1_000));
        look(&mut books, 90_000, &[]);
        books.forget(|_| false);
        books.opened(7, BY, Some(90_100), seen(1, 1_000));
        let read = books.closed(7, BY, Some(90_150), seen(1, 1_000));
        assert_eq!(bytes(read), 150);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut books = books();
        books.forget(|pid| pid == 7);
        assert_eq!(books.open().count(), 1, "its closes may be on their way");
        (1..GONE).for_each(|_| books.forget(|pid| pid == 7));
        assert_eq!(books.open().count(), 0);
    }
}
