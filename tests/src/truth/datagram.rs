//! Ways to send datagrams and packets.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;

use super::peer::{PORT, RAW_PROTOCOL, datagrams, wait_for_datagrams};
use super::{Bench, Way, call, queue};

/// The ways.
pub const WAYS: &[Way] = &[
    Way::new("UDP", |bench| {
        let socket = connected(bench.peer.into())?;
        counted(bench, || {
            (0..ROUNDS)
                .map(|_| Ok(socket.send(&DATAGRAM)? as u64))
                .sum()
        })
    }),
    Way::new("UDP GSO", |bench| {
        let socket = connected(bench.peer.into())?;
        call::option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 1200)?;
        counted(bench, || {
            (0..ROUNDS / 50)
                .map(|_| Ok(socket.send(&[7; 48 * 1200])? as u64))
                .sum()
        })
    }),
    Way::new("UDP, corked", |bench| {
        let socket = connected(bench.peer.into())?;
        counted(bench, || {
            (0..ROUNDS)
                .map(|round| call::send(&socket, &DATAGRAM[..200], more(round)))
                .sum()
        })
    }),
    Way::new("unconnected UDP", |bench| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        counted(bench, || {
            (0..ROUNDS)
                .map(|_| Ok(socket.send_to(&DATAGRAM, (bench.peer, PORT))? as u64))
                .sum()
        })
    }),
    Way::new("unconnected UDP, sendmsg", |bench| {
        let (socket, to) = (UdpSocket::bind("0.0.0.0:0")?, address(bench.peer, PORT));
        counted(bench, || {
            (0..ROUNDS)
                .map(|_| call::sendmsg(&socket, &DATAGRAM, Some(&to)))
                .sum()
        })
    }),
    Way::new("unconnected UDP, sendmmsg", |bench| {
        let (socket, to) = (UdpSocket::bind("0.0.0.0:0")?, address(bench.peer, PORT));
        counted(bench, || {
            (0..ROUNDS / 20)
                .map(|_| call::sendmmsg(&socket, &DATAGRAM, 20, Some(&to)))
                .sum()
        })
    }),
    Way::new("unconnected UDP, io_uring", |bench| {
        let (socket, to) = (UdpSocket::bind("0.0.0.0:0")?, address(bench.peer, PORT));
        let mut part = call::part(&DATAGRAM);
        let message = call::message(&mut part, Some(&to));
        counted(bench, || queue::uring_sendmsg(&socket, &message, ROUNDS))
    }),
    Way::new("unconnected UDP GSO", |bench| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        call::option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 1200)?;
        counted(bench, || {
            (0..ROUNDS / 50)
                .map(|_| Ok(socket.send_to(&[7; 48 * 1200], (bench.peer, PORT))? as u64))
                .sum()
        })
    }),
    Way::new("UDP over IPv6", |bench| {
        let socket = UdpSocket::bind("[::]:0")?;
        counted(bench, || {
            (0..ROUNDS)
                .map(|_| Ok(socket.send_to(&DATAGRAM, (bench.peer6, PORT))? as u64))
                .sum()
        })
    }),
    Way::new("raw", |bench| {
        let (socket, to) = (
            call::socket(libc::AF_INET, libc::SOCK_RAW, RAW_PROTOCOL)?,
            address(bench.peer, 0),
        );
        counted(bench, || {
            (0..ROUNDS)
                .map(|_| call::send_to(&socket, &DATAGRAM, &to))
                .sum()
        })
    }),
    Way::new("raw, with a header of its own", |bench| {
        let (socket, to) = (
            call::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?,
            address(bench.peer, 0),
        );
        let packet = packet(bench.peer)?;
        counted_of(bench, HEADERS, || {
            (0..ROUNDS)
                .map(|_| call::send_to(&socket, &packet, &to))
                .sum()
        })
    }),
    Way::new("AF_PACKET", |bench| frames(bench, false)),
    Way::new("AF_PACKET past the queue", |bench| frames(bench, true)),
];

