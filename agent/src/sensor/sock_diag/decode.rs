//! Requests for sockets and what the kernel answers (include/uapi/linux/inet_diag.h, tcp.h). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::sensor::fields::Fields;
use crate::sensor::netlink::attributes;

/// SOCK_DIAG_BY_FAMILY: the kind of requests and answers.
pub const BY_FAMILY: u16 = 20;
/// The families that are asked for.
pub const FAMILIES: [u8; 2] = [2, 10];
/// SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY as a mask.
pub const DESTROYED: u32 = 1 | 1 << 2;

const TCP: u8 = 6;
const LISTEN: u8 = 10;
/// INET_DIAG_INFO.
const INFO: u16 = 2;
/// All states but SYN_RECV, TIME_WAIT and CLOSE: they have sent all that they will send, or nothing yet.
const STATES: u32 = 0xfff & !(1 << 3 | 1 << 6 | 1 << 7);

/// A socket as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Names it as long as the host runs.
    pub cookie: u64,
    /// Its inode; 0 once no process has it.
    pub inode: u32,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// It waits for connections.
    pub listens: bool,
    /// Payload bytes sent so far, each once.
    pub sent: u64,
}

/// The body that asks for all TCP sockets of a family (struct inet_diag_req_v2).
#[must_use]
pub fn request(family: u8) -> Vec<u8> {
    let extensions = 1_u8 << (INFO - 1);
    let mut body = vec![family, TCP, extensions, 0];
    body.extend(STATES.to_ne_bytes());
    body.resize(56, 0); // any socket
    body
}

/// Decodes an answer (struct inet_diag_msg with attributes); `None` if it is cut or of no IP.
#[must_use]
pub fn decode(body: &[u8]) -> Option<Socket> {
    let mut fields = Fields(body);
    let family = fields.u8()?;
    let state = fields.u8()?;
    let _timer_and_retransmits = fields.u16()?;
    let ports = [fields.array()?, fields.array()?].map(u16::from_be_bytes);
    let (local, remote) = (fields.array()?, fields.array()?);
    let _interface = fields.u32()?;
    let cookie = fields.u64()?;
    let _expires_and_queues = fields.take(12)?;
    let _uid = fields.u32()?;
    let inode = fields.u32()?;
    let info = attributes(fields.0).find(|(kind, _)| *kind == INFO);
    Some(Socket {
        cookie,
        inode,
        local: SocketAddr::new(address(family, local)?, ports[0]),
        remote: SocketAddr::new(address(family, remote)?, ports[1]),
        listens: state == LISTEN,
        sent: info.and_then(|(_, info)| sent(info)).unwrap_or_default(),
    })
}

/// `bytes_sent` without `bytes_retrans` (Linux 4.19); before, `bytes_acked`, which counts SYN and FIN.
fn sent(info: &[u8]) -> Option<u64> {
    let at = |place| Fields(info.get(place..)?).u64();
    match (at(200), at(208)) {
        (Some(sent), Some(again)) => Some(sent.saturating_sub(again)),
        _ => Some(at(120)?.saturating_sub(1)),
    }
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = bytes;
    match family {
        2 => Some(Ipv4Addr::new(a, b, c, d).into()),
        10 => Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn answer(state: u8, inode: u32, info: &[u8]) -> Vec<u8> {
        let mut body = vec![2, state, 0, 0];
        body.extend(40000_u16.to_be_bytes());
        body.extend(443_u16.to_be_bytes());
        for address in [[10, 0, 0, 5], [203, 0, 113, 9]] {
            body.extend(address);
            body.extend([0; 12]);
        }
        body.extend(0_u32.to_ne_bytes());
        body.extend(99_u64.to_ne_bytes());
        body.extend([0; 12]);
        body.extend(33_u32.to_ne_bytes());
        body.extend(inode.to_ne_bytes());
        let length = u16::try_from(info.len() + 4).unwrap();
        body.extend(length.to_ne_bytes());
        body.extend(INFO.to_ne_bytes());
        body.extend(info);
        body
    }

    fn info(length: usize) -> Vec<u8> {
        let mut info = vec![0; length];
        let mut set = |place: usize, value: u64| {
            if let Some(field) = info.get_mut(place..place + 8) {
                field.copy_from_slice(&value.to_ne_bytes());
            }
        };
        set(120, 901);
        set(200, 1000);
        set(208, 50);
        info
    }

    #[test]
    fn a_connection() {
        let socket = Socket {
            cookie: 99,
            inode: 7,
            local: "10.0.0.5:40000".parse().unwrap(),
            remote: "203.0.113.9:443".parse().unwrap(),
            listens: false,
            sent: 950,
        };
        assert_eq!(decode(&answer(1, 7, &info(232))), Some(socket));
    }

    #[test]
    fn an_older_kernel_tells_what_was_acknowledged() {
        assert_eq!(decode(&answer(1, 7, &info(160))).unwrap().sent, 900);
        assert_eq!(decode(&answer(10, 7, &[])).unwrap().sent, 0);
        assert!(decode(&answer(10, 7, &[])).unwrap().listens);
    }

    #[test]
    fn cut_answers_are_refused() {
        assert_eq!(decode(&answer(1, 7, &[])[..71]), None);
        assert_eq!(decode(&[1; 72]), None);
    }

    #[test]
    fn a_request_has_the_kernels_length() {
        assert_eq!(request(2).len(), 56);
    }
}
