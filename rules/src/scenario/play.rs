//! Plays a scenario: its events in order of time, made only when they are asked for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::parse::TICK;
use super::world::World;
use super::{Act, Amount, Doer, From, Holder, Line, Scenario};
use crate::event::{
    Egress, Event, Fact, Flow, Gap, GapKind, Name, Opener, Pass, Protocol, Read, SECOND, Sender,
    Sent, Stamp, Stamped, Wrote,
};
use crate::units::DAY;

/// When scenarios start: not at 0, which would hide what subtracts.
pub const START: Stamp = Stamp(DAY);
/// Wall time at the start: Monday, 2026-11-23, 08:00 UTC, in nanoseconds.
const START_WALL: i64 = 1_795_420_800 * SECOND;

/// Payload of a TCP segment on Ethernet, and the headers before it, bytes.
const SEGMENT: u64 = 1_448;
const HEADERS: u64 = 66;

/// A blind sensor says so again and again.
const BLIND_EVERY: i64 = 5 * SECOND;

/// The events of a scenario, in order.
#[derive(Debug)]
pub struct Player<'a> {
    lines: &'a [Line],
    world: World,
    /// What comes next: soonest first; at the same time in file order.
    due: BinaryHeap<Reverse<Due>>,
    /// What comes before that.
    ready: VecDeque<Stamped>,
}

/// A step of one run of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Stamp,
    line: usize,
    /// Which of its `times`.
    run: u32,
    /// Which tick of that; 0 only starts it.
    tick: i64,
}

impl<'a> Player<'a> {
    /// Plays `scenario` from its start.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        let first = [
            Event::Clock {
                wall_offset: START_WALL - START.0,
            },
            World::first(),
        ];
        Self {
            lines: &scenario.lines,
            world: World::default(),
            due: (0..scenario.lines.len())
                .map(|line| {
                    Reverse(Due {
                        at: START.plus(scenario.lines[line].at),
                        line,
                        run: 0,
                        tick: 0,
                    })
                })
                .collect(),
            ready: first
                .into_iter()
                .map(|event| Stamped { at: START, event })
                .collect(),
        }
    }

    /// Does one step of one line, and plans its next.
    fn step(&mut self, due: Due) {
        let lines = self.lines;
        let line = &lines[due.line];
        if due.tick == 0 && due.run + 1 < line.times {
            let at = due.at.plus(line.every);
            self.due.push(Reverse(Due {
                at,
                run: due.run + 1,
                ..due
            }));
        }
        let rhythm = rhythm(&line.act);
        if due.tick > 0 || rhythm.first {
            let mut events = Vec::new();
            self.world.run = due.run + 1;
            self.events(&line.act, due, &mut events);
            let stamped = events
                .into_iter()
                .map(|event| Stamped { at: due.at, event });
            self.ready.extend(stamped);
        }
        let left = rhythm.lasting - due.tick.saturating_mul(rhythm.every);
        if left > 0 && !(rhythm.first && left <= rhythm.every) {
            let at = due.at.plus(rhythm.every.min(left));
            self.due.push(Reverse(Due {
                at,
                tick: due.tick + 1,
                ..due
            }));
        }
    }

    fn events(&mut self, act: &Act, due: Due, told: &mut Vec<Event>) {
        let world = &mut self.world;
        match act {
            Act::Read {
                who,
                of,
                below,
                flow,
                file_size,
            } => read(world, (who, of, *below), (flow, *file_size), due, told),
            Act::Write { who, file, flow } => {
                let actor = world.process(who, due.at, told);
                let bytes = share(flow, due.tick);
                let (file, size) = world.grow(file, bytes);
                told.push(Event::Wrote(Wrote {
                    actor,
                    file,
                    bytes,
                    size,
                }));
            }
            Act::Send {
                who,
                to,
                served,
                flow,
            } => {
                let sender = match who {
                    From::Doer(who) => Sender::Actor(world.process(who, due.at, told)),
                    From::Host(host) => Sender::Host(*host),
                    From::Unknown => Sender::Unknown,
                };
                let connections = u32::from(due.tick <= 1);
                let bytes = share(flow, due.tick);
                let flow = conversation(sender, *to, *served);
                told.push(Event::Sent(Sent {
                    sender,
                    flow,
                    bytes,
                    connections,
                    interface: Some("eth0".into()),
                }));
            }
            Act::Pass { from, to, flow } => {
                let bytes = share(flow, due.tick);
                let from = world.place(from, due.at, told);
                let to = world.place(to, due.at, told);
                told.push(Event::Pass(Pass { from, to, bytes }));
            }
            Act::Wire {
                origin,
                remote,
                meant,
                flow,
            } => {
                let bytes = share(flow, due.tick);
                told.push(Event::Fact(Fact::Egress(Egress {
                    interface: Some("eth0".into()),
                    remote: Some(*remote),
                    meant: *meant,
                    origin: *origin,
                    protocol: Protocol::Tcp,
                    bytes,
                    again: 0,
                    frame_bytes: bytes + bytes.div_ceil(SEGMENT) * HEADERS,
                    frames: bytes.div_ceil(SEGMENT),
                })));
            }
            Act::End(who) => world.end(who, told),
            Act::Gone(path) => told.push(Event::Fact(Fact::FileGone {
                file: world.delete(path),
            })),
            Act::Size {
                store,
                bytes,
                files,
            } => {
                told.push(Event::Fact(Fact::StoreSize {
                    store: store.clone(),
                    bytes: *bytes,
                    files: *files,
                }));
            }
            Act::Relay(address) => {
                told.push(Event::Fact(Fact::Relay {
                    address: *address,
                    protocol: "http-connect".into(),
                }));
            }
            Act::Lost {
                sensor,
                events,
                bytes,
            } => told.push(gap(sensor, GapKind::Lost, *events, *bytes)),
            Act::Blind { sensor, kind, .. } => told.push(gap(sensor, *kind, 0, 0)),
        }
    }
}

