//! One captured frame as the IP packet in it: who, to whom, how many payload bytes were on the wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{EtherType, LaxIpv4Slice, LaxIpv6Slice, LaxNetSlice, LaxSlicedPacket};

mod extensions;

/// IP protocol numbers (IANA) that are looked into.
pub mod number {
    /// ICMP; ICMPv6 is told as this one, too.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv4 in IP.
    pub const IPV4: u8 = 4;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// The largest IP packet that is believed, bytes: Linux hands offloaded packets ("BIG TCP") of up to
/// `GSO_MAX_SIZE` = 8 × 65535 to a capture. A hostile length in a capture's header would be worth 4 GB without it.
pub const MAX_IP_BYTES: usize = 8 * 65_535;

/// How frames of a capture begin; the capture's link type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Ethernet II, with VLAN tags or without.
    Ethernet,
    /// Linux "cooked" v1 (`-i any`): 16 bytes, EtherType in the last two.
    Sll,
    /// Linux "cooked" v2: 20 bytes, EtherType in the first two.
    Sll2,
    /// BSD loopback: 4 bytes of address family, in either byte order.
    Null,
    /// The IP packet itself.
    Raw,
}

impl Link {
    /// The link type with this number (`DLT_` and `LINKTYPE_`, tcpdump.org/linktypes.html), if it is one of ours.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Null),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            113 => Some(Self::Sll),
            276 => Some(Self::Sll2),
            _ => None,
        }
    }
}

/// What a frame turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen<'a> {
    /// An IP packet.
    Ip(Packet<'a>),
    /// Something that carries no IP: ARP, spanning tree, an encrypted MACsec frame.
    NotIp,
    /// It should be IP, but its headers are cut or wrong.
    Unreadable,
}

/// An IP packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// IP protocol number, the last after extension headers.
    pub protocol: u8,
    /// Source and destination port; 0 where there are none.
    pub ports: (u16, u16),
    /// Transport payload on the wire, bytes, also where the capture cut it. For a later fragment all of it.
    pub payload_bytes: u32,
    /// The captured part of that payload.
    pub payload: &'a [u8],
    /// What TCP's header says; absent if it is not TCP, cut, or a later fragment.
    pub tcp: Option<Tcp>,
    /// ICMP's type; absent if it is not ICMP, cut, or a later fragment.
    pub icmp: Option<u8>,
    /// The fragment that this is; absent = whole.
    pub fragment: Option<Fragment>,
}

/// What matters of a TCP header (RFC 9293, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number of the first payload byte, or of the SYN.
    pub seq: u32,
    /// Opens.
    pub syn: bool,
    /// Acknowledges.
    pub ack: bool,
    /// Ends one direction.
    pub fin: bool,
    /// Ends both.
    pub rst: bool,
}

/// A part of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Identification, the same in all parts.
    pub id: u32,
    /// The part that carries the ports.
    pub first: bool,
}

/// Looks into a frame of `wire_len` bytes, of which `data` was captured.
#[must_use]
pub fn look<'a>(link: Link, data: &'a [u8], wire_len: usize) -> Seen<'a> {
    match link {
        Link::Ethernet => plain(data, wire_len).unwrap_or_else(|| look_ethernet(data, wire_len)),
        Link::Sll => look_ether_type(data, wire_len, 14, 16),
        Link::Sll2 => look_ether_type(data, wire_len, 0, 20),
        Link::Null => look_ip(data, wire_len, 4),
        Link::Raw => look_ip(data, wire_len, 0),
    }
}

/// The short way for what nearly every frame is: Ethernet without tags, IPv4 without options, whole, with TCP or UDP.
/// Finds what [`look_ethernet`] finds, which a test holds it to, in a third of the time.
fn plain(data: &[u8], wire_len: usize) -> Option<Seen<'_>> {
    const ETHERNET_BYTES: usize = 14;
    const IP_BYTES: usize = 20;
    let header: &[u8; IP_BYTES] = data.get(ETHERNET_BYTES..)?.first_chunk()?;
    let is_ipv4 = data[12..14] == [8, 0] && header[0] == 0x45;
    let is_whole = u16::from_be_bytes([header[6], header[7]]) & 0x3fff == 0;
    let protocol = header[9];
    if !is_ipv4 || !is_whole || !matches!(protocol, number::TCP | number::UDP) {
        return None;
    }
    let packet = &data[ETHERNET_BYTES..];
    let said = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let said = (said >= IP_BYTES).then_some(said);
    let segment = &packet[IP_BYTES..said.unwrap_or(packet.len()).min(packet.len())];
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let ip = Ip {
        source: address(12).into(),
        destination: address(16).into(),
        protocol,
        fragment: None,
        bytes: payload_bytes(data, header, said, segment, wire_len),
    };
    Some(transport(ip, segment))
}

