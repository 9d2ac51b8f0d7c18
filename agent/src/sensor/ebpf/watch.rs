//! The attached sensors, drained one round at a time: thin, between the kernel and `batch.rs`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use jaga_rules::event::{Event, Gap, GapKind, Name};
use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};

use super::attach::{Attached, Lost};
use super::batch::{Round, Teller};
use super::decode::file::Gone;
use super::decode::process::{self, Life};
use super::decode::socket::{Ports, SocketCount};
use super::decode::{file, socket};
use super::interfaces::Interfaces;
use super::names::Names;
use super::roster::Roster;
use super::table::Table;

/// All that is attached, and what was told of it.
pub struct Watch {
    lives: Option<Lives>,
    files: Option<Files>,
    sockets: Option<Sockets>,
    teller: Teller,
}

/// What was attached, by subject.
#[derive(Debug)]
pub struct Subjects {
    /// Process life.
    pub processes: Option<Arc<Attached>>,
    /// Reads and writes.
    pub files: Option<Arc<Attached>>,
    /// Sends.
    pub sockets: Option<Arc<Attached>>,
    /// The agent's own network namespace, whose interfaces have names.
    pub netns: u32,
    /// For connections older than the sensor.
    pub ports: Ports,
}

impl Watch {
    /// Opens the tables and the ring of what is attached.
    ///
    /// # Errors
    /// In words, should the kernel refuse what it granted to the programs.
    pub fn open(subjects: Subjects) -> Result<Self, String> {
        let files = subjects.files.map(Files::open).transpose()?;
        let counter = subjects.sockets.map(Counter::open).transpose()?;
        Ok(Self {
            lives: subjects.processes.map(Lives::open).transpose()?,
            files,
            sockets: counter.map(|counter| Sockets {
                counter,
                netns: subjects.netns,
                ports: subjects.ports,
                interfaces: Interfaces::default(),
            }),
            teller: Teller::new(Roster::new(Names::new("/proc".as_ref()))),
        })
    }

    /// Sees nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            lives: None,
            files: None,
            sockets: None,
            teller: Teller::new(Roster::new(Names::new("/proc".as_ref()))),
        }
    }

    /// Everybody who runs already. The programs are attached, so whoever comes meanwhile is in the ring.
    pub fn first_batch(&mut self) -> Vec<Event> {
        self.resync()
    }

    /// What happened since the last round, and what was lost of it.
    pub fn round(&mut self, stores: &[Name]) -> (Vec<Event>, Vec<Gap>) {
        let mut round = Round::default();
        let mut gaps = Vec::new();
        if let Some(lives) = &mut self.lives {
            round.before = lives.take();
        }
        // Effects before causes: a send that is taken now has its reads in the table that is taken after it. The
        // other way round, a fast copy sends for the milliseconds between, and nobody seems to hold what it sends.
        if let Some(sockets) = &mut self.sockets {
            sockets.drain(&mut round.sends, &mut gaps);
        }
        if let Some(files) = &mut self.files {
            files.drain(&mut round, &mut gaps);
        }
        if let Some(lives) = &mut self.lives {
            round.after = lives.take();
        }
        let mut events = self.teller.tell(round, stores);
        if let Some(gap) = self.lives.as_mut().and_then(Lives::gap) {
            events.extend(self.resync());
            gaps.push(gap);
        }
        (events, gaps)
    }

    fn resync(&mut self) -> Vec<Event> {
        let lives = self.lives.as_ref();
        let list = lives.and_then(|lives| lives.attached.iterate("list_tasks").ok());
        let Some(list) = list else {
            return Vec::new();
        };
        let mut there = process::decode_list(&list);
        // Parents first, where they are still the parents.
        there.sort_by_key(|life| (life.who.actor.start, life.who.actor.pid));
        self.teller.roster.resync(there)
    }
}

/// The ring in which process life is told.
struct Lives {
    attached: Arc<Attached>,
    ring: Ring<Life>,
    told: Lost,
}

impl Lives {
    fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self {
            ring: Ring::open(attached.map("events")?, process::decode)?,
            told: attached.lost(),
            attached,
        })
    }

    fn take(&mut self) -> Vec<Life> {
        self.ring.take()
    }

    fn gap(&mut self) -> Option<Gap> {
        let why = "the ring of process records was full; the list of processes was read again";
        lost_since(&mut self.told, &self.attached, "processes", why)
    }
}

/// A ring of records.
struct Ring<T> {
    ring: RingBuffer<'static>,
    heard: Rc<RefCell<Vec<T>>>,
}

