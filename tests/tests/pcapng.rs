//! A pcapng tells what the pcap of the same packets tells: either byte order, any resolution, one interface or two.
//!
//! Nothing that Debian's tcpdump package brings writes pcapng, so its blocks (draft-ietf-opsawg-pcapng) are put together
//! here, around the packets of a capture that tcpdump made.

use std::fs;

use jaga::sensor::pcap::recording::{FileReport, Recording, Summary};
use jaga::sensor::pcap::vantage::Vantage;
use jaga_rules::event::{Event, Stamped};

/// What tcpdump captured on a loopback interface: DNS, a ClientHello, a proxy, IPv6, fragments; microseconds.
const PCAP: &[u8] = include_bytes!("../corpus/capture/lo.pcap");

const ETHERNET: u16 = 1;
const RAW: u16 = 101;

/// A packet of [`PCAP`].
#[derive(Clone)]
struct Packet {
    micros: u64,
    wire_len: u32,
    data: Vec<u8>,
}

/// The packets of a little-endian pcap.
fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut rest = &PCAP[24..];
    while let Some((header, after)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (data, after) = after.split_at(word(8) as usize);
        packets.push(Packet {
            micros: u64::from(word(0)) * 1_000_000 + u64::from(word(4)),
            wire_len: word(12),
            data: data.to_vec(),
        });
        rest = after;
    }
    assert!(packets.len() > 30);
    packets
}

/// How a pcapng is written.
#[derive(Clone, Copy)]
struct Writer {
    big_endian: bool,
    /// `if_tsresol`; absent = the option is left out, which means microseconds.
    resolution: Option<u8>,
}

impl Writer {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.u32((12 + body.len() + padding.len()) as u32);
        [&self.u32(kind), &length, body, &padding, &length].concat()
    }

    /// Section header block, of unknown length.
    fn section(self) -> Vec<u8> {
        let words = [self.u32(0x1a2b_3c4d), [0; 4], [0xff; 4], [0xff; 4]];
        let mut body = words.concat();
        body[4..6].copy_from_slice(&self.u16(1));
        self.block(0x0a0d_0d0a, &body)
    }

    /// Interface description block, with a comment that must be passed over.
    fn interface(self, link: u16) -> Vec<u8> {
        let mut body = [self.u16(link), [0; 2]].concat();
        body.extend(self.u32(262_144));
        body.extend([self.u16(1), self.u16(5)].concat());
        body.extend(b"jaga!\0\0\0");
        if let Some(resolution) = self.resolution {
            body.extend([self.u16(9), self.u16(1)].concat());
            body.extend([resolution, 0, 0, 0]);
        }
        body.extend([0; 4]);
        self.block(1, &body)
    }

    /// Enhanced packet block.
    fn packet(self, interface: u32, packet: &Packet) -> Vec<u8> {
        let time = match self.resolution {
            None | Some(6) => packet.micros,
            Some(9) => packet.micros * 1_000,
            // Powers of two (bit 7): 1/2^20 s is the finest here; a microsecond is lost at most.
            Some(0x94) => (u128::from(packet.micros) * (1 << 20) / 1_000_000) as u64,
            Some(other) => panic!("resolution {other} is not written here"),
        };
        let words = [
            interface,
            (time >> 32) as u32,
            time as u32,
            packet.data.len() as u32,
            packet.wire_len,
        ];
        let mut body: Vec<u8> = words.iter().flat_map(|word| self.u32(*word)).collect();
        body.extend(&packet.data);
        self.block(6, &body)
    }

    /// A file whose packets come from the interfaces in turn.
    fn file(self, links: &[u16]) -> Vec<u8> {
        let mut file = self.section();
        links
            .iter()
            .for_each(|link| file.extend(self.interface(*link)));
        // An interface statistics block and one of a kind that nobody knows: to be passed over.
        file.extend(self.block(5, &[0; 12]));
        file.extend(self.block(0x0bad_0bad, b"what"));
        for (number, packet) in packets().iter().enumerate() {
            file.extend(self.packet((number % links.len()) as u32, packet));
        }
        file
    }
}

