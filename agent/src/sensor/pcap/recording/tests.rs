//! Capture files in, events out. Files are made here, byte by byte, so that they can be as wrong as they like.

use std::fs;

use super::*;

/// 1,700,000,000 s after the epoch.
const START: u32 = 1_700_000_000;

/// A pcap of raw IP packets (LINKTYPE_RAW), with microseconds.
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = header(101);
    file.extend(packets.iter().flatten());
    file
}

fn header(link: u32) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0]);
    file.extend_from_slice(&link.to_le_bytes());
    file
}

/// One record: a datagram of `bytes` bytes from 10.0.0.5 to 203.0.113.9, port 9.
fn record(seconds: u32, micros: u32, bytes: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 5], [203, 0, 113, 9], 64)
        .udp(40000, 9)
        .write(&mut packet, &vec![0; usize::from(bytes)])
        .unwrap();
    record_of(seconds, micros, &packet, packet.len() as u32)
}

fn record_of(seconds: u32, micros: u32, packet: &[u8], wire_len: u32) -> Vec<u8> {
    let words = [seconds, micros, packet.len() as u32, wire_len];
    let mut record: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    record.extend_from_slice(packet);
    record
}

struct Read {
    events: Vec<Stamped>,
    report: FileReport,
    summary: Summary,
}