/// The long way for an Ethernet frame, through etherparse: the oracle of the short one.
#[must_use]
pub fn look_ethernet(data: &[u8], wire_len: usize) -> Seen<'_> {
    match LaxSlicedPacket::from_ethernet(data) {
        Ok(sliced) => packet(&sliced, data, wire_len),
        Err(_) => Seen::Unreadable,
    }
}

/// A header of `header_bytes` bytes with an EtherType at `at`, then what that type says.
fn look_ether_type(data: &[u8], wire_len: usize, at: usize, header_bytes: usize) -> Seen<'_> {
    let (Some(ether_type), Some(rest)) = (be16(data, at), data.get(header_bytes..)) else {
        return Seen::Unreadable;
    };
    let sliced = LaxSlicedPacket::from_ether_type(EtherType(ether_type), rest);
    packet(&sliced, rest, wire_len.saturating_sub(header_bytes))
}

fn look_ip(data: &[u8], wire_len: usize, header_bytes: usize) -> Seen<'_> {
    let Some(rest) = data.get(header_bytes..) else {
        return Seen::Unreadable;
    };
    match LaxSlicedPacket::from_ip(rest) {
        Ok(sliced) => packet(&sliced, rest, wire_len.saturating_sub(header_bytes)),
        Err(_) => Seen::Unreadable,
    }
}

fn packet<'a>(sliced: &LaxSlicedPacket<'a>, data: &'a [u8], wire_len: usize) -> Seen<'a> {
    match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => ipv4(ip, data, wire_len),
        Some(LaxNetSlice::Ipv6(ip)) => ipv6(ip, data, wire_len),
        Some(LaxNetSlice::Arp(_)) => Seen::NotIp,
        None if sliced.stop_err.is_some() => Seen::Unreadable,
        None => Seen::NotIp,
    }
}

fn ipv4<'a>(ip: &LaxIpv4Slice<'a>, data: &'a [u8], wire_len: usize) -> Seen<'a> {
    let header = ip.header();
    let offset = header.fragments_offset().value();
    let fragment = (offset > 0 || header.more_fragments()).then(|| Fragment {
        id: u32::from(header.identification()),
        first: offset == 0,
    });
    let said = usize::from(header.total_len());
    let said = (said >= header.slice().len()).then_some(said);
    let payload = ip.payload();
    transport(
        Ip {
            source: Ipv4Addr::from(header.source()).into(),
            destination: Ipv4Addr::from(header.destination()).into(),
            protocol: payload.ip_number.0,
            fragment,
            bytes: payload_bytes(data, header.slice(), said, payload.payload, wire_len),
        },
        payload.payload,
    )
}

fn ipv6<'a>(ip: &LaxIpv6Slice<'a>, data: &'a [u8], wire_len: usize) -> Seen<'a> {
    let header = ip.header();
    let fragment = extensions::fragment(ip.extensions());
    let said = usize::from(header.payload_length());
    let said = (said > 0).then_some(said + header.slice().len());
    let payload = ip.payload();
    transport(
        Ip {
            source: Ipv6Addr::from(header.source()).into(),
            destination: Ipv6Addr::from(header.destination()).into(),
            protocol: payload.ip_number.0,
            fragment,
            bytes: payload_bytes(data, header.slice(), said, payload.payload, wire_len),
        },
        payload.payload,
    )
}

/// Bytes of an IP packet's payload on the wire. What the header says counts, not what was captured; a header that
/// says nothing (offload) or more than was on the wire (hostile) is overruled by the frame's length.
fn payload_bytes(
    data: &[u8],
    header: &[u8],
    said: Option<usize>,
    payload: &[u8],
    wire_len: usize,
) -> usize {
    let on_wire = wire_len
        .max(data.len())
        .saturating_sub(offset_in(data, header));
    let whole = said.unwrap_or(on_wire).min(on_wire).min(MAX_IP_BYTES);
    whole.saturating_sub(offset_in(header, payload))
}

