//! Frames in, one line of text out.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, PacketBuilder, VlanId};

use super::*;

fn line(seen: &Seen<'_>) -> String {
    let Seen::Ip(packet) = seen else {
        return format!("{seen:?}");
    };
    let mut line = format!(
        "{} {}:{} > {}:{} {}",
        packet.protocol,
        packet.source,
        packet.ports.0,
        packet.destination,
        packet.ports.1,
        packet.payload_bytes
    );
    if let Some(tcp) = packet.tcp {
        let flags = [
            (tcp.syn, 'S'),
            (tcp.ack, 'A'),
            (tcp.fin, 'F'),
            (tcp.rst, 'R'),
        ];
        let flags: String = flags
            .iter()
            .filter(|flag| flag.0)
            .map(|flag| flag.1)
            .collect();
        line += &format!(" seq {} {flags}", tcp.seq);
    }
    if let Some(part) = packet.fragment {
        line += &format!(" part of {:#x}, first {}", part.id, part.first);
    }
    line
}

fn check(link: Link, data: &[u8], expected: &str) {
    assert_eq!(line(&look(link, data, data.len())), expected);
}

const TCP_LINE: &str = "6 10.0.0.5:40000 > 203.0.113.9:443 100 seq 77 SA";

fn tcp_frame() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 5], [203, 0, 113, 9], 64)
        .tcp(40000, 443, 77, 1000)
        .syn()
        .ack(5);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[b'x'; 100]).unwrap();
    frame
}

fn ip_packet() -> Vec<u8> {
    tcp_frame()[14..].to_vec()
}

fn v6_frame() -> Vec<u8> {
    let (local, remote) = ([0xfd; 16], [0x20; 16]);
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(local, remote, 64)
        .udp(5353, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[b'x'; 40]).unwrap();
    frame
}

#[test]
fn ethernet_and_tags() {
    check(Link::Ethernet, &tcp_frame(), TCP_LINE);
    check(
        Link::Ethernet,
        &v6_frame(),
        "17 fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:5353 > 2020:2020:2020:2020:2020:2020:2020:2020:53 40",
    );
    let tag = VlanId::try_new(7).unwrap();
    let mut tagged = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .double_vlan(tag, tag)
        .ipv4([10, 0, 0, 5], [203, 0, 113, 9], 64)
        .udp(1, 2)
        .write(&mut tagged, &[0; 33])
        .unwrap();
    check(Link::Ethernet, &tagged, "17 10.0.0.5:1 > 203.0.113.9:2 33");
}

#[test]
fn other_link_types() {
    let with = |header: &[u8]| [header, &ip_packet()].concat();
    let mut sll = [0; 16];
    sll[14..].copy_from_slice(&[0x08, 0x00]);
    check(Link::Sll, &with(&sll), TCP_LINE);
    let mut sll2 = [0; 20];
    sll2[..2].copy_from_slice(&[0x08, 0x00]);
    check(Link::Sll2, &with(&sll2), TCP_LINE);
    check(Link::Null, &with(&[2, 0, 0, 0]), TCP_LINE);
    check(Link::Null, &with(&[0, 0, 0, 2]), TCP_LINE);
    check(Link::Raw, &ip_packet(), TCP_LINE);
    assert_eq!(Link::from_number(276), Some(Link::Sll2));
    assert_eq!(Link::from_number(105), None);
}

#[test]
fn what_is_no_ip() {
    let mut frame = tcp_frame();
    frame[12..14].copy_from_slice(&[0x88, 0xcc]);
    check(Link::Ethernet, &frame, "NotIp");
    check(Link::Ethernet, &frame[..9], "Unreadable");
    check(Link::Ethernet, &tcp_frame()[..30], "Unreadable");
    check(Link::Raw, &[0x00; 40], "Unreadable");
    check(Link::Raw, &[], "Unreadable");
    check(Link::Sll2, &[8, 0], "Unreadable");
}

/// A capture with a short snaplen counts what was on the wire.
#[test]
fn cut_frames_count_the_wire() {
    let frame = tcp_frame();
    for cut in [60, 54, 14 + 20 + 14] {
        assert_eq!(
            line(&look(Link::Ethernet, &frame[..cut], frame.len())),
            TCP_LINE,
            "cut at {cut}"
        );
    }
    let without_seq = &frame[..14 + 20 + 4];
    assert_eq!(
        line(&look(Link::Ethernet, without_seq, frame.len())),
        "6 10.0.0.5:40000 > 203.0.113.9:443 100"
    );
}