fn read(file: &[u8]) -> Read {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcap");
    fs::write(&path, file).unwrap();
    let local = Vantage::new(&["10.0.0.0/8".parse().unwrap()]);
    let mut recording = Recording::new(local.clone(), local);
    let mut events = Vec::new();
    let mut sink = |batch: Vec<Stamped>| {
        assert!(!batch.is_empty() && batch.len() <= BATCH_LIMIT);
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

/// One line an event: `milliseconds what`.
fn lines(events: &[Stamped]) -> Vec<String> {
    let line = |stamped: &Stamped| {
        let what = match &stamped.event {
            Event::Clock { wall_offset } => format!("clock {wall_offset}"),
            Event::Sent(sent) => format!("sent {}", sent.bytes),
            Event::Gap(gap) => format!("gap {}", gap.events),
            other => format!("{other:?}"),
        };
        format!("{} {what}", stamped.at.0 / 1_000_000)
    };
    events.iter().map(line).collect()
}

fn check(file: &[u8], expected: &[&str]) -> Read {
    let read = read(file);
    assert_eq!(lines(&read.events), expected);
    read
}

#[test]
fn differences_are_told_four_times_a_second_from_the_first_packet_on() {
    let packets = [
        record(START, 0, 10),
        record(START, 240_000, 10),
        record(START, 260_000, 30),
        record(START + 3, 0, 40),
    ];
    let read = check(
        &capture(&packets),
        &[
            "250 clock 1700000000000000000",
            "250 sent 20",
            "500 sent 30",
            "3000 sent 40",
        ],
    );
    assert_eq!((read.report.packets, read.report.trouble), (4, None));
    assert_eq!(
        (read.summary.flows.bytes, read.summary.length),
        (90, 3 * SECOND)
    );
}

#[test]
fn a_capture_cut_anywhere_gives_what_it_holds() {
    let whole = capture(&[
        record(START, 0, 10),
        record(START + 1, 0, 20),
        record(START + 2, 0, 30),
    ]);
    let record_bytes = |bytes: usize| 16 + 28 + bytes;
    for cut in 0..whole.len() {
        let read = read(&whole[..cut]);
        let ends = [
            24 + record_bytes(10),
            24 + record_bytes(10) + record_bytes(20),
        ];
        let packets = ends.iter().filter(|end| cut >= **end).count() as u64;
        assert_eq!(read.report.packets, packets, "cut at {cut}");
        let whole_records = cut == 24 || ends.contains(&cut);
        assert_eq!(read.report.trouble.is_none(), whole_records, "cut at {cut}");
        let gaps = read
            .events
            .iter()
            .filter(|event| matches!(event.event, Event::Gap(_)))
            .count();
        // Without a packet there is no time at which a gap could be: the report has it.
        let gap = !whole_records && packets > 0;
        assert_eq!(gaps, usize::from(gap), "cut at {cut}");
        let bytes = [0, 10, 30][packets as usize];
        assert_eq!(read.summary.flows.bytes, bytes, "cut at {cut}");
    }
}

#[test]
fn what_is_no_capture_says_so_with_the_next_step() {
    let said = |file: &[u8]| read(file).report.trouble.unwrap().to_string();
    assert!(said(b"").contains("give a pcap or pcapng file"));
    assert!(said(b"<!DOCTYPE html><html></html>").contains("give a pcap or pcapng file"));
    let wireless = said(&header(105));
    assert!(
        wireless.starts_with("link type IEEE802_11 (105) is not understood"),
        "{wireless}"
    );
    let mut monstrous = capture(&[record(START, 0, 10)]);
    monstrous[24 + 8..24 + 12].copy_from_slice(&[0xff; 4]);
    let monstrous = said(&monstrous);
    assert!(monstrous.starts_with("packet 1: "), "{monstrous}");
}

#[test]
fn zeroed_times_take_the_time_before_and_are_a_gap() {
    let packets = [
        record(0, 0, 1),
        record(START, 0, 2),
        record(0, 0, 4),
        record(START + 1, 0, 8),
    ];
    check(
        &capture(&packets),
        &[
            "250 clock 1700000000000000000",
            "250 gap 2",
            "250 sent 7",
            "1000 sent 8",
        ],
    );
    check(
        &capture(&[record(0, 0, 1), record(0, 0, 2)]),
        &["0 clock 0", "0 gap 2", "0 sent 3"],
    );
}

#[test]
fn backward_times_are_clamped_and_are_a_gap() {
    let packets = [
        record(START, 0, 1),
        record(START + 9, 0, 2),
        record(START + 1, 0, 4),
        record(START + 10, 0, 8),
    ];
    check(
        &capture(&packets),
        &[
            "250 clock 1700000000000000000",
            "250 sent 1",
            "9250 gap 1",
            "9250 sent 6",
            "10000 sent 8",
        ],
    );
}

#[test]
fn frames_that_cannot_be_read_are_a_gap() {
    let packets = [record_of(START, 0, &[0x45, 0, 0], 3), record(START, 1, 5)];
    check(
        &capture(&packets),
        &["0 clock 1700000000000000000", "0 gap 1", "0 sent 5"],
    );
}

#[test]
fn many_flows_are_told_in_bounded_batches() {
    let packets: Vec<Vec<u8>> = (0..10_000_u32)
        .map(|number| {
            let mut packet = Vec::new();
            let [_, _, high, low] = number.to_be_bytes();
            etherparse::PacketBuilder::ipv4([10, 0, high, low], [203, 0, 113, 9], 64)
                .udp(40000, 9)
                .write(&mut packet, &[0; 3])
                .unwrap();
            record_of(START, 0, &packet, packet.len() as u32)
        })
        .collect();
    let read = read(&capture(&packets));
    assert_eq!(read.events.len(), 1 + 10_000);
}

/// Dense captures are told once a second; what is told, and the order of time, stay.
#[test]
fn dense_captures_are_told_once_a_second() {
    let mut packets = Vec::new();
    for quarter in 0..12_u32 {
        for number in 0..=DENSE as u32 {
            let mut packet = Vec::new();
            let [_, _, high, low] = number.to_be_bytes();
            etherparse::PacketBuilder::ipv4([10, 0, high, low], [203, 0, 113, 9], 64)
                .udp(40000, 9)
                .write(&mut packet, &[0; 3])
                .unwrap();
            let length = packet.len() as u32;
            packets.push(record_of(
                START + quarter / 4,
                quarter % 4 * 250_000,
                &packet,
                length,
            ));
        }
    }
    let read = read(&capture(&packets));
    let mut stamps: Vec<i64> = read
        .events
        .iter()
        .map(|event| event.at.0 / 1_000_000)
        .collect();
    assert!(stamps.is_sorted());
    stamps.dedup();
    assert_eq!(stamps, [1000, 2000, 2750]);
    assert_eq!(read.summary.flows.bytes, 12 * 3 * (DENSE as u64 + 1));
}

#[test]
fn a_reader_that_wants_no_more_stops_the_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcap");
    let packets: Vec<Vec<u8>> = (0..100)
        .map(|second| record(START + second, 0, 1))
        .collect();
    fs::write(&path, capture(&packets)).unwrap();
    let local = Vantage::new(&["10.0.0.0/8".parse().unwrap()]);
    let report = Recording::new(local.clone(), local).read(&path, &mut |_| false);
    assert_eq!(report.packets, 2);
}

#[test]
fn several_files_are_one_recording() {
    let directory = tempfile::tempdir().unwrap();
    let local = Vantage::new(&["10.0.0.0/8".parse().unwrap()]);
    let mut recording = Recording::new(local.clone(), local);
    let mut events = Vec::new();
    let mut sink = |batch: Vec<Stamped>| {
        events.extend(batch);
        true
    };
    for (name, seconds) in [("a", START), ("b", START + 5)] {
        let path = directory.path().join(name);
        fs::write(&path, capture(&[record(seconds, 0, 7)])).unwrap();
        recording.read(&path, &mut sink);
    }
    recording.finish(&mut sink);
    assert_eq!(
        lines(&events),
        ["250 clock 1700000000000000000", "250 sent 7", "5000 sent 7"]
    );
}

mod property {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever happens to a capture: no panic, what could be read is played in order, the rest is a gap.
        #[test]
        fn mutated_captures_are_read_or_told(
            mutations in proptest::collection::vec((0_usize..300, any::<u8>()), 0..10),
            cut in 0_usize..300,
        ) {
            let mut file = capture(&[record(START, 0, 10), record(START + 1, 0, 20), record(START + 2, 0, 30)]);
            let length = file.len();
            for (at, byte) in mutations {
                file[at % length] = byte;
            }
            file.truncate(cut);
            let read = read(&file);
            prop_assert!(read.events.is_sorted_by_key(|event| event.at));
            if read.report.trouble.is_some() && read.report.packets > 0 {
                prop_assert!(read.events.iter().any(|event| matches!(event.event, Event::Gap(_))));
            }
        }
    }
}
