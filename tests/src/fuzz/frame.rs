//! One captured frame: nothing counts more than the wire, and the short way finds what etherparse finds.

use jaga::sensor::pcap::frame::{Link, MAX_IP_BYTES, Packet, Seen, look, look_ethernet};

use super::bytes::Bytes;

/// Which link type, how many bytes there were on the wire beyond what was captured, the frame.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let link = link(bytes.u8());
    let more = usize::from(bytes.u16());
    let data = bytes.0;
    for wire_len in [data.len() + more, more] {
        let seen = look(link, data, wire_len);
        if link == Link::Ethernet {
            assert_eq!(seen, look_ethernet(data, wire_len), "the two ways differ");
        }
        if let Seen::Ip(packet) = seen {
            bounded(&packet, data.len(), wire_len, 0);
        }
    }
}

/// A link type by any number.
pub fn link(number: u8) -> Link {
    const LINKS: [Link; 5] = [Link::Ethernet, Link::Sll, Link::Sll2, Link::Null, Link::Raw];
    LINKS[usize::from(number) % LINKS.len()]
}

/// A packet is no larger than what it came in, nor is what it carries.
fn bounded(packet: &Packet<'_>, captured: usize, wire_len: usize, depth: usize) {
    let on_wire = packet.payload_bytes as usize;
    assert!(
        on_wire <= wire_len.max(captured).min(MAX_IP_BYTES),
        "{on_wire} bytes of payload in a frame of {wire_len}"
    );
    assert!(packet.payload.len() <= captured);
    assert!(depth <= captured, "tunnels without end");
    if let Some(inner) = packet.inner() {
        bounded(&inner, packet.payload.len(), on_wire, depth + 1);
    }
}