/// Payload of a datagram.
pub const BYTES: u64 = 1300;

const DATAGRAM: [u8; BYTES as usize] = [7; BYTES as usize];
const ROUNDS: usize = 1000;
/// IPv4 and UDP.
const HEADERS: u64 = 28;
const ETHERNET: u64 = 14;

/// Ten pieces a datagram.
fn more(round: usize) -> i32 {
    if round % 10 == 9 { 0 } else { libc::MSG_MORE }
}

fn connected(peer: IpAddr) -> io::Result<UdpSocket> {
    let unspecified: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect((peer, PORT))?;
    Ok(socket)
}

/// Sends, and waits until it has arrived.
fn counted(bench: &Bench, send: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    counted_of(bench, 0, send)
}

/// The same, where each datagram is sent with so many bytes of headers.
fn counted_of(
    bench: &Bench,
    headers: u64,
    send: impl FnOnce() -> io::Result<u64>,
) -> io::Result<u64> {
    let peer = bench.peer.into();
    let before = datagrams(peer)?;
    let bytes = send()?;
    let payload = if headers == 0 {
        bytes
    } else {
        bytes - headers * ROUNDS as u64
    };
    wait_for_datagrams(peer, before + payload)?;
    Ok(bytes)
}

fn address(to: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(to).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// A datagram for the peer, with its headers; without a UDP checksum (RFC 768 allows that).
fn packet(peer: Ipv4Addr) -> io::Result<Vec<u8>> {
    let local = match connected(peer.into())?.local_addr()?.ip() {
        IpAddr::V4(local) => local,
        IpAddr::V6(_) => unreachable!("a socket of IPv4"),
    };
    let total = u16::try_from(HEADERS as usize + DATAGRAM.len()).expect("fits a frame");
    let mut header = [
        &[0x45, 0][..],
        &total.to_be_bytes(),
        &[0, 0, 0, 0, 64, 17, 0, 0],
        &local.octets(),
        &peer.octets(),
    ]
    .concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let port = PORT.to_be_bytes();
    let udp = [&port[..], &port, &(total - 20).to_be_bytes(), &[0, 0]].concat();
    Ok([header, udp, DATAGRAM.to_vec()].concat())
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// Whole frames, made by hand, to the interface that leads to the peer.
fn frames(bench: &Bench, bypass: bool) -> io::Result<u64> {
    let datagram = connected(bench.peer.into())?;
    datagram.send(&[])?; // so that the neighbour is known
    let (index, hardware) = neighbour(bench.peer)?;
    let socket = packet_socket()?;
    if bypass {
        call::option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    }
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [
            hardware[0],
            hardware[1],
            hardware[2],
            hardware[3],
            hardware[4],
            hardware[5],
            0,
            0,
        ],
    };
    let frame = [
        &hardware[..],
        &[2, 0, 0, 0, 0, 1],
        &[8, 0],
        &packet(bench.peer)?,
    ]
    .concat();
    counted_of(bench, ETHERNET + HEADERS, || {
        (0..ROUNDS)
            .map(|_| call::send_to(&socket, &frame, &to))
            .sum()
    })
}

fn packet_socket() -> io::Result<OwnedFd> {
    call::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)
}

/// Interface and hardware address of a host on the same cable (proc_net_arp: address, type, flags, hardware address,
/// mask, device).
fn neighbour(peer: Ipv4Addr) -> io::Result<(i32, [u8; 6])> {
    let unknown = || io::Error::other(format!("{peer} is no neighbour"));
    for _ in 0..100 {
        let table = fs::read_to_string("/proc/net/arp")?;
        let peer = peer.to_string();
        let line = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words[0] == peer);
        match line {
            Some(words) if words[2] == "0x2" => {
                let mut hardware = [0; 6];
                for (byte, word) in hardware.iter_mut().zip(words[3].split(':')) {
                    *byte = u8::from_str_radix(word, 16).map_err(io::Error::other)?;
                }
                return Ok((call::interface(words[5])?, hardware));
            }
            _ => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    Err(unknown())
}
