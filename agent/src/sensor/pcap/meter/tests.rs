//! Frames of whole conversations in, events out.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, PacketBuilder};

use super::*;
use crate::sensor::pcap::frame::Link;

const HOST: [u8; 4] = [10, 0, 0, 5];
const AWAY: [u8; 4] = [203, 0, 113, 9];

fn nets(text: &str) -> Vantage {
    let nets: Vec<_> = text.split(' ').map(|net| net.parse().unwrap()).collect();
    Vantage::new(&nets)
}

fn meter() -> Meter {
    Meter::new(nets("10.0.0.0/8 fd00::/8"), nets("10.0.0.0/8"))
}

fn udp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from, to, 64)
        .udp(ports.0, ports.1)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

fn tcp(from: [u8; 4], to: [u8; 4], ports: (u16, u16), seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(from, to, 64)
        .tcp(ports.0, ports.1, seq, 9000)
        .ack(1);
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn raw(protocol: IpNumber, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header::new(payload.len() as u16, 64, protocol, from, to).unwrap();
    with_payload(&header, payload)
}

fn with_payload(header: &Ipv4Header, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    header.write(&mut packet).unwrap();
    packet.extend_from_slice(payload);
    packet
}

fn line(event: &Event) -> String {
    match event {
        Event::Sent(sent) => {
            let flow = sent.flow;
            format!(
                "{:?} {} > {} {}",
                flow.protocol, flow.local, flow.remote, sent.bytes
            )
        }
        Event::Fact(Fact::Relay { address, protocol }) => format!("relay {address} {protocol}"),
        Event::Fact(Fact::Name { address, name }) => format!("name {address} {name}"),
        other => format!("{other:?}"),
    }
}

fn check(packets: &[Vec<u8>], expected: &[&str]) {
    let mut meter = meter();
    for packet in packets {
        meter.frame(Link::Raw, packet, packet.len(), 0);
    }
    let mut events = Vec::new();
    meter.drain(1, &mut events);
    let told: Vec<String> = events.iter().map(line).collect();
    assert_eq!(told, expected);
}

#[test]
fn only_what_local_hosts_send_is_told() {
    check(
        &[
            udp(HOST, AWAY, (40000, 9), &[0; 10]),
            udp(AWAY, HOST, (9, 40000), &[0; 1000]),
            udp(AWAY, AWAY, (9, 9), &[0; 1000]),
        ],
        &["Udp 10.0.0.5:0 > 203.0.113.9:9 10"],
    );
}

#[test]
fn between_local_hosts_each_sends_its_own() {
    let peer = [10, 0, 0, 6];
    check(
        &[
            tcp(HOST, peer, (40000, 445), 1, &[0; 10]),
            tcp(peer, HOST, (445, 40000), 1, &[0; 70]),
        ],
        &[
            "Tcp 10.0.0.5:0 > 10.0.0.6:445 10",
            "Tcp 10.0.0.6:445 > 10.0.0.5:0 70",
        ],
    );
}

#[test]
fn frames_are_sorted_by_what_they_are() {
    let mut meter = meter();
    for packet in [
        udp(HOST, AWAY, (1, 2), &[]),
        udp(AWAY, HOST, (1, 2), &[]),
        udp(AWAY, AWAY, (1, 2), &[]),
        vec![0x45, 0],
    ] {
        meter.frame(Link::Raw, &packet, packet.len(), 0);
    }
    let expected = Frames {
        all: 4,
        outbound: 1,
        inbound: 1,
        foreign: 1,
        not_ip: 0,
        unreadable: 1,
    };
    assert_eq!(meter.frames(), expected);
}

#[test]
fn what_goes_through_a_tunnel_is_told_once_as_what_it_is() {
    let inside = tcp(HOST, AWAY, (40000, 443), 1, &[0; 99]);
    let gre = [&[0, 0, 8, 0], inside.as_slice()].concat();
    check(
        &[
            inside.clone(),
            raw(IpNumber::GRE, [10, 9, 9, 9], [198, 51, 100, 1], &gre),
        ],
        &["Tcp 10.0.0.5:0 > 203.0.113.9:443 99"],
    );
    let foreign = tcp(AWAY, AWAY, (1, 2), 1, &[0; 10]);
    check(
        &[raw(IpNumber::IPV4, HOST, AWAY, &foreign)],
        &["Other(4) 10.0.0.5:0 > 203.0.113.9:0 50"],
    );
}

fn part(protocol: IpNumber, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header::new(payload.len() as u16, 64, protocol, HOST, AWAY).unwrap();
    header.identification = 7;
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
    with_payload(&header, payload)
}

#[test]
fn fragments_of_a_datagram_are_one_flow() {
    let whole = udp(HOST, AWAY, (40000, 9), &[0; 100]);
    let (first, last) = whole[20..].split_at(48);
    check(
        &[
            part(IpNumber::UDP, 0, true, first),
            part(IpNumber::UDP, 6, false, last),
        ],
        &["Udp 10.0.0.5:0 > 203.0.113.9:9 100"],
    );
    check(
        &[
            part(IpNumber::UDP, 6, false, last),
            part(IpNumber::UDP, 0, true, first),
        ],
        &[
            "Udp 10.0.0.5:0 > 203.0.113.9:0 60",
            "Udp 10.0.0.5:0 > 203.0.113.9:9 40",
        ],
    );
}

/// The next segment's sequence number tells what was in the later fragments.
#[test]
fn fragments_of_a_segment_count_once() {
    let whole = tcp(HOST, AWAY, (40000, 443), 1, &[0; 100]);
    let (first, last) = whole[20..].split_at(48);
    check(
        &[
            part(IpNumber::TCP, 0, true, first),
            part(IpNumber::TCP, 6, false, last),
            tcp(HOST, AWAY, (40000, 443), 101, &[0; 5]),
        ],
        &["Tcp 10.0.0.5:0 > 203.0.113.9:443 105"],
    );
}

#[test]
fn pings_are_told() {
    let ping = [&[8, 0, 0, 0, 0, 1, 0, 1], [0x55; 56].as_slice()].concat();
    check(
        &[raw(IpNumber::ICMP, HOST, AWAY, &ping)],
        &[
            "Fact(Icmp { client: Host(10.0.0.5), remote: 203.0.113.9, bytes: 56 })",
            "Icmp 10.0.0.5:0 > 203.0.113.9:0 56",
        ],
    );
}

/// Facts come first, so that the bytes of the same drain are judged by them.
#[test]
fn a_relay_is_told_before_its_bytes() {
    let proxy = [10, 0, 0, 9];
    let connect = b"CONNECT example.org:443 HTTP/1.1\r\n\r\n";
    check(
        &[
            tcp(HOST, proxy, (40000, 3128), 1, connect),
            tcp(
                HOST,
                proxy,
                (40000, 3128),
                1 + connect.len() as u32,
                &[0; 1000],
            ),
            // What comes later in a conversation is content.
            tcp(HOST, [10, 0, 0, 8], (40000, 80), 1, b"PUT / HTTP/1.1\r\n"),
            tcp(HOST, [10, 0, 0, 8], (40000, 80), 17, connect),
        ],
        &[
            "relay 10.0.0.9:3128 http-connect",
            "Tcp 10.0.0.5:0 > 10.0.0.9:3128 1036",
            "Tcp 10.0.0.5:0 > 10.0.0.8:80 52",
        ],
    );
}

#[test]
fn answers_name_addresses() {
    let mut answer = vec![0, 7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, b'a', 0];
    answer.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 203, 0, 113, 9]);
    let resolver = [10, 0, 0, 53];
    let name = "name 203.0.113.9 a";
    check(&[udp(AWAY, HOST, (53, 40000), &answer)], &[name]);
    check(
        &[udp(resolver, HOST, (53, 40000), &answer)],
        &[name, "Udp 10.0.0.53:53 > 10.0.0.5:0 29"],
    );
}
