//! One vantage point's view of a stream of frames: books what local hosts send, gathers facts. Pure.

use jaga_rules::event::{Event, Fact};

use super::flow::{FlowTable, Key, Look, Segment, Tick};
use super::fragment::Fragments;
use super::frame::{Link, Packet, Seen, look, number};
use super::medical::Medical;
use super::novel::{Client, Novel};
use super::vantage::Vantage;
use super::witness::Witness;

/// Tunnels inside tunnels that are looked into.
const TUNNEL_DEPTH: usize = 4;

/// Measures a stream of frames.
#[derive(Debug)]
pub struct Meter {
    vantage: Vantage,
    flows: FlowTable,
    fragments: Fragments,
    witness: Witness,
    novel: Novel,
    medical: Medical,
    frames: Frames,
}

/// What the frames were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// All.
    pub all: u64,
    /// Sent by a local address.
    pub outbound: u64,
    /// Sent to a local address, by another.
    pub inbound: u64,
    /// Neither end is local.
    pub foreign: u64,
    /// No IP.
    pub not_ip: u64,
    /// Should be IP, but is cut or wrong.
    pub unreadable: u64,
}

impl Meter {
    /// Seen from `vantage`, with relays looked for among `internal` addresses.
    #[must_use]
    pub fn new(vantage: Vantage, internal: Vantage) -> Self {
        Self {
            vantage,
            flows: FlowTable::default(),
            fragments: Fragments::default(),
            witness: Witness::new(internal),
            novel: Novel::new(Client::Host),
            medical: Medical::default(),
            frames: Frames::default(),
        }
    }

    /// Takes a frame of `wire_len` bytes, of which `data` was captured.
    pub fn frame(&mut self, link: Link, data: &[u8], wire_len: usize, now: Tick) {
        self.frames.all += 1;
        match look(link, data, wire_len) {
            Seen::Ip(packet) => self.packet(packet, now),
            Seen::NotIp => self.frames.not_ip += 1,
            Seen::Unreadable => self.frames.unreadable += 1,
        }
    }

    /// Whether it should be drained before its time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.flows.is_full()
    }

    /// Tells the differences since the last drain: facts first, so that bytes of the same drain are judged by them.
    pub fn drain(&mut self, now: Tick, events: &mut Vec<Event>) {
        events.extend(self.facts().into_iter().map(Event::Fact));
        self.flows.drain(now, events);
    }

    /// Facts since the last drain.
    pub fn facts(&mut self) -> Vec<Fact> {
        let mut facts = self.witness.take();
        facts.extend(self.novel.take());
        facts.extend(self.medical.take());
        facts
    }

    /// What the frames were, so far.
    #[must_use]
    pub const fn frames(&self) -> Frames {
        self.frames
    }

    /// The flow table.
    #[must_use]
    pub const fn flows(&self) -> &FlowTable {
        &self.flows
    }

    fn packet(&mut self, packet: Packet<'_>, now: Tick) {
        let packet = self.unwrap_tunnels(packet);
        if self.vantage.holds(packet.source) {
            self.frames.outbound += 1;
            self.outbound(&packet, now);
            self.novel.sent(&packet, now);
            // A local resolver's answers name addresses, too.
            self.witness.answer(&packet, now);
        } else if self.vantage.holds(packet.destination) {
            self.frames.inbound += 1;
            self.witness.answer(&packet, now);
        } else {
            self.frames.foreign += 1;
            return;
        }
        self.medical.packet(&packet, &self.vantage, now);
    }

    /// The innermost packet with a local end: what a host sends through its tunnel is booked once, as what it is.
    fn unwrap_tunnels<'a>(&self, mut packet: Packet<'a>) -> Packet<'a> {
        for _ in 0..TUNNEL_DEPTH {
            match packet.inner() {
                Some(inner) if self.is_ours(&inner) => packet = inner,
                _ => break,
            }
        }
        packet
    }

    fn is_ours(&self, packet: &Packet<'_>) -> bool {
        self.vantage.holds(packet.source) || self.vantage.holds(packet.destination)
    }

    fn outbound(&mut self, packet: &Packet<'_>, now: Tick) {
        let later_fragment = packet.fragment.is_some_and(|part| !part.first);
        if later_fragment && packet.protocol == number::TCP {
            return; // the next segment's sequence number counts it
        }
        let ports = self.fragments.ports(packet);
        let key = Key::new(packet.protocol, packet.source, packet.destination, ports);
        let segment = Segment {
            bytes: packet.payload_bytes,
            tcp: packet.tcp,
        };
        match self.flows.sent(key, segment, now) {
            Look::First => self.witness.first(key, packet.payload, now),
            Look::No if self.witness.is_waiting() => self.witness.more(key, packet.payload, now),
            Look::No => {}
        }
    }
}

#[cfg(test)]
mod tests;