struct Read {
    events: Vec<Stamped>,
    report: FileReport,
    summary: Summary,
}

fn read(file: &[u8]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    fs::write(&path, file).unwrap();
    let local = Vantage::new(&["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()));
    let mut recording = Recording::new(local.clone(), local);
    let mut events = Vec::new();
    let mut sink = |batch: Vec<Stamped>| {
        events.extend(batch);
        true
    };
    let report = recording.read(&path, &mut sink);
    let summary = recording.finish(&mut sink);
    Read {
        events,
        report,
        summary,
    }
}

/// The pcapng that is written like this tells what the pcap tells, to the event and to the nanosecond.
fn check(writer: Writer, links: &[u16]) {
    let (pcap, pcapng) = (read(PCAP), read(&writer.file(links)));
    assert_eq!(pcapng.report.trouble, None);
    assert_eq!(pcapng.report.packets, pcap.report.packets);
    assert_eq!(pcapng.summary, pcap.summary);
    assert_eq!(pcapng.events, pcap.events);
    let sent = |event: &Stamped| matches!(event.event, Event::Sent(_));
    assert!(pcapng.events.iter().filter(|event| sent(event)).count() > 5);
}

#[test]
fn both_byte_orders_and_resolutions() {
    for big_endian in [false, true] {
        for resolution in [None, Some(6), Some(9)] {
            let writer = Writer {
                big_endian,
                resolution,
            };
            check(writer, &[ETHERNET]);
        }
    }
}

#[test]
fn two_interfaces_of_one_kind() {
    for big_endian in [false, true] {
        let writer = Writer {
            big_endian,
            resolution: Some(9),
        };
        check(writer, &[ETHERNET, ETHERNET]);
    }
}

/// A clock that counts in powers of two: the same flows and totals, times to the microsecond.
#[test]
fn a_binary_clock() {
    let writer = Writer {
        big_endian: false,
        resolution: Some(0x94),
    };
    let (pcap, pcapng) = (read(PCAP), read(&writer.file(&[ETHERNET])));
    assert_eq!(pcapng.report.trouble, None);
    assert_eq!(pcapng.summary.flows, pcap.summary.flows);
    assert_eq!(pcapng.summary.frames, pcap.summary.frames);
    assert!((pcapng.summary.length - pcap.summary.length).abs() <= 2_000);
}

#[test]
fn two_interfaces_of_different_kinds_are_told_with_the_next_step() {
    let writer = Writer {
        big_endian: false,
        resolution: None,
    };
    let read = read(&writer.file(&[ETHERNET, RAW]));
    let trouble = read.report.trouble.expect("libpcap refuses it").to_string();
    assert!(trouble.contains("frame.interface_id"), "{trouble}");
    assert_eq!(read.events, []);
}

/// Where a little-endian file may be cut without loss: behind each block from the first interface's on.
fn ends_of_blocks(file: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(length) = file.get(at + 4..at + 8) {
        at += u32::from_le_bytes(length.try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends.split_off(1)
}

/// Cut anywhere: what came before the cut is told, and a cut inside a block is a gap.
#[test]
fn cut_anywhere() {
    let writer = Writer {
        big_endian: false,
        resolution: Some(9),
    };
    let whole = writer.file(&[ETHERNET]);
    let ends = ends_of_blocks(&whole);
    let mut packets_before = 0;
    for cut in (0..whole.len()).step_by(12) {
        let read = read(&whole[..cut]);
        assert!(read.report.packets >= packets_before, "cut at {cut}");
        packets_before = read.report.packets;
        let told = read
            .events
            .iter()
            .any(|event| matches!(event.event, Event::Gap(_)));
        let broken = read.report.trouble.is_some();
        assert_eq!(told, broken && read.report.packets > 0, "cut at {cut}");
        assert_eq!(broken, !ends.contains(&cut), "cut at {cut}");
    }
    assert!(packets_before > 30);
}
