//! The table that compares what jaga booked with what was truly read and sent: a row a way, a column a rung.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jaga_rules::event::{Actor, Event, Pass, Place, Sender, Stamped};

use crate::table::aligned;
use crate::truth::drive::Deed;
use crate::truth::{Bench, Family, Way, datagram};

/// Ways of which not all is seen, and the name under which `jaga check` says so.
const UNSEEN: [(&str, &str); 5] = [
    ("renamed out of the store", "reflinks"),
    ("by a reflink (btrfs)", "reflinks"),
    ("on tmpfs", "tmpfs"),
    ("in a memfd", "tmpfs"),
    ("AF_PACKET past the queue", "packet-destinations"),
];

/// What is read here is of no store: it carries what was read of one.
const CARRIERS: [&str; 1] = ["in a memfd"];

/// Where each piece counts as the pages that it touches. What the call asks for lies in memory that another thread of the
/// same program may change meanwhile: taken from there, it could be made to be too little.
const WHOLE_PAGES: [&str; 1] = ["preadv2 in pieces of 700 B"];

/// The name for what is not seen of a way; a way that nobody has explained is wrong.
fn unseen(way: &str) -> &'static str {
    let found = UNSEEN.iter().find(|(name, _)| *name == way);
    found.map_or("WRONG", |(_, name)| name)
}

/// A connection that is there for long enough to be looked at.
const LASTING: [&str; 1] = ["connected before the agent started"];

/// Who sends headers of its own, and their bytes in each packet: in packets nobody can tell who wrote them.
const WITH_HEADERS: [(&str, u64); 2] = [("raw, with a header of its own", 28), ("AF_PACKET", 42)];

/// The same without eBPF.
fn unseen_without_ebpf(deed: &Deed, rung: u8) -> String {
    let rung = format!("{}-rung-{rung}", subject(deed.family));
    let names: &[(&str, &str)] = &[
        ("renamed out of the store", "reflinks"),
        ("by a reflink (btrfs)", "reflinks"),
        ("by btrfs send", "block-devices"),
        ("on the block device", "block-devices"),
        ("on the block device, 1 MiB at once", "block-devices"),
        ("through a hard link", "files-rung-4"),
        ("in a snapshot (btrfs)", &rung),
        ("by its handle", &rung),
        ("in a memfd", &rung),
    ];
    let no_counter = datagram::WAYS.iter().any(|way| way.name == deed.name);
    let name = match names.iter().find(|(way, _)| *way == deed.name) {
        Some((_, name)) => name,
        None if no_counter => &*rung,
        None => "WRONG",
    };
    name.to_owned()
}

/// The sensor's subject.
const fn subject(family: Family) -> &'static str {
    match family {
        Family::Reading => "files",
        Family::Sending => "sockets",
    }
}

/// What jaga booked of one deed, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Booked {
    /// To the process that did it, of a store or to the peer.
    pub own: u64,
    /// The same to those that it started.
    pub helpers: u64,
    /// Of no store, or to nowhere known.
    pub astray: u64,
    /// To nobody known: of a store, or to the peer.
    pub unknown: u64,
    /// Part of it is marked as an estimate.
    pub estimated: bool,
}

impl Booked {
    /// Adds up what the tape has of the deed.
    #[must_use]
    pub fn of(deed: &Deed, tape: &[Stamped], bench: &Bench) -> Self {
        let mut family = BTreeSet::from([deed.pid]);
        let mut booked = Self::default();
        // Files outside the stores that hold a store's bytes.
        let mut carriers = BTreeSet::new();
        for stamped in tape {
            match &stamped.event {
                Event::Pass(Pass {
                    from: Place::Store(_),
                    to: Place::File(file),
                    ..
                }) => drop(carriers.insert(*file)),
                Event::Fork(fork) if family.contains(&fork.parent.pid) => {
                    family.insert(fork.child.pid);
                }
                Event::Read(read) if deed.family == Family::Reading => {
                    if read.actor == Actor::NOBODY && read.store.is_some() {
                        booked.unknown += read.bytes;
                        booked.estimated |= read.estimated;
                    }
                    // What is mapped of no store is the program itself.
                    let hit = read.store.is_some() || carriers.contains(&read.file);
                    let counts = hit || !read.estimated;
                    if counts && family.contains(&read.actor.pid) {
                        booked.estimated |= read.estimated;
                        booked.add(read.actor.pid == deed.pid, hit, read.bytes);
                    }
                }
                Event::Sent(sent) if deed.family == Family::Sending => {
                    let remote = sent.flow.remote.ip();
                    let hit =
                        remote == IpAddr::from(bench.peer) || remote == IpAddr::from(bench.peer6);
                    match sent.sender {
                        Sender::Actor(actor) if family.contains(&actor.pid) => {
                            booked.add(actor.pid == deed.pid, hit, sent.bytes);
                        }
                        Sender::Unknown if hit => booked.unknown += sent.bytes,
                        Sender::Actor(_) | Sender::Unknown | Sender::Host(_) => {}
                    }
                }
                _ => {}
            }
        }
        booked
    }

