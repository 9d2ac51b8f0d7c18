//! Fragments of packets in any order: a later fragment gets its own packet's ports, or none; never another's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use jaga::sensor::pcap::fragment::Fragments;
use jaga::sensor::pcap::frame::{Fragment, Packet};

use super::bytes::Bytes;

/// Five bytes a fragment: who, which packet (two bytes), first or not with the protocol, the port.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let mut fragments = Fragments::default();
    let mut known = BTreeMap::new();
    while !bytes.is_empty() {
        let packet = packet(&mut bytes);
        let ports = fragments.ports(&packet);
        let Some(part) = packet.fragment else {
            assert_eq!(ports, packet.ports);
            continue;
        };
        let id = (packet.source, packet.destination, packet.protocol, part.id);
        if part.first {
            assert_eq!(ports, packet.ports);
            known.insert(id, ports);
        } else if ports != packet.ports {
            assert_eq!(Some(&ports), known.get(&id), "another packet's ports");
        }
        // Nothing came between: it cannot have been forgotten.
        let next = Packet {
            ports: (0, 0),
            fragment: Some(Fragment {
                first: false,
                ..part
            }),
            ..packet
        };
        if part.first {
            assert_eq!(fragments.ports(&next), ports);
        }
    }
}

fn packet(bytes: &mut Bytes<'_>) -> Packet<'static> {
    let host = |number: u8| IpAddr::from(Ipv4Addr::new(10, 0, 0, number));
    let (ends, id, kind, port) = (bytes.u8(), bytes.u16(), bytes.u8(), bytes.u8());
    let later = kind & 3 > 1;
    Packet {
        source: host(ends >> 4),
        destination: host(ends & 15),
        protocol: kind >> 2,
        ports: if later { (0, 0) } else { (port.into(), 9) },
        payload_bytes: 0,
        payload: &[],
        tcp: None,
        icmp: None,
        fragment: (kind & 3 > 0).then_some(Fragment {
            id: id.into(),
            first: !later,
        }),
    }
}
