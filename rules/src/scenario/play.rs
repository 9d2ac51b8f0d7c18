//! Plays a scenario: its events in order of time, made only when they are asked for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::chance::Chance;
use super::parse::{SERVED, TICK};
use super::world::World;
use super::{Act, Amount, Doer, From, Holder, Line, Scenario};
use crate::event::{
    DeviceOpened, Dicom, Egress, Event, Fact, Flow, Gap, GapKind, Interface, Name, Opener, Pass,
    Protocol, Read, SECOND, Sender, Sent, Stamp, Stamped, Wrote,
};
use crate::units::{DAY, HOUR};

/// When scenarios start: not at 0, which would hide what subtracts.
pub const START: Stamp = Stamp(DAY);
/// Wall time at the start: Monday, 2026-11-23, 08:00 UTC, in nanoseconds.
const START_WALL: i64 = 1_795_420_800 * SECOND;
/// The time of the day at the start.
const FIRST_HOUR: i64 = 8 * HOUR;

/// Payload of a TCP segment on Ethernet, and the headers before it, bytes.
const SEGMENT: u64 = 1_448;
const HEADERS: u64 = 66;

/// Text of a looked-up name without its domain, bytes.
const NAME: u64 = 40;

/// A blind sensor says so again and again.
const BLIND_EVERY: i64 = 5 * SECOND;

