//! A stream of frames through flow table and witness: each frame is counted once, every byte that is booked is told,
//! and no name or relay is told that could break a line of a log.

use std::net::IpAddr;

use jaga::sensor::pcap::flow::Tick;
use jaga::sensor::pcap::frame::{Link, Packet, Seen, look, number};
use jaga::sensor::pcap::meter::Meter;
use jaga::sensor::pcap::vantage::Vantage;
use jaga_rules::event::{Event, Fact};

use super::bytes::Bytes;
use super::frame::link;

/// A hole in the sequence numbers counts as sent, up to this many bytes (`HOLE_LIMIT` of the flow table).
const HOLE: u64 = 1 << 26;

/// Which link type; then frame after frame: quarter seconds since the one before, bytes that the capture cut, length,
/// frame.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let link = link(bytes.u8());
    let mut meter = Meter::new(vantage(), vantage());
    let (mut now, mut frames, mut at_most) = (0, 0, 0);
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let step = Tick::from(bytes.u8());
        if step > 0 {
            now += step;
            meter.drain(now, &mut events);
        }
        let cut = usize::from(bytes.u8());
        let data = bytes.sized();
        let wire_len = data.len() + cut;
        meter.frame(link, data, wire_len, now);
        frames += 1;
        at_most += most(link, data, wire_len);
    }
    meter.drain(now, &mut events);
    let seen = meter.frames();
    let kinds = [
        seen.outbound,
        seen.inbound,
        seen.foreign,
        seen.not_ip,
        seen.unreadable,
    ];
    assert_eq!(seen.all, frames);
    assert_eq!(kinds.iter().sum::<u64>(), frames);
    let booked = meter.flows().totals().bytes;
    assert_eq!(booked, told(&events), "booked and told differ");
    assert!(booked <= at_most, "{booked} booked, {at_most} seen");
    events.iter().for_each(printable);
}

/// What one frame may add at most.
fn most(link: Link, data: &[u8], wire_len: usize) -> u64 {
    match look(link, data, wire_len) {
        Seen::Ip(packet) => wire_len as u64 + if may_be_tcp(&packet, 0) { HOLE } else { 0 },
        Seen::NotIp | Seen::Unreadable => 0,
    }
}

fn may_be_tcp(packet: &Packet<'_>, depth: usize) -> bool {
    packet.protocol == number::TCP
        || depth < 8
            && packet
                .inner()
                .is_some_and(|inner| may_be_tcp(&inner, depth + 1))
}

/// 10/8, fd00::/8 and loopback are local.
pub fn vantage() -> Vantage {
    let nets = ["10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128"];
    Vantage::new(&nets.map(|net| net.parse().unwrap()))
}

/// Bytes that the events say were sent.
pub fn told(events: &[Event]) -> u64 {
    events
        .iter()
        .map(|event| match event {
            Event::Sent(sent) => sent.bytes,
            _ => 0,
        })
        .sum()
}

/// Names are lower case and printable, relays are internal, nothing is sent by who is not local.
pub fn printable(event: &Event) {
    match event {
        Event::Fact(Fact::Name { name, .. }) => {
            assert!(!name.is_empty());
            let tame = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            assert!(name.bytes().all(tame), "name {name:?}");
        }
        Event::Fact(Fact::Relay { address, .. }) => assert!(is_local(address.ip())),
        Event::Sent(sent) => assert!(is_local(sent.flow.local.ip())),
        _ => {}
    }
}

fn is_local(address: IpAddr) -> bool {
    vantage().holds(address)
}