impl<T: 'static> Ring<T> {
    fn open(map: &MapHandle, decode: fn(&[u8]) -> Option<T>) -> Result<Self, String> {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&heard);
        let mut builder = RingBufferBuilder::new();
        let each = move |bytes: &[u8]| {
            sink.borrow_mut().extend(decode(bytes));
            0
        };
        let refused = |error| format!("cannot read the ring: {error}");
        builder.add(map, each).map_err(refused)?;
        let ring = builder.build().map_err(refused)?;
        Ok(Self { ring, heard })
    }

    fn take(&mut self) -> Vec<T> {
        self.ring.consume_raw();
        self.heard.take()
    }
}

/// The table of reads and writes, and the ring of files that are gone.
struct Files {
    counter: Counter,
    gone: Ring<Gone>,
}

impl Files {
    fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self {
            gone: Ring::open(attached.map("gone")?, file::decode_gone)?,
            counter: Counter::open(attached)?,
        })
    }

    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        round.gone = self.gone.take();
        self.counter.drain("files", gaps, |key, value| {
            round.files.extend(file::decode(key, value));
        });
    }
}

/// A table of sums.
struct Counter {
    attached: Arc<Attached>,
    table: Table,
    told: Lost,
}

impl Counter {
    fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self {
            table: attached.table()?,
            told: attached.lost(),
            attached,
        })
    }

    fn drain(&mut self, name: &str, gaps: &mut Vec<Gap>, each: impl FnMut(&[u8], &[u8])) {
        if let Err(error) = self.table.drain(each) {
            let why = format!("cannot take the kernel's sums: {error}; restart the agent");
            gaps.push(gap(name, GapKind::Blind, Lost::default(), &why));
        }
        let why = "more pairs of process and file or remote between two rounds than the table holds; \
                   shorten `periods: { drain: … }`";
        gaps.extend(lost_since(&mut self.told, &self.attached, name, why));
    }
}

/// The table of sends, and what completes an entry.
struct Sockets {
    counter: Counter,
    netns: u32,
    ports: Ports,
    interfaces: Interfaces,
}

impl Sockets {
    fn drain(&mut self, sends: &mut Vec<(SocketCount, Option<Name>)>, gaps: &mut Vec<Gap>) {
        self.interfaces.next_round();
        let (ports, netns, interfaces) = (&self.ports, self.netns, &mut self.interfaces);
        self.counter.drain("sockets", gaps, |key, value| {
            let Some(mut count) = socket::decode(key, value) else {
                return;
            };
            count.flow = ports.settle(count.flow);
            let local = count.flow.local.ip();
            let here = count.netns == netns;
            let interface = here.then(|| interfaces.name(local)).flatten();
            sends.push((count, interface));
        });
    }
}

fn lost_since(told: &mut Lost, attached: &Attached, name: &str, why: &str) -> Option<Gap> {
    let now = attached.lost();
    let new = now.since(*told);
    *told = now;
    (new != Lost::default()).then(|| gap(name, GapKind::Lost, new, why))
}

fn gap(name: &str, kind: GapKind, lost: Lost, why: &str) -> Gap {
    Gap {
        sensor: name.into(),
        kind,
        events: lost.events + lost.skipped,
        bytes: lost.bytes,
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::attach::{attach, files};
    use super::*;

    #[test]
    fn what_finds_no_room_is_told_with_its_bytes() {
        let attached = match attach(&files().with_entries(8)) {
            Ok(attached) => attached,
            Err(why) => {
                eprintln!("NOT RUN: a full table: {why}");
                assert!(std::env::var("CI").is_err(), "cannot run in CI: {why}");
                return;
            }
        };
        let subjects = Subjects {
            processes: None,
            files: Some(Arc::new(attached)),
            sockets: None,
            netns: 0,
            ports: Ports {
                listening: Default::default(),
                ephemeral: 1..=1,
            },
        };
        let mut watch = Watch::open(subjects).unwrap();
        // On the disk that the build is on: `/tmp` may be a tmpfs, which is not seen.
        let scratch =
            tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../target").unwrap();
        for number in 0..100 {
            fs::write(scratch.path().join(number.to_string()), [0; 1000]).unwrap();
        }
        let (events, gaps) = watch.round(&[]);
        let wrote: u64 = events
            .iter()
            .filter_map(|event| match event {
                Event::Wrote(wrote) if wrote.actor.pid == std::process::id() => Some(wrote.bytes),
                _ => None,
            })
            .sum();
        let lost: u64 = gaps.iter().map(|gap| gap.bytes).sum();
        assert!(lost > 0 && gaps[0].events > 0, "{gaps:?}");
        assert!(wrote + lost >= 100_000, "told {wrote} B, lost {lost} B");
        let (_, gaps) = watch.round(&[]);
        assert!(
            gaps.iter().all(|gap| gap.bytes < lost),
            "told twice: {gaps:?}"
        );
    }
}
