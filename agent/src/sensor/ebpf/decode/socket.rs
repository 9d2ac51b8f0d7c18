//! Entries of the table of sends, and what settles who opened a connection that is older than the agent.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use jaga_rules::event::{Flow, Opener, Protocol};

use super::{Fields, take_who};
use crate::sensor::host::seen::SocketCount;

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
        who: take_who(&mut value)?,
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
fn address(family: u16, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        AF_INET => Ipv4Addr::new(a, b, c, d).into(),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(bytes)).to_canonical(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// By IP protocol number (IANA).
fn protocol(number: u8) -> Protocol {
    match number {
        1 | 58 => Protocol::Icmp,
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        other => Protocol::Other(other),
    }
}

/// What tells the opener of a connection whose beginning was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// TCP ports that this host's namespace listened on when the sensor started.
    pub listening: BTreeSet<u16>,
    /// Ports that the kernel hands out (`ip_local_port_range`).
    pub ephemeral: RangeInclusive<u16>,
}

impl Ports {
    /// Settles an unknown opener, and zeroes the port that then is no service's.
    #[must_use]
    pub fn settle(&self, mut flow: Flow) -> Flow {
        if flow.opener == Opener::Unknown && flow.protocol == Protocol::Tcp {
            let port = flow.local.port();
            if self.listening.contains(&port) || !self.ephemeral.contains(&port) {
                flow.opener = Opener::Remote;
                flow.remote.set_port(0);
            } else {
                flow.opener = Opener::Local;
                flow.local.set_port(0);
            }
        }
        flow
    }
}

/// Local ports of the listening sockets in the text of `/proc/net/tcp` or `/proc/net/tcp6`
/// (Documentation/networking/proc_net_tcp.rst: state 0A listens).
pub fn listening(text: &str) -> impl Iterator<Item = u16> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (_, port) = words.next()?.rsplit_once(':')?;
        let state = words.nth(1)?;
        (state == "0A")
            .then(|| u16::from_str_radix(port, 16).ok())
            .flatten()
    })
}

/// The text of `/proc/sys/net/ipv4/ip_local_port_range`; the kernel's default if it is unreadable.
#[must_use]
pub fn ephemeral(text: &str) -> RangeInclusive<u16> {
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        _ => 32768..=60999,
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
                who: WHO,
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

    #[test]
    fn an_old_connection_is_judged_by_its_local_port() {
        let ports = Ports {
            listening: BTreeSet::from([40000]),
            ephemeral: 32768..=60999,
        };
        let opener = |port: u16| {
            ports
                .settle(Flow {
                    protocol: Protocol::Tcp,
                    local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                    remote: "203.0.113.9:50000".parse().unwrap(),
                    opener: Opener::Unknown,
                })
                .opener
        };
        assert_eq!(opener(443), Opener::Remote);
        assert_eq!(opener(40000), Opener::Remote);
        assert_eq!(opener(40001), Opener::Local);
    }

    #[test]
    fn listening_ports_of_proc_net_tcp() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 00000000:0016 00000000:0000 0A 00000000:00000000\n   \
            1: 0100007F:A3F1 0100007F:0016 01 00000000:00000000\n   \
            2: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0\n";
        assert_eq!(listening(text).collect::<Vec<_>>(), [22, 8080]);
        assert_eq!(listening("garbage\n: \n").count(), 0);
    }

    #[test]
    fn the_ephemeral_range_has_a_default() {
        assert_eq!(ephemeral("1024\t65000\n"), 1024..=65000);
        assert_eq!(ephemeral(""), 32768..=60999);
    }
}
