//! Recorded captures as stamped events: opens the files, reads them to their end or to where they break.

use std::fmt;
use std::path::{Path, PathBuf};

use jaga_rules::event::{Event, Gap, GapKind, SECOND, Stamp, Stamped};
use pcap::{Capture, Offline, Precision};

use super::clock::{CaptureClock, Wrong, wall_nanos};
use super::flow::{TICKS_PER_SECOND, Tick, Totals};
use super::frame::Link;
use super::meter::{Frames, Meter};
use super::vantage::Vantage;

/// Events in one batch at most: bounds what waits between the reader and the engine.
pub const BATCH_LIMIT: usize = 4096;

/// Differences are told this often in the capture's time, nanoseconds; as often as a live sensor does.
const DRAIN_PERIOD: i64 = SECOND / TICKS_PER_SECOND as i64;

/// With more conversations than this to tell of, a drain may wait until [`DENSE_PERIOD`] has passed: then many of them
/// are told as one, and the engine keeps up with a capture of a million flows.
const DENSE: usize = 2048;

/// The longest that differences wait, nanoseconds: an alert may come after at most this much of line rate.
const DENSE_PERIOD: i64 = SECOND;

/// Takes batches. False means that nobody wants more.
pub type Sink<'a> = dyn FnMut(Vec<Stamped>) -> bool + 'a;

/// Reads captures one after the other, as one recording.
#[derive(Debug)]
pub struct Recording {
    meter: Meter,
    clock: CaptureClock,
    next_drain: Stamp,
    last_drain: Stamp,
    /// The wall offset that was told last.
    told_offset: Option<i64>,
    /// Unreadable frames that were told.
    told_unreadable: u64,
    /// Gaps from before the first packet: it brings the time at which they can be told.
    waiting: Vec<Event>,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Which.
    pub file: PathBuf,
    /// Packets that could be read.
    pub packets: u64,
    /// Why it ended before its end.
    pub trouble: Option<Trouble>,
}

/// Why a capture could not be read, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// libpcap cannot open it.
    Open(String),
    /// Its frames begin with something that is not understood.
    LinkType(String),
    /// It breaks after so many packets.
    Broken {
        /// The packet that could not be read, from 1 as Wireshark counts.
        packet: u64,
        /// libpcap's reason.
        reason: String,
    },
}

/// Totals of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// What the frames were.
    pub frames: Frames,
    /// What the flow table did.
    pub flows: Totals,
    /// From the first packet to the last, nanoseconds.
    pub length: i64,
}

impl Recording {
    /// Seen from `vantage`, with relays looked for among `internal` addresses.
    #[must_use]
    pub fn new(vantage: Vantage, internal: Vantage) -> Self {
        Self {
            meter: Meter::new(vantage, internal),
            clock: CaptureClock::default(),
            next_drain: Stamp(DRAIN_PERIOD),
            last_drain: Stamp(0),
            told_offset: None,
            told_unreadable: 0,
            waiting: Vec::new(),
        }
    }

    /// Reads `file` as far as it can be read. What is wrong with it is in the report, and in the stream as a gap.
    pub fn read(&mut self, file: &Path, sink: &mut Sink<'_>) -> FileReport {
        let mut packets = 0;
        let trouble = self.read_packets(file, &mut packets, sink).err();
        if let Some(trouble) = &trouble {
            self.waiting
                .push(gap(0, &format!("'{}': {trouble}", file.display())));
            if self.meter.frames().all > 0 {
                self.drain(self.clock.now(), sink);
                self.tell_waiting(sink);
            }
        }
        FileReport {
            file: file.to_owned(),
            packets,
            trouble,
        }
    }

    fn tell_waiting(&mut self, sink: &mut Sink<'_>) -> bool {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.is_empty() || self.tell(waiting, self.clock.now(), sink)
    }

    /// Tells what is left to tell, after the last file. Without any packet that is nothing: then there was no time in
    /// which something could have been missed.
    pub fn finish(&mut self, sink: &mut Sink<'_>) -> Summary {
        self.drain(self.clock.now(), sink);
        Summary {
            frames: self.meter.frames(),
            flows: self.meter.flows().totals(),
            length: self.clock.now().0,
        }
    }

