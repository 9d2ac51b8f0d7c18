//! Entries of the table of what was queued to leave.

use std::net::IpAddr;

use jaga_rules::event::{Origin, Protocol};

use super::Fields;
use super::socket::{address, protocol};

/// What was queued to one remote by one interface since the last drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireCount {
    /// Index of the interface; 0 = of another network namespace.
    pub ifindex: u32,
    /// Where to; `None` = no IP.
    pub remote: Option<IpAddr>,
    /// Where the socket is connected to, if elsewhere.
    pub meant: Option<IpAddr>,
    /// Whose packets.
    pub origin: Origin,
    /// The socket's transport, else the packet's.
    pub protocol: Protocol,
    /// Payload bytes.
    pub bytes: u64,
    /// Payload bytes that were sent before, or are wrapped.
    pub again: u64,
    /// Bytes with the headers of every segment.
    pub frame_bytes: u64,
    /// Segments.
    pub frames: u64,
}

/// Decodes an entry; `None` if it has another shape.
#[must_use]
pub fn decode(key: &[u8], value: &[u8]) -> Option<WireCount> {
    let mut key = Fields(key);
    let mut value = Fields(value);
    let (remote, meant) = (key.array()?, key.array()?);
    let ifindex = key.u32()?;
    let (family, meant_family) = (key.u16()?, key.u16()?);
    let number = key.u16()?;
    let origin = match key.u8()? {
        0 => Origin::Socket,
        1 => Origin::Kernel,
        2 => Origin::Forwarded,
        3 => Origin::Tunnel,
        4 => Origin::Elsewhere,
        5 => Origin::Frames,
        _ => return None,
    };
    Some(WireCount {
        ifindex,
        remote: (family != 0).then(|| address(family, remote)),
        meant: (meant_family != 0).then(|| address(meant_family, meant)),
        origin,
        protocol: transport(number),
        bytes: value.u64()?,
        again: value.u64()?,
        frame_bytes: value.u64()?,
        frames: value.u64()?,
    })
}

/// MPTCP has a socket protocol of its own (IPPROTO_MPTCP), beyond a byte: on the wire it is TCP.
fn transport(number: u16) -> Protocol {
    u8::try_from(number).map_or(Protocol::Tcp, protocol)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bytes;
    use super::*;

    fn key(origin: u8, meant_family: u16) -> Vec<u8> {
        let mut addresses = [0; 32];
        addresses[..4].copy_from_slice(&[203, 0, 113, 9]);
        addresses[16..20].copy_from_slice(&[10, 20, 0, 9]);
        let key = Bytes::default().bytes(&addresses).u32(7);
        let key = key.u16(2).u16(meant_family).u16(6).u8(origin);
        key.bytes(&[0; 5]).0
    }

    fn value() -> Vec<u8> {
        Bytes::default().u64(1000).u64(20).u64(1066).u64(1).0
    }

    #[test]
    fn an_entry() {
        let count = WireCount {
            ifindex: 7,
            remote: Some("203.0.113.9".parse().unwrap()),
            meant: None,
            origin: Origin::Forwarded,
            protocol: Protocol::Tcp,
            bytes: 1000,
            again: 20,
            frame_bytes: 1066,
            frames: 1,
        };
        assert_eq!(decode(&key(2, 0), &value()), Some(count.clone()));
        let rewritten = WireCount {
            meant: Some("10.20.0.9".parse().unwrap()),
            origin: Origin::Socket,
            ..count
        };
        assert_eq!(decode(&key(0, 2), &value()), Some(rewritten));
    }

    #[test]
    fn other_shapes_are_refused() {
        assert_eq!(decode(&key(6, 0), &value()), None);
        assert_eq!(decode(&key(0, 0)[..40], &value()), None);
        assert_eq!(decode(&key(0, 0), &value()[..31]), None);
    }

    #[test]
    fn mptcp_is_tcp() {
        assert_eq!(transport(262), Protocol::Tcp);
        assert_eq!(transport(17), Protocol::Udp);
    }
}
