//! Sends where nothing better attaches: packets that leave by an interface, without who sent them (rung 4).

use std::collections::BTreeMap;

use jaga_rules::event::{Event, Gap, GapKind, Name};
use pcap::{Active, Capture, Direction};

use super::flow::{TICKS_PER_SECOND, Tick};
use super::frame::Link;
use super::live::{own_addresses, wanted_names, why_not};
use super::meter::Meter;
use super::vantage::Vantage;
use crate::clock;
use crate::sensor::host::addresses::Addresses;
use crate::sensor::host::seen::{By, SocketCount};
use crate::sensor::host::source::{self, Raised, Wish};

/// Headers, also behind VLAN tags and in tunnels.
const SNAPLEN: i32 = 192;

/// Kernel buffer of an interface, bytes: what 10 Gbit/s sends in a quarter of a second in packets of 1,500 bytes.
const BUFFER_BYTES: i32 = 64 << 20;

/// Interfaces at once.
const INTERFACE_LIMIT: usize = 16;

/// Frames taken from an interface in one drain; what is left waits in the kernel's buffer.
const FRAMES_PER_DRAIN: usize = 1 << 19;

/// Sends.
///
/// # Errors
/// No interface can be listened on, with the next step.
pub fn sockets(wish: &Wish) -> Result<Raised<dyn source::Sockets>, String> {
    let (mut captures, mut problems) = (BTreeMap::new(), Vec::new());
    for name in wanted_names(&wish.interfaces)?
        .into_iter()
        .take(INTERFACE_LIMIT)
    {
        match open(&name) {
            Ok(capture) => drop(captures.insert(name, capture)),
            Err(why) => problems.push(format!("cannot listen on '{name}': {why}")),
        }
    }
    if captures.is_empty() {
        problems
            .push("no interface to count packets on; name one in 'sensors: interfaces'".to_owned());
        return Err(problems.join("; "));
    }
    let names: Vec<&str> = captures.keys().map(|name| &**name).collect();
    let how = format!(
        "packets on {}, by flow: who sends is not known, so all is booked to `unknown`",
        names.join(", ")
    );
    let how = [how]
        .into_iter()
        .chain(problems)
        .collect::<Vec<_>>()
        .join("; ");
    let booking = Booking {
        meter: Meter::new(own_addresses(), Vantage::default()),
        captures,
        dropped: BTreeMap::new(),
        interfaces: Addresses::default(),
        netns: wish.netns,
    };
    Ok(Raised {
        rung: 4,
        how,
        sees_also: &[],
        open: Box::new(move || Ok(Box::new(booking))),
        places: None,
    })
}

fn open(name: &str) -> Result<(Capture<Active>, Link), String> {
    let words = |error: pcap::Error| why_not(name, &error);
    let capture = Capture::from_device(name).and_then(|capture| {
        let capture = capture.promisc(false).snaplen(SNAPLEN);
        capture.buffer_size(BUFFER_BYTES).timeout(100).open()
    });
    let capture = capture.and_then(Capture::setnonblock).map_err(words)?;
    let number = capture.get_datalink().0;
    let link = Link::from_number(number)
        .ok_or_else(|| format!("its link type {number} is not understood"))?;
    // Where it cannot be had, the addresses tell.
    let _ = capture.direction(Direction::Out);
    Ok((capture, link))
}

struct Booking {
    meter: Meter,
    captures: BTreeMap<Name, (Capture<Active>, Link)>,
    /// Frames that the kernel dropped, as last asked.
    dropped: BTreeMap<Name, u32>,
    interfaces: Addresses,
    netns: u32,
}

impl Booking {
    /// Books what waits in the kernel's buffers.
    fn take(&mut self, now: Tick, gaps: &mut Vec<Gap>) {
        let mut gone = Vec::new();
        for (name, (capture, link)) in &mut self.captures {
            for _ in 0..FRAMES_PER_DRAIN {
                match capture.next_packet() {
                    Ok(frame) => {
                        let length = frame.header.len as usize;
                        self.meter.frame(*link, frame.data, length, now);
                    }
                    Err(pcap::Error::TimeoutExpired) => break,
                    Err(error) => {
                        gone.push((name.clone(), error.to_string()));
                        break;
                    }
                }
            }
            if let Ok(stats) = capture.stats() {
                let before = self
                    .dropped
                    .insert(name.clone(), stats.dropped)
                    .unwrap_or(0);
                let new = stats.dropped.wrapping_sub(before);
                if new > 0 {
                    let why = format!(
                        "packets on '{name}' were dropped: more came than could be looked at"
                    );
                    gaps.push(gap(GapKind::Lost, new.into(), why));
                }
            }
        }
        for (name, error) in gone {
            self.captures.remove(&name);
            let why =
                format!("listening on '{name}' ended: {error}; restart the agent when it is back");
            let kind = if self.captures.is_empty() {
                GapKind::Blind
            } else {
                GapKind::Lost
            };
            gaps.push(gap(kind, 0, why));
        }
    }
}

impl source::Sockets for Booking {
    fn drain(&mut self, sends: &mut Vec<(SocketCount, Option<Name>)>, gaps: &mut Vec<Gap>) {
        let now = tick();
        self.take(now, gaps);
        let mut events = Vec::new();
        self.meter.drain(now, &mut events);
        self.interfaces.next_round();
        for event in events {
            // Facts are told by the sensor beside this one.
            let Event::Sent(sent) = event else { continue };
            let interface = self.interfaces.name(sent.flow.local.ip());
            let count = SocketCount {
                who: By::Nobody,
                flow: sent.flow,
                netns: self.netns,
                bytes: sent.bytes,
                connections: sent.connections,
            };
            sends.push((count, interface));
        }
    }
}

fn tick() -> Tick {
    let quarters = clock::boottime().0 / (jaga_rules::event::SECOND / i64::from(TICKS_PER_SECOND));
    Tick::try_from(quarters).unwrap_or(Tick::MAX)
}

fn gap(kind: GapKind, events: u64, why: String) -> Gap {
    Gap::new("sockets", kind, events, why)
}