/// The kernel hands offloaded packets to a capture before it has filled in their length.
#[test]
fn offloaded_packets_count_the_frame() {
    let mut frame = tcp_frame();
    frame[16..18].copy_from_slice(&[0, 0]);
    let seen = look(Link::Ethernet, &frame, 70_054);
    assert_eq!(line(&seen), TCP_LINE.replace(" 100 ", " 70000 "));
    let mut frame = v6_frame();
    frame[18..20].copy_from_slice(&[0, 0]);
    let Seen::Ip(packet) = look(Link::Ethernet, &frame, 100_062) else {
        panic!("not IP");
    };
    assert_eq!(packet.payload_bytes, 100_000);
}

#[test]
fn padding_is_no_payload() {
    let mut frame = tcp_frame();
    frame.extend_from_slice(&[0; 40]);
    check(Link::Ethernet, &frame, TCP_LINE);
}

#[test]
fn hostile_lengths_are_bounded_by_the_wire() {
    let mut frame = tcp_frame();
    frame[16..18].copy_from_slice(&[0xff, 0xff]);
    check(Link::Ethernet, &frame, TCP_LINE);
    frame[16..18].copy_from_slice(&[0, 0]);
    let Seen::Ip(packet) = look(Link::Ethernet, &frame, usize::MAX) else {
        panic!("not IP");
    };
    assert_eq!(packet.payload_bytes as usize, MAX_IP_BYTES - 40);
    let mut long_header = tcp_frame();
    long_header[14 + 20 + 12] = 0xff;
    let Seen::Ip(packet) = look(Link::Ethernet, &long_header, frame.len()) else {
        panic!("not IP");
    };
    assert_eq!((packet.payload_bytes, packet.payload.len()), (60, 60));
}

#[test]
fn fragments_name_their_packet() {
    let part = |offset: u16, more: bool| {
        let mut header =
            Ipv4Header::new(48, 64, IpNumber::UDP, [10, 0, 0, 5], [203, 0, 113, 9]).unwrap();
        header.identification = 0xbeef;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        let mut packet = Vec::new();
        header.write(&mut packet).unwrap();
        packet.extend_from_slice(&[0x12; 48]);
        packet
    };
    check(
        Link::Raw,
        &part(0, true),
        "17 10.0.0.5:4626 > 203.0.113.9:4626 40 part of 0xbeef, first true",
    );
    check(
        Link::Raw,
        &part(6, false),
        "17 10.0.0.5:0 > 203.0.113.9:0 48 part of 0xbeef, first false",
    );
}

/// An IPv6 packet with these extension headers, the first of this number, before a datagram.
fn v6_packet(first: u8, headers: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(headers.len() + 12).unwrap();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&bytes.to_be_bytes());
    packet.extend_from_slice(&[first, 64]);
    packet.extend_from_slice(&"fd00::5".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend_from_slice(headers);
    packet.extend_from_slice(&[0x9c, 0x40, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4]);
    packet
}

#[test]
fn fragments_are_found_behind_other_extension_headers() {
    const AUTH: u8 = 51;
    const OPTIONS: u8 = 60;
    const PART: u8 = 44;
    let options = [PART, 0, 1, 4, 0, 0, 0, 0];
    let auth = [PART, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9];
    let first = [number::UDP, 0, 0, 1, 0, 0, 0xbe, 0xef];
    let line = "17 fd00::5:40000 > 2001:db8::1:9 4 part of 0xbeef, first true";
    check(Link::Raw, &v6_packet(PART, &first), line);
    check(
        Link::Raw,
        &v6_packet(OPTIONS, &[&options[..], &first].concat()),
        line,
    );
    check(
        Link::Raw,
        &v6_packet(AUTH, &[&auth[..], &first].concat()),
        line,
    );
    let whole = [number::UDP, 0, 0, 0, 0, 0, 0xbe, 0xef];
    check(
        Link::Raw,
        &v6_packet(PART, &whole),
        "17 fd00::5:40000 > 2001:db8::1:9 4",
    );
}