    fn read_packets(
        &mut self,
        file: &Path,
        packets: &mut u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Trouble> {
        let (mut capture, link) = open(file)?;
        loop {
            match capture.next_packet() {
                Ok(packet) => {
                    *packets += 1;
                    // Nanoseconds, as the capture was opened.
                    let wall = wall_nanos(packet.header.ts.tv_sec, packet.header.ts.tv_usec);
                    let wire_len = packet.header.len as usize;
                    if !self.frame(link, packet.data, wire_len, wall, sink) {
                        return Ok(());
                    }
                }
                Err(pcap::Error::NoMorePackets) => return Ok(()),
                Err(error) => {
                    return Err(Trouble::Broken {
                        packet: *packets + 1,
                        reason: error.to_string(),
                    });
                }
            }
        }
    }

    /// Takes one frame, captured at `wall` (nanoseconds since the Unix epoch). False = nobody wants more.
    pub fn frame(
        &mut self,
        link: Link,
        data: &[u8],
        wire_len: usize,
        wall: i64,
        sink: &mut Sink<'_>,
    ) -> bool {
        let now = self.clock.stamp(wall);
        let mut wanted = self.tell_waiting(sink);
        if now >= self.next_drain {
            if !self.may_wait(now) {
                wanted &= self.drain(self.next_drain, sink);
                self.last_drain = self.next_drain;
            }
            let periods = now.0 / DRAIN_PERIOD + 1;
            self.next_drain = Stamp(periods.saturating_mul(DRAIN_PERIOD));
        }
        self.meter.frame(link, data, wire_len, tick(now));
        if self.meter.is_full() {
            wanted &= self.drain(now, sink);
        }
        wanted
    }

    fn may_wait(&self, now: Stamp) -> bool {
        self.meter.flows().untold() > DENSE && now.since(self.last_drain) < DENSE_PERIOD
    }

    fn drain(&mut self, at: Stamp, sink: &mut Sink<'_>) -> bool {
        let mut events = Vec::new();
        events.extend(wrong_times(self.clock.take_wrong()));
        events.extend(self.unreadable());
        self.meter.drain(tick(at), &mut events);
        events.is_empty() || self.tell(events, at, sink)
    }

    fn unreadable(&mut self) -> Option<Event> {
        let all = self.meter.frames().unreadable;
        let new = all - std::mem::replace(&mut self.told_unreadable, all);
        (new > 0).then(|| {
            gap(
                new,
                "frames with cut or wrong headers; capture with a larger snaplen",
            )
        })
    }

    fn tell(&mut self, mut events: Vec<Event>, at: Stamp, sink: &mut Sink<'_>) -> bool {
        let wall_offset = self.clock.wall_offset();
        if self.told_offset.replace(wall_offset) != Some(wall_offset) {
            events.insert(0, Event::Clock { wall_offset });
        }
        let mut stamped = events.into_iter().map(|event| Stamped { at, event });
        loop {
            let batch: Vec<Stamped> = stamped.by_ref().take(BATCH_LIMIT).collect();
            if batch.is_empty() {
                return true;
            }
            if !sink(batch) {
                return false;
            }
        }
    }
}

fn open(file: &Path) -> Result<(Capture<Offline>, Link), Trouble> {
    let capture = Capture::from_file_with_precision(file, Precision::Nano)
        .map_err(|error| Trouble::Open(error.to_string()))?;
    let number = capture.get_datalink();
    let link = Link::from_number(number.0).ok_or_else(|| {
        let name = number.get_name().unwrap_or_else(|_| "unnamed".to_owned());
        Trouble::LinkType(format!("{name} ({})", number.0))
    })?;
    Ok((capture, link))
}

/// Quarter seconds of a stamp that is not negative.
fn tick(at: Stamp) -> Tick {
    Tick::try_from(at.0 / DRAIN_PERIOD).unwrap_or(Tick::MAX)
}

fn wrong_times(wrong: Wrong) -> Option<Event> {
    (wrong.sum() > 0).then(|| {
        let why = format!(
            "{} packets without a time and {} more than a second back in time took the time of the packet before; \
             sort the capture with 'reordercap'",
            wrong.zeroed, wrong.backward
        );
        gap(wrong.sum(), &why)
    })
}

fn gap(events: u64, why: &str) -> Event {
    Event::Gap(Gap {
        sensor: "pcap".into(),
        kind: GapKind::Unreadable,
        events,
        bytes: 0,
        why: why.into(),
    })
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(reason) => write!(
                out,
                "cannot be read as a capture: {reason}; give a pcap or pcapng file"
            ),
            Self::LinkType(link) => write!(
                out,
                "link type {link} is not understood; capture on an interface with Ethernet, Linux cooked, raw IP or \
                 loopback frames"
            ),
            Self::Broken { packet, reason } if reason.contains("different from") => write!(
                out,
                "packet {packet}: {reason}; libpcap reads one kind of interface per file: write each into a file of \
                 its own (tshark -Y frame.interface_id==0 -w …) and give them all"
            ),
            Self::Broken { packet, reason } => write!(
                out,
                "packet {packet}: {reason}; what came before it was replayed: copy the capture again, or mend it with \
                 'pcapfix'"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
