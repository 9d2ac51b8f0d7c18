//! The kernel's tables and rings as sources.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use jaga_rules::event::{Gap, GapKind, Name};
use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};

use super::attach::{Attached, Lost};
use super::decode::{self, file, process, socket};
use super::table::Table;
use crate::sensor::host::MEMORY;
use crate::sensor::host::addresses::Addresses;
use crate::sensor::host::batch::{Peek, Round};
use crate::sensor::host::ports::Ports;
use crate::sensor::host::seen::{Gone, Life, Moved, SocketCount};
use crate::sensor::host::source;

/// The ring in which process life is told.
pub(super) struct Lives {
    attached: Arc<Attached>,
    ring: Ring<Life>,
    told: Lost,
}

impl Lives {
    pub(super) fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self {
            ring: Ring::open(attached.map("events")?, process::decode)?,
            told: attached.lost(),
            attached,
        })
    }
}

impl source::Lives for Lives {
    fn take(&mut self) -> Vec<Life> {
        self.ring.take()
    }

    fn gap(&mut self) -> Option<Gap> {
        let why = "the ring of process records was full; the list of processes was read again";
        lost_since(&mut self.told, &self.attached, "processes", why)
    }

    fn list(&mut self) -> Vec<Life> {
        let list = self.attached.iterate("list_tasks").unwrap_or_default();
        process::decode_list(&list)
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

/// The ring in which it is told who gets at whose memory.
pub(super) struct Memory {
    attached: Arc<Attached>,
    ring: Ring<Peek>,
    told: Lost,
}

impl Memory {
    pub(super) fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self {
            ring: Ring::open(attached.map("events")?, decode::peek)?,
            told: attached.lost(),
            attached,
        })
    }
}

impl source::Files for Memory {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        round.peeks.extend(self.ring.take());
        let why = "the ring of who gets at whose memory was full";
        gaps.extend(lost_since(&mut self.told, &self.attached, MEMORY, why));
    }
}

/// The table of reads and writes, and the rings of files that are gone and that have left a store.
pub(super) struct Files {
    counter: Counter,
    /// What of each store had found the table full, as far as it was told.
    overflow: Vec<u64>,
    gone: Ring<Gone>,
    /// On a rung that sees it.
    moved: Option<Ring<Moved>>,
}

impl Files {
    pub(super) fn open(attached: Arc<Attached>) -> Result<Self, String> {
        let moved = attached.map("moved").ok();
        let moved = moved.map(|moved| Ring::open(moved, file::decode_moved));
        Ok(Self {
            gone: Ring::open(attached.map("gone")?, file::decode_gone)?,
            moved: moved.transpose()?,
            overflow: attached.overflow(),
            counter: Counter::open(attached)?,
        })
    }
}

impl source::Files for Files {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        round.gone = self.gone.take();
        round.moved = self.moved.as_mut().map(Ring::take).unwrap_or_default();
        let before = gaps.len();
        self.counter.drain("files", gaps, |key, value| {
            round.files.extend(file::decode(key, value));
        });
        if gaps.len() > before {
            round.overflow = self.overflowed();
        }
    }
}

impl Files {
    /// Bytes by store since the last call.
    fn overflowed(&mut self) -> Vec<(usize, u64)> {
        let now = self.counter.attached.overflow();
        let before = std::mem::replace(&mut self.overflow, now);
        let new = self
            .overflow
            .iter()
            .zip(before)
            .map(|(now, before)| now - before);
        new.enumerate().filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// The table of what passed through local sockets: told like reads and writes.
pub(super) struct Channels(Counter);

impl Channels {
    pub(super) fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self(Counter::open(attached)?))
    }
}

impl source::Files for Channels {
    fn drain(&mut self, round: &mut Round, gaps: &mut Vec<Gap>) {
        self.0.drain("channels", gaps, |key, value| {
            round.files.extend(file::decode(key, value));
        });
    }
}

/// A table of sums.
pub(super) struct Counter {
    attached: Arc<Attached>,
    table: Table,
    told: Lost,
}

impl Counter {
    pub(super) fn open(attached: Arc<Attached>) -> Result<Self, String> {
        Ok(Self {
            table: attached.table()?,
            told: attached.lost(),
            attached,
        })
    }

    pub(super) fn drain(
        &mut self,
        name: &str,
        gaps: &mut Vec<Gap>,
        each: impl FnMut(&[u8], &[u8]),
    ) {
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
pub(super) struct Sockets {
    counter: Counter,
    /// The agent's own network namespace, whose interfaces have names.
    netns: u32,
    /// For connections older than the sensor.
    ports: Ports,
    interfaces: Addresses,
}

impl Sockets {
    pub(super) fn open(attached: Arc<Attached>, netns: u32) -> Result<Self, String> {
        Ok(Self {
            counter: Counter::open(attached)?,
            netns,
            ports: Ports::of_this_host(),
            interfaces: Addresses::default(),
        })
    }
}

impl source::Sockets for Sockets {
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

    use jaga_rules::event::Event;

    use super::super::attach::{attach, files};
    use super::*;
    use crate::sensor::host::watch::Watch;

    #[test]
    fn what_finds_no_room_is_told_with_its_bytes() {
        let attached = match attach(&files().by_tracepoint().with_entries(8)) {
            Ok(attached) => attached,
            Err(why) => {
                eprintln!("NOT RUN: a full table: {why}");
                assert!(std::env::var("CI").is_err(), "cannot run in CI: {why}");
                return;
            }
        };
        let mut watch = Watch::nothing();
        watch.files = Some(Box::new(Files::open(Arc::new(attached)).unwrap()));
        // On the disk that the build is on: `/tmp` may be a tmpfs, which is not seen.
        let scratch =
            tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../target").unwrap();
        // Much, for others on this machine write as well.
        for number in 0..100 {
            fs::write(scratch.path().join(number.to_string()), [0; 100_000]).unwrap();
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
        assert!(wrote + lost >= 10_000_000, "told {wrote} B, lost {lost} B");
        let (_, gaps) = watch.round(&[]);
        assert!(
            gaps.iter().all(|gap| gap.bytes < lost),
            "told twice: {gaps:?}"
        );
    }
}