/// Found by the fuzzer: etherparse's iterator over extension headers reads past their end when one is cut, or comes
/// where it must not.
#[test]
fn extension_headers_that_are_cut_or_out_of_order_end_the_look() {
    const HOP_BY_HOP: u8 = 0;
    const OPTIONS: u8 = 60;
    let options = [HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0];
    let out_of_order = v6_packet(OPTIONS, &[&options[..], &[number::UDP, 200]].concat());
    let cut = v6_packet(OPTIONS, &[OPTIONS, 0, 1, 4, 0, 0, 0, 0, number::UDP, 255]);
    for packet in [out_of_order, cut] {
        for end in 40..packet.len() {
            if let Seen::Ip(seen) = look(Link::Raw, &packet[..end], packet.len()) {
                assert_eq!(seen.fragment, None);
            }
        }
    }
}

#[test]
fn tunnels_are_looked_into() {
    let outer = |protocol: IpNumber, inside: &[u8]| {
        let bytes = u16::try_from(inside.len()).unwrap();
        let header = Ipv4Header::new(bytes, 64, protocol, [192, 0, 2, 1], [192, 0, 2, 2]).unwrap();
        let mut packet = Vec::new();
        header.write(&mut packet).unwrap();
        packet.extend_from_slice(inside);
        packet
    };
    let inner_line = |packet: &[u8]| {
        let Seen::Ip(outer) = look(Link::Raw, packet, packet.len()) else {
            panic!("not IP");
        };
        outer.inner().map(|inner| line(&Seen::Ip(inner)))
    };
    let gre = |header: &[u8], inside: &[u8]| outer(IpNumber::GRE, &[header, inside].concat());
    let tcp = Some(TCP_LINE.to_owned());
    assert_eq!(inner_line(&outer(IpNumber::IPV4, &ip_packet())), tcp);
    assert_eq!(inner_line(&gre(&[0, 0, 8, 0], &ip_packet())), tcp);
    assert_eq!(
        inner_line(&gre(&[0x30, 0, 8, 0, 1, 2, 3, 4, 0, 0, 0, 9], &ip_packet())),
        tcp
    );
    assert_eq!(inner_line(&gre(&[0, 0, 0x65, 0x58], &tcp_frame())), tcp);
    assert_eq!(inner_line(&gre(&[0, 1, 8, 0], &ip_packet())), None);
    assert_eq!(inner_line(&gre(&[0x30], &[])), None);
    assert_eq!(inner_line(&ip_packet()), None);
}

mod property {
    use super::*;
    use proptest::prelude::*;

    fn links() -> impl Strategy<Value = Link> {
        proptest::sample::select(vec![
            Link::Ethernet,
            Link::Sll,
            Link::Sll2,
            Link::Null,
            Link::Raw,
        ])
    }

    fn bounded(seen: &Seen<'_>, data: &[u8], wire_len: usize) {
        if let Seen::Ip(packet) = seen {
            assert!(packet.payload_bytes as usize <= wire_len.max(data.len()).min(MAX_IP_BYTES));
            assert!(packet.payload.len() <= data.len());
            if let Some(inner) = packet.inner() {
                bounded(
                    &Seen::Ip(inner),
                    packet.payload,
                    packet.payload_bytes as usize,
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn nothing_panics_and_nothing_counts_more_than_the_wire(
            link in links(),
            data in proptest::collection::vec(any::<u8>(), 0..200),
            wire_len in 0_usize..100_000,
        ) {
            bounded(&look(link, &data, wire_len), &data, wire_len);
        }

        /// The long way is the oracle of the short one.
        #[test]
        fn both_ways_find_the_same(
            mutations in proptest::collection::vec(
                (12_usize..60, prop_oneof![any::<u8>(), (0_u32..8).prop_map(|bit| 1 << bit)]),
                0..3,
            ),
            cut in prop_oneof![Just(160_usize), 0_usize..160],
            wire_len in 0_usize..100_000,
            datagram: bool,
        ) {
            let mut data = tcp_frame();
            data[14 + 9] = if datagram { number::UDP } else { number::TCP };
            for (at, byte) in mutations {
                let count = data.len();
                data[at % count] = byte;
            }
            data.truncate(cut);
            prop_assert_eq!(look(Link::Ethernet, &data, wire_len), look_ethernet(&data, wire_len));
        }

        #[test]
        fn mutated_frames_do_not_either(
            mutations in proptest::collection::vec((0_usize..150, any::<u8>()), 0..8),
            cut in 0_usize..160,
            wire_len in 0_usize..100_000,
            six: bool,
        ) {
            let mut data = if six { v6_frame() } else { tcp_frame() };
            for (at, byte) in mutations {
                let count = data.len();
                data[at % count] = byte;
            }
            data.truncate(cut);
            bounded(&look(Link::Ethernet, &data, wire_len), &data, wire_len);
        }
    }
}
