//! Entries of the table of sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use jaga_rules::event::{Flow, Opener, Protocol};

use super::{Fields, take_who};
use crate::sensor::host::seen::{By, SocketCount};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Decodes an entry; `None` if it has another shape. The addresses of a packet socket are unspecified.
#[must_use]
pub fn decode(key: &[u8], value: &[u8]) -> Option<SocketCount> {
    let mut key = Fields(key);
    let mut value = Fields(value);
    let _start = key.u64()?;
    let _tgid = key.u32()?;
    let netns = key.u32()?;
    let (local, remote) = (key.array()?, key.array()?);
    let (local_port, remote_port) = (key.u16()?, key.u16()?);
    let family = key.u16()?;
    let protocol = protocol(key.u8()?);
    let opener = match key.u8()? {
        0 => Opener::Unknown,
        1 => Opener::Local,
        2 => Opener::Remote,
        _ => return None,
    };
    let bytes = value.u64()?;
    let connections = value.u32()?;
    let _reserved = value.u32()?;
    Some(SocketCount {
        who: By::Process(take_who(&mut value)?),
        flow: Flow {
            protocol,
            local: SocketAddr::new(address(family, local), local_port),
            remote: SocketAddr::new(address(family, remote), remote_port),
            opener,
        },
        netns,
        bytes,
        connections,
    })
}

/// An address as the kernel keeps it; IPv4-mapped IPv6 becomes the IPv4 address that it is.
pub(crate) fn address(family: u16, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        AF_INET => Ipv4Addr::new(a, b, c, d).into(),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(bytes)).to_canonical(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// By IP protocol number (IANA).
pub(crate) fn protocol(number: u8) -> Protocol {
    match number {
        1 | 58 => Protocol::Icmp,
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        other => Protocol::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bytes, WHO};
    use super::*;

    fn key(family: u16, local: &[u8; 16], remote: &[u8; 16], opener: u8) -> Vec<u8> {
        let key = Bytes::default().u64(1000).u32(7).u32(99);
        let key = key.bytes(local).bytes(remote).u16(0).u16(443);
        key.u16(family).u8(6).u8(opener).0
    }

    fn value() -> Vec<u8> {
        Bytes::default().u64(1234).u32(2).u32(0).who().0
    }

    fn v4(a: u8, b: u8, c: u8, d: u8) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[a, b, c, d]);
        bytes
    }

    #[test]
    fn a_tcp_send() {
        let key = key(2, &v4(10, 0, 0, 1), &v4(203, 0, 113, 9), 1);
        assert_eq!(
            decode(&key, &value()),
            Some(SocketCount {
                who: By::Process(WHO),
                flow: Flow {
                    protocol: Protocol::Tcp,
                    local: "10.0.0.1:0".parse().unwrap(),
                    remote: "203.0.113.9:443".parse().unwrap(),
                    opener: Opener::Local,
                },
                netns: 99,
                bytes: 1234,
                connections: 2,
            })
        );
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped = Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().octets();
        let count = decode(&key(10, &mapped, &mapped, 1), &value()).unwrap();
        assert_eq!(count.flow.remote, "203.0.113.9:443".parse().unwrap());
        let real = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let count = decode(&key(10, &real, &real, 1), &value()).unwrap();
        assert_eq!(count.flow.remote, "[2001:db8::1]:443".parse().unwrap());
    }

    #[test]
    fn a_packet_socket_has_no_address() {
        let count = decode(&key(0, &[9; 16], &[9; 16], 1), &value()).unwrap();
        assert_eq!(count.flow.remote, "0.0.0.0:443".parse().unwrap());
    }

    #[test]
    fn other_shapes_are_refused() {
        let whole = key(2, &[0; 16], &[0; 16], 1);
        assert_eq!(decode(&whole[..55], &value()), None);
        assert_eq!(decode(&whole, &value()[..47]), None);
        assert_eq!(decode(&key(2, &[0; 16], &[0; 16], 3), &value()), None);
    }
}