    /// The same on a rung that estimates what is read, and may not know by whom.
    fn cell_without_ebpf(&self, deed: &Deed, truth: u64, rung: u8) -> String {
        if rung == 3 && deed.name == "by a reflink (btrfs)" {
            // The store's file is opened and not read: it counts whole, unless a look falls between.
            return "as luck has it: reflinks".to_owned();
        }
        let all = self.own + self.helpers + self.unknown;
        let (truth, of_it) = match WITH_HEADERS.iter().find(|(way, _)| *way == deed.name) {
            Some((_, header)) if rung == 4 => (
                truth * datagram::BYTES / (datagram::BYTES + header),
                " (payload, without the headers that it wrote)",
            ),
            Some(_) | None => (truth, ""),
        };
        let how_much = match (deed.family, near(all, truth)) {
            (Family::Reading, _) if all > 0 && !self.estimated => {
                "WRONG: not marked as an estimate"
            }
            (Family::Reading, Some(_)) => "estimate",
            (Family::Reading, None) if all > truth => "over (estimate)",
            (Family::Sending, Some(class)) => class,
            (Family::Sending, None) if all > truth => "WRONG: over",
            (Family::Reading | Family::Sending, None) if all == 0 => {
                return format!("not seen: {}", unseen_without_ebpf(deed, rung));
            }
            (Family::Reading | Family::Sending, None) => "WRONG: under",
        };
        // What lives for less than 250 ms has an owner if somebody looks in time.
        let is_luck =
            rung == 3 && deed.family == Family::Sending && !LASTING.contains(&&*deed.name);
        let by_whom = if is_luck {
            "; by whom, as luck has it: sockets-rung-3".to_owned()
        } else if self.unknown > 0 {
            format!(", by nobody known: {}-rung-{rung}", subject(deed.family))
        } else if self.own == 0 {
            ", booked to its helper".to_owned()
        } else {
            String::new()
        };
        format!("{how_much}{of_it}{by_whom}")
    }

    fn add(&mut self, is_own: bool, is_hit: bool, bytes: u64) {
        match (is_hit, is_own) {
            (false, _) => self.astray += bytes,
            (true, true) => self.own += bytes,
            (true, false) => self.helpers += bytes,
        }
    }

    /// The cell: a class, so that it is the same from run to run.
    #[must_use]
    pub fn cell(&self, deed: &Deed, rung: u8) -> String {
        let truth = match &deed.truth {
            Ok(truth) => *truth,
            Err(_) => return "cannot be tried here".into(),
        };
        if rung > 2 {
            return self.cell_without_ebpf(deed, truth, rung);
        }
        let nowhere = match deed.family {
            Family::Reading => "outside every store",
            Family::Sending => "to nowhere known",
        };
        if let Some(class) = near(self.own, truth) {
            class.into()
        } else if let Some(class) = near(self.own + self.helpers, truth) {
            format!("{class}, booked to its helper")
        } else if self.own > truth && self.estimated {
            "over (estimate)".into()
        } else if self.own > truth && WHOLE_PAGES.contains(&&*deed.name) {
            "over (whole pages)".into()
        } else if self.own == 0 && near(self.astray, truth).is_some() {
            if CARRIERS.contains(&&*deed.name) {
                return format!("counted, {nowhere}");
            }
            // Of no store are also the libraries that it loaded: a share that is another on each machine.
            format!("counted, {nowhere}: {}", unseen(&deed.name))
        } else if self.own + self.helpers == 0 {
            format!("not seen: {}", unseen(&deed.name))
        } else if self.own > truth {
            "WRONG: over".into()
        } else {
            "WRONG: under".into()
        }
    }
}

fn near(booked: u64, truth: u64) -> Option<&'static str> {
    let off = booked.abs_diff(truth);
    if off * 1000 <= truth {
        Some("exact")
    } else if off * 100 <= truth {
        Some("within 1 %")
    } else {
        None
    }
}

/// The names in a column's cells for what is not seen, see [`Booked::cell`].
pub fn names_of_unseen(column: &Column) -> BTreeSet<&str> {
    let cells = column.iter();
    cells
        .filter_map(|cell| Some(cell.split_once(": ")?.1))
        .collect()
}

/// The rungs, best first.
pub const RUNGS: usize = 4;

/// A column: the cell of each deed, in the ways' order.
pub type Column = Vec<String>;

/// The whole table.
#[must_use]
pub fn table(columns: &[Column; RUNGS]) -> String {
    let mut rows = Vec::new();
    let mut last = None;
    for (index, (family, way)) in ways().enumerate() {
        if last != Some(family) {
            last = Some(family);
            rows.push([""; RUNGS + 1]);
            rows.push([family.word(), "rung 1", "rung 2", "rung 3", "rung 4"]);
        }
        let cells = columns.each_ref().map(|column| &*column[index]);
        rows.push([way.name, cells[0], cells[1], cells[2], cells[3]]);
    }
    HEAD.to_owned() + &aligned(&rows)
}

/// The columns of a table; a cell that it does not have yet is `-`.
#[must_use]
pub fn columns(table: &str) -> [Column; RUNGS] {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<Vec<&str>> = lines
        .map(|line| {
            let cells = line.split("  ").map(str::trim);
            cells.filter(|cell| !cell.is_empty()).collect()
        })
        .collect();
    std::array::from_fn(|rung| {
        ways()
            .map(|(_, way)| {
                let row = rows.iter().find(|row| row.first() == Some(&way.name));
                let cell = row.and_then(|row| row.get(rung + 1));
                cell.map_or("-", |cell| *cell).to_owned()
            })
            .collect()
    })
}

const HEAD: &str = "\
# What jaga books of the bytes that programs truly read and sent, by each way and on each rung.
# exact: within 0.1 %. What stands after a colon, `jaga check` has under \"Not seen on this host\".
# -: nothing sees on this rung yet. Made by tests/tests/live_truth.rs; JAGA_BLESS=1 writes it anew.
";

/// All ways with their families, in the table's order.
pub fn ways() -> impl Iterator<Item = (Family, &'static Way)> {
    let families = Family::ALL.into_iter();
    families.flat_map(|family| family.ways().map(move |way| (family, way)))
}