/// The events of a scenario, in order.
#[derive(Debug)]
pub struct Player<'a> {
    lines: &'a [Line],
    chance: Chance,
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
        Self::seeded(scenario, 0)
    }

    /// The same, with other chances for each seed.
    #[must_use]
    pub fn seeded(scenario: &'a Scenario, seed: u64) -> Self {
        let chance = Chance(seed);
        let first = [
            Event::Clock {
                wall_offset: START_WALL - START.0,
            },
            World::first(),
        ];
        Self {
            lines: &scenario.lines,
            chance,
            world: World::default(),
            due: (0..scenario.lines.len())
                .map(|line| Reverse(begin(&scenario.lines, chance, line, 0)))
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
            let next = begin(lines, self.chance, due.line, due.run + 1);
            self.due.push(Reverse(next));
        }
        if due.tick == 0 && !happens(line, due.at) {
            return;
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

    /// How many bytes a step of a run moves.
    fn bytes(&self, act: &Act, due: Due) -> u64 {
        let Some(flow) = act.flow() else {
            return 0;
        };
        let Due { line, run, .. } = due;
        let vary = self.lines[line].vary;
        let bytes = self.chance.vary(flow.bytes, vary, (line, run, "bytes"));
        share(Amount { bytes, ..*flow }, due.tick)
    }

    fn events(&mut self, act: &Act, due: Due, told: &mut Vec<Event>) {
        let bytes = self.bytes(act, due);
        let world = &mut self.world;
        match act {
            Act::Read {
                who,
                of,
                below,
                flow,
                file_size,
            } => {
                let size = file_size.unwrap_or(flow.bytes).max(1);
                read(world, (who, of, *below), (bytes, size), due, told);
            }
            Act::Write { who, file, .. } => {
                let actor = world.process(who, due.at, told);
                let (file, size) = world.grow(file, bytes);
                told.push(Event::Wrote(Wrote {
                    actor,
                    file,
                    bytes,
                    size,
                }));
            }
            Act::Send {
                who, to, served, ..
            } => {
                let sender = match who {
                    From::Doer(who) => Sender::Actor(world.process(who, due.at, told)),
                    From::Host(host) => Sender::Host(*host),
                    From::Unknown => Sender::Unknown,
                };
                let connections = u32::from(due.tick <= 1);
                let flow = conversation(sender, *to, *served);
                told.push(Event::Sent(Sent {
                    sender,
                    flow,
                    bytes,
                    connections,
                    interface: Some("eth0".into()),
                }));
            }
            Act::Pass { from, to, .. } => {
                let from = world.place(from, due.at, told);
                let to = world.place(to, due.at, told);
                told.push(Event::Pass(Pass { from, to, bytes }));
            }
            Act::Wire {
                origin,
                remote,
                meant,
                ..
            } => {
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
            Act::Touch { who, decoy } => {
                let actor = world.process(who, due.at, told);
                told.push(Event::Fact(Fact::Decoy {
                    actor,
                    decoy: decoy.clone(),
                    opens: 1,
                }));
            }
            Act::OpenDevice { who, device } => {
                let actor = world.process(who, due.at, told);
                told.push(Event::Fact(Fact::Device(DeviceOpened {
                    actor,
                    device: device.clone(),
                    opens: 1,
                })));
            }
            Act::Interface { name, bus } => told.push(Event::Fact(Fact::Interface(Interface {
                name: name.clone(),
                bus: bus.clone(),
            }))),
            Act::Peek { who, of } => {
                let actor = world.process(who, due.at, told);
                let of = world.process(of, due.at, told);
                told.push(Event::Fact(Fact::MemoryRead { actor, of }));
            }
            Act::Lookup { domain, server, .. } => told.push(Event::Fact(Fact::Lookup {
                client: Sender::Unknown,
                server: *server,
                domain: domain.clone(),
                names: bytes.div_ceil(NAME),
                bytes,
            })),
            Act::Icmp { remote, .. } => told.push(Event::Fact(Fact::Icmp {
                client: Sender::Unknown,
                remote: *remote,
                bytes,
            })),
            Act::Associate {
                calling,
                called,
                remote,
                moves,
            } => told.push(Event::Fact(Fact::Dicom(Dicom {
                flow: conversation(
                    Sender::Unknown,
                    *remote,
                    (remote.port() == 0).then_some(SERVED),
                ),
                calling: calling.clone(),
                called: called.clone(),
                stores: 0,
                gets: 0,
                moves: moves.iter().map(|title| (title.clone(), 1)).collect(),
            }))),
            Act::Medium { name, folder } => told.push(Event::Fact(Fact::Medium {
                fs: world.mount(folder),
                name: Some(name.clone()),
            })),
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

/// The beginning of one run of one line.
fn begin(lines: &[Line], chance: Chance, line: usize, run: u32) -> Due {
    let Line {
        at, every, jitter, ..
    } = lines[line];
    let late = chance.up_to(jitter.unsigned_abs(), (line, run, "late"));
    let at = at
        .saturating_add(every.saturating_mul(run.into()))
        .saturating_add_unsigned(late);
    Due {
        at: START.plus(at),
        line,
        run,
        tick: 0,
    }
}

/// Whether a line begins at this time of the week, or is left out.
fn happens(line: &Line, at: Stamp) -> bool {
    let since_monday = at.since(START) + FIRST_HOUR;
    let is_weekend = since_monday / DAY % 7 >= 5;
    !(line.workdays && is_weekend) && line.between.is_none_or(|hours| hours.hold(since_monday))
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
    if let Act::Blind { lasting, .. } = act {
        return Rhythm {
            every: BLIND_EVERY,
            lasting: *lasting,
            first: true,
        };
    }
    let lasting = act.flow().map_or(0, |flow| flow.lasting);
    Rhythm {
        every: TICK,
        lasting,
        first: lasting == 0,
    }
}

/// Bytes of tick `tick` (1, 2, …; 0 = all at once). Differences of totals, so that nothing is lost to rounding.
fn share(flow: Amount, tick: i64) -> u64 {
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
    (bytes, size): (u64, u64),
    due: Due,
    told: &mut Vec<Event>,
) {
    let actor = world.process(who, due.at, told);
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
            for (file, bytes) in world.read_on(who, store, bytes, size) {
                push(file, Some(store), bytes, size);
            }
        }
        // The parser makes neither.
        Holder::Doer(_) | Holder::Unit(_) => {}
    }
}

/// Ports of this host are aggregated over, as the sensors do, but for the port of a service.
fn conversation(sender: Sender, remote: SocketAddr, served: Option<u16>) -> Flow {
    let here = match (sender, remote) {
        (Sender::Host(host), _) => host,
        (Sender::Actor(_) | Sender::Unknown, SocketAddr::V4(_)) => {
            IpAddr::V4(Ipv4Addr::new(10, 1, 0, 4))
        }
        (Sender::Actor(_) | Sender::Unknown, SocketAddr::V6(_)) => {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4))
        }
    };
    let (port, opener) = match served {
        Some(port) => (port, Opener::Remote),
        None => (0, Opener::Local),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::scenario::CONFIG;

    /// Hours since the start and kilobytes of what a line sends, by chance of a seed.
    fn sent(line: &str, seed: u64) -> Vec<(i64, u64)> {
        let config = config::parse("test", CONFIG).unwrap();
        let scenario = Scenario::read("test", line, &config).unwrap();
        let events = Player::seeded(&scenario, seed).filter_map(|stamped| match stamped.event {
            Event::Sent(sent) => Some((stamped.at.since(START) / HOUR, sent.bytes / 1_000)),
            _ => None,
        });
        events.collect()
    }

    #[test]
    fn workdays_have_no_weekend() {
        let line = "at 1h unknown sends 203.0.113.9:443 1 KB repeat 9 every 1d on workdays";
        let days: Vec<i64> = sent(line, 0).iter().map(|(hour, _)| hour / 24).collect();
        assert_eq!(days, [0, 1, 2, 3, 4, 7, 8]);
        // Saturday begins at midnight, sixteen hours after the start of a day of the scenario.
        let line = "at 16h unknown sends 203.0.113.9:443 1 KB repeat 7 every 1d on workdays";
        let days: Vec<i64> = sent(line, 0).iter().map(|(hour, _)| hour / 24).collect();
        assert_eq!(days, [0, 1, 2, 3, 6]);
    }

    #[test]
    fn hours_may_lie_over_midnight() {
        let line =
            "at 0s unknown sends 203.0.113.9:443 1 KB repeat 48 every 1h between 22:00-02:00";
        let hours: Vec<i64> = sent(line, 0).iter().map(|(hour, _)| *hour).collect();
        assert_eq!(hours, [14, 15, 16, 17, 38, 39, 40, 41]);
    }

    #[test]
    fn chance_moves_times_and_amounts_within_their_bounds() {
        let line =
            "at 1h unknown sends 203.0.113.9:443 1 MB repeat 99 every 1d jitter 5h vary 20 %";
        let told = sent(line, 3);
        assert_eq!(told.len(), 99);
        for (day, (hour, kilobytes)) in (0..).zip(&told) {
            assert!((1..6).contains(&(hour - 24 * day)), "{hour}");
            assert!((800..=1_200).contains(kilobytes), "{kilobytes}");
        }
        assert_eq!(told, sent(line, 3));
        assert_ne!(told, sent(line, 4));
    }

    #[test]
    fn a_time_does_not_begin_before_the_last_one() {
        let config = config::parse("test", CONFIG).unwrap();
        let line = "at 0s unknown sends 203.0.113.9:443 1 KB repeat 9 every 1h jitter 1h";
        let problems = Scenario::read("day.txt", line, &config).unwrap_err();
        assert_eq!(
            (problems.0[0].file.as_str(), problems.0[0].column),
            ("day.txt", 67)
        );
    }
}