impl Iterator for Player<'_> {
    type Item = Stamped;

    fn next(&mut self) -> Option<Stamped> {
        while self.ready.is_empty() {
            let Reverse(due) = self.due.pop()?;
            self.step(due);
        }
        self.ready.pop_front()
    }
}

/// When a line says something.
struct Rhythm {
    /// Nanoseconds from one event to the next.
    every: i64,
    /// Nanoseconds from its start to its end.
    lasting: i64,
    /// At its start already. A flow's bytes are told at the end of each tick, as a sensor drains.
    first: bool,
}

fn rhythm(act: &Act) -> Rhythm {
    match act {
        Act::Read { flow, .. }
        | Act::Write { flow, .. }
        | Act::Send { flow, .. }
        | Act::Pass { flow, .. }
        | Act::Wire { flow, .. } => Rhythm {
            every: TICK,
            lasting: flow.lasting,
            first: flow.lasting == 0,
        },
        Act::Blind { lasting, .. } => Rhythm {
            every: BLIND_EVERY,
            lasting: *lasting,
            first: true,
        },
        Act::End(_) | Act::Gone(_) | Act::Size { .. } | Act::Relay(_) | Act::Lost { .. } => {
            Rhythm {
                every: TICK,
                lasting: 0,
                first: true,
            }
        }
    }
}

/// Bytes of tick `tick` (1, 2, …; 0 = all at once). Differences of totals, so that nothing is lost to rounding.
fn share(flow: &Amount, tick: i64) -> u64 {
    if flow.lasting == 0 {
        return flow.bytes;
    }
    let until = |tick: i64| {
        let passed = tick.saturating_mul(TICK).min(flow.lasting);
        let bytes = u128::from(flow.bytes) * passed.unsigned_abs() as u128
            / flow.lasting.unsigned_abs() as u128;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    };
    until(tick) - until(tick - 1)
}

fn read(
    world: &mut World,
    (who, of, below): (&Doer, &Holder, bool),
    (flow, file_size): (&Amount, Option<u64>),
    due: Due,
    told: &mut Vec<Event>,
) {
    let actor = world.process(who, due.at, told);
    let bytes = share(flow, due.tick);
    let mut push = |file, store: Option<&Name>, bytes, size| {
        told.push(Event::Read(Read {
            actor,
            file,
            store: store.cloned(),
            bytes,
            size,
            estimated: false,
            below,
        }));
    };
    match of {
        Holder::File(path) => {
            let (file, size) = world.file(path);
            push(file, None, bytes, size);
        }
        Holder::Store(store) => {
            let size = file_size.unwrap_or(flow.bytes).max(1);
            for (file, bytes) in world.read_on(who, store, bytes, size) {
                push(file, Some(store), bytes, size);
            }
        }
        // The parser makes neither.
        Holder::Doer(_) | Holder::Unit(_) => {}
    }
}

/// Ports of this host are aggregated over, as the sensors do, but for the port of a service.
fn conversation(sender: Sender, remote: SocketAddr, served: bool) -> Flow {
    let here = match (sender, remote) {
        (Sender::Host(host), _) => host,
        (Sender::Actor(_) | Sender::Unknown, SocketAddr::V4(_)) => {
            IpAddr::V4(Ipv4Addr::new(10, 1, 0, 4))
        }
        (Sender::Actor(_) | Sender::Unknown, SocketAddr::V6(_)) => {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4))
        }
    };
    let (port, opener) = if served {
        (8_000, Opener::Remote)
    } else {
        (0, Opener::Local)
    };
    Flow {
        protocol: Protocol::Tcp,
        local: SocketAddr::new(here, port),
        remote,
        opener,
    }
}

fn gap(sensor: &Name, kind: GapKind, events: u64, bytes: u64) -> Event {
    Event::Gap(Gap {
        sensor: sensor.clone(),
        kind,
        events,
        bytes,
        why: "the scenario says so".into(),
    })
}