/// Where `part`, a slice of the same memory, begins, counted from the begin of `whole`.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

struct Ip {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    fragment: Option<Fragment>,
    /// Of its payload, on the wire.
    bytes: usize,
}

fn transport(ip: Ip, segment: &[u8]) -> Seen<'_> {
    let later_fragment = ip.fragment.is_some_and(|part| !part.first);
    let header = match ip.protocol {
        _ if later_fragment => Header::default(),
        number::TCP => tcp_header(segment),
        number::UDP => udp_header(segment),
        number::ICMP | number::ICMPV6 => Header {
            bytes: 8,
            icmp: segment.first().copied(),
            ..Header::default()
        },
        _ => Header::default(),
    };
    Seen::Ip(Packet {
        source: ip.source,
        destination: ip.destination,
        protocol: if ip.protocol == number::ICMPV6 {
            number::ICMP
        } else {
            ip.protocol
        },
        ports: header.ports,
        payload_bytes: u32::try_from(ip.bytes.saturating_sub(header.bytes)).unwrap_or(u32::MAX),
        payload: segment.get(header.bytes..).unwrap_or_default(),
        tcp: header.tcp,
        icmp: header.icmp,
        fragment: ip.fragment,
    })
}

#[derive(Default)]
struct Header {
    bytes: usize,
    ports: (u16, u16),
    tcp: Option<Tcp>,
    icmp: Option<u8>,
}

/// Reads what the capture left of a TCP header; a cut one is taken to be without options.
fn tcp_header(segment: &[u8]) -> Header {
    let ports = ports(segment);
    let Some(&[s0, s1, s2, s3, _, _, _, _, words, flags]) =
        segment.get(4..14).and_then(<[u8]>::first_chunk)
    else {
        return Header {
            bytes: 20,
            ports,
            ..Header::default()
        };
    };
    Header {
        bytes: (usize::from(words >> 4) * 4).max(20),
        ports,
        tcp: Some(Tcp {
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
            fin: flags & 0x01 != 0,
            syn: flags & 0x02 != 0,
            rst: flags & 0x04 != 0,
            ack: flags & 0x10 != 0,
        }),
        icmp: None,
    }
}

fn udp_header(segment: &[u8]) -> Header {
    Header {
        bytes: 8,
        ports: ports(segment),
        ..Header::default()
    }
}

fn ports(segment: &[u8]) -> (u16, u16) {
    (be16(segment, 0).unwrap_or(0), be16(segment, 2).unwrap_or(0))
}

impl<'a> Packet<'a> {
    /// The packet inside, if this one is a tunnel's: IP in IP, or GRE (RFC 2784, RFC 2890) of version 0.
    #[must_use]
    pub fn inner(&self) -> Option<Packet<'a>> {
        if self.fragment.is_some_and(|part| !part.first) {
            return None;
        }
        let wire_len = self.payload_bytes as usize;
        let seen = match self.protocol {
            number::IPV4 | number::IPV6 => look_ip(self.payload, wire_len, 0),
            number::GRE => gre(self.payload, wire_len)?,
            _ => return None,
        };
        match seen {
            Seen::Ip(packet) => Some(packet),
            Seen::NotIp | Seen::Unreadable => None,
        }
    }
}

fn gre(data: &[u8], wire_len: usize) -> Option<Seen<'_>> {
    const TRANSPARENT_ETHERNET: u16 = 0x6558;
    let flags = be16(data, 0)?;
    let inner_type = be16(data, 2)?;
    let optional = |bit: u16| if flags & bit != 0 { 4 } else { 0 };
    if flags & 0x0007 != 0 {
        return None; // version 1 is PPTP's
    }
    let header_bytes = 4 + optional(0x8000) + optional(0x2000) + optional(0x1000);
    let rest = data.get(header_bytes..)?;
    let wire_len = wire_len.saturating_sub(header_bytes);
    if inner_type == TRANSPARENT_ETHERNET {
        return Some(look(Link::Ethernet, rest, wire_len));
    }
    let sliced = LaxSlicedPacket::from_ether_type(EtherType(inner_type), rest);
    Some(packet(&sliced, rest, wire_len))
}

fn be16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;
