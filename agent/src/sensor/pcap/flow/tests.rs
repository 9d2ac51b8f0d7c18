//! Packets in, told differences out.

use super::*;

const LOCAL: &str = "10.0.0.5";
const REMOTE: &str = "203.0.113.9";

fn key(protocol: u8, local_port: u16, remote_port: u16) -> Key {
    let (local, remote) = (LOCAL.parse().unwrap(), REMOTE.parse().unwrap());
    Key::new(protocol, local, remote, (local_port, remote_port))
}

fn tcp(seq: u32) -> Tcp {
    Tcp {
        seq,
        syn: false,
        ack: true,
        fin: false,
        rst: false,
    }
}

fn data(seq: u32, bytes: u32) -> Segment {
    Segment {
        bytes,
        tcp: Some(tcp(seq)),
    }
}

fn flagged(seq: u32, flags: &str) -> Segment {
    let has = |flag| flags.contains(flag);
    Segment {
        bytes: 0,
        tcp: Some(Tcp {
            seq,
            syn: has('S'),
            ack: has('A'),
            fin: has('F'),
            rst: has('R'),
        }),
    }
}

fn datagram(bytes: u32) -> Segment {
    Segment { bytes, tcp: None }
}

/// What is told, one line a flow: `protocol local > remote opener bytes connections`.
fn told(table: &mut FlowTable, now: Tick) -> String {
    let mut events = Vec::new();
    table.drain(now, &mut events);
    let lines: Vec<String> = events.iter().map(line).collect();
    lines.join("\n")
}

fn line(event: &Event) -> String {
    let Event::Sent(sent) = event else {
        panic!("not sent: {event:?}");
    };
    assert_eq!(sent.sender, Sender::Host(sent.flow.local.ip()));
    format!(
        "{:?} {} > {} {:?} {} {}",
        sent.flow.protocol,
        sent.flow.local,
        sent.flow.remote,
        sent.flow.opener,
        sent.bytes,
        sent.connections
    )
}

/// Sends `segments` from port 40000 to port 443, and compares what is told of them.
fn check(segments: &[Segment], expected: &str) {
    let mut table = FlowTable::default();
    for segment in segments {
        table.sent(key(number::TCP, 40000, 443), *segment, 0);
    }
    assert_eq!(told(&mut table, 1), expected);
}

fn check_bytes(segments: &[Segment], bytes: u64) {
    let expected = format!("Tcp 10.0.0.5:0 > 203.0.113.9:443 Local {bytes} 0");
    check(segments, &expected);
}

#[test]
fn a_connection_is_told_without_its_ephemeral_port() {
    check(
        &[
            flagged(99, "S"),
            flagged(100, "A"),
            data(100, 50),
            data(150, 30),
            flagged(180, "FA"),
            flagged(181, "A"),
        ],
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 80 1",
    );
}

#[test]
fn what_the_other_side_opened_is_served() {
    let mut table = FlowTable::default();
    let key = key(number::TCP, 50000, 40000);
    table.sent(key, flagged(7, "SA"), 0);
    table.sent(key, data(8, 1000), 0);
    assert_eq!(
        told(&mut table, 1),
        "Tcp 10.0.0.5:50000 > 203.0.113.9:0 Remote 1000 1"
    );
}

#[test]
fn a_retransmit_counts_once() {
    check_bytes(
        &[data(100, 50), data(100, 50), data(120, 30), data(110, 10)],
        50,
    );
    check_bytes(&[data(100, 50), data(130, 50)], 80);
}

#[test]
fn a_retransmitted_syn_is_one_connection() {
    check(
        &[
            flagged(9, "S"),
            flagged(9, "S"),
            data(10, 5),
            flagged(9, "S"),
            data(10, 5),
        ],
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 5 1",
    );
}

#[test]
fn a_reused_port_is_another_connection() {
    check(
        &[
            flagged(9, "S"),
            data(10, 5),
            flagged(15, "FA"),
            flagged(7000, "S"),
            data(7001, 6),
        ],
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 11 2",
    );
}

#[test]
fn disorder_and_holes_count_once() {
    check_bytes(&[data(100, 100), data(300, 100), data(200, 100)], 300);
    check_bytes(&[data(100, 100), data(300, 100), data(400, 100)], 400);
}

#[test]
fn sequence_numbers_wrap() {
    check_bytes(
        &[
            data(u32::MAX - 49, 100),
            data(50, 100),
            data(u32::MAX - 49, 100),
        ],
        200,
    );
}

#[test]
fn a_syn_may_carry_data() {
    let mut open = flagged(99, "S");
    open.bytes = 20;
    check(
        &[open, data(120, 5)],
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 25 1",
    );
}

#[test]
fn a_hostile_jump_counts_only_what_it_carries() {
    let mut table = FlowTable::default();
    for seq in [0, 0x4000_0000, 0x8000_0001, 0xc000_0000, 0x10] {
        table.sent(key(number::TCP, 40000, 443), data(seq, 1), 0);
    }
    assert_eq!(
        told(&mut table, 1),
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 5 0"
    );
    assert_eq!(table.totals().jumps, 4);
}

#[test]
fn a_reset_may_carry_words_and_they_are_not_sent_data() {
    let mut reset = flagged(150, "R");
    reset.bytes = 40;
    check_bytes(&[data(100, 50), reset], 50);
}

#[test]
fn differences_are_told_once() {
    let mut table = FlowTable::default();
    table.sent(key(number::TCP, 40000, 443), data(100, 50), 0);
    assert_ne!(told(&mut table, 1), "");
    assert_eq!(told(&mut table, 2), "");
    table.sent(key(number::TCP, 40000, 443), data(150, 7), 2);
    assert_eq!(
        told(&mut table, 3),
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 7 0"
    );
}

#[test]
fn flows_to_one_service_are_told_as_one_in_the_order_of_their_begin() {
    let mut table = FlowTable::default();
    for port in 40000..40010 {
        table.sent(key(number::UDP, port, 53), datagram(30), 0);
        table.sent(key(number::TCP, port, 443), data(1, 5), 0);
    }
    table.sent(key(number::ICMP, 0, 0), datagram(56), 0);
    table.sent(key(132, 0, 0), datagram(9), 0);
    table.sent(key(number::UDP, 123, 123), datagram(48), 0);
    let expected = "Udp 10.0.0.5:0 > 203.0.113.9:53 Local 300 10\n\
                    Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 50 0\n\
                    Icmp 10.0.0.5:0 > 203.0.113.9:0 Unknown 56 1\n\
                    Other(132) 10.0.0.5:0 > 203.0.113.9:0 Unknown 9 1\n\
                    Udp 10.0.0.5:123 > 203.0.113.9:123 Unknown 48 1";
    assert_eq!(told(&mut table, 1), expected);
}

#[test]
fn at_the_limit_totals_stay() {
    let mut table = FlowTable::with_limit(100);
    for port in 10_000..20_000 {
        table.sent(key(number::TCP, port, 443), data(1, 3), 0);
    }
    assert_eq!(
        told(&mut table, 1),
        "Tcp 10.0.0.5:0 > 203.0.113.9:443 Local 30000 0"
    );
    assert_eq!((table.len(), table.totals().evicted), (100, 9900));
}

#[test]
fn at_the_limit_the_busy_stay() {
    let mut table = FlowTable::with_limit(64);
    let busy = key(number::TCP, 5000, 443);
    for now in 0..1000 {
        table.sent(busy, data(now, 1), now);
        table.sent(busy, data(now, 1), now);
        let idle = key(number::TCP, 10_000 + now as u16, 80);
        table.sent(idle, data(1, 1), now);
    }
    let told = told(&mut table, 1000);
    assert!(told.contains(":443 Local 1000 0"), "{told}");
    assert!(told.contains(":80 Local 1000 0"), "{told}");
}

#[test]
fn the_idle_are_forgotten_and_the_memory_given_back() {
    let mut table = FlowTable::default();
    for port in 10_000..10_100 {
        table.sent(key(number::UDP, port, 53), datagram(1), 0);
        table.sent(key(number::TCP, port, 443), data(1, 1), 0);
    }
    let after = |table: &mut FlowTable, ticks: Tick| {
        for now in (0..=ticks).step_by(100) {
            told(table, now);
        }
        table.len()
    };
    assert_eq!(after(&mut table, DATAGRAM_TICKS), 200);
    assert_eq!(after(&mut table, DATAGRAM_TICKS + 2 * ROUND_TICKS), 100);
    assert_eq!(after(&mut table, OPEN_TICKS + 2 * ROUND_TICKS), 0);
    assert_eq!(table.entries.capacity(), 0);
}

#[test]
fn a_silent_hour_between_two_packets_forgets_too() {
    let mut table = FlowTable::default();
    table.sent(key(number::TCP, 40000, 443), data(1, 1), 0);
    told(&mut table, 1);
    told(&mut table, 3600 * TICKS_PER_SECOND);
    assert!(table.is_empty());
}

#[test]
fn an_entry_is_one_cache_line() {
    assert_eq!(size_of::<Entry>(), 64);
}

#[test]
fn only_the_first_payload_of_a_client_is_looked_at() {
    let mut table = FlowTable::default();
    let client = key(number::TCP, 40000, 443);
    assert_eq!(table.sent(client, flagged(9, "S"), 0), Look::No);
    assert_eq!(table.sent(client, data(10, 5), 0), Look::First);
    assert_eq!(table.sent(client, data(15, 5), 0), Look::No);
    let server = key(number::TCP, 443, 40000);
    table.sent(server, flagged(9, "SA"), 0);
    assert_eq!(table.sent(server, data(10, 5), 0), Look::No);
}

mod property {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However a stream is cut, repeated and disordered (within the window), each byte counts once.
        #[test]
        fn each_byte_of_a_stream_counts_once(
            start: u32,
            cuts in proptest::collection::vec(1_u32..2000, 1..40),
            swaps in proptest::collection::vec((0_usize..40, 0_usize..40), 0..20),
        ) {
            let mut at = start;
            let mut segments = Vec::new();
            for bytes in &cuts {
                segments.push(data(at, *bytes));
                at = at.wrapping_add(*bytes);
            }
            // The first byte must come first: what is before it is not known to be new.
            for (from, to) in swaps {
                let count = segments.len();
                let (from, to) = (from % count, to % count);
                segments.push(segments[from]);
                if from > 0 && to > 0 {
                    segments.swap(from, to);
                }
            }
            let mut table = FlowTable::default();
            for segment in segments {
                table.sent(key(number::TCP, 40000, 443), segment, 0);
            }
            prop_assert_eq!(table.totals().bytes, u64::from(cuts.iter().sum::<u32>()));
        }

        /// Whatever comes: no panic, and what is told is what was booked.
        #[test]
        fn what_is_told_is_what_was_booked(
            limit in 1_usize..20,
            packets in proptest::collection::vec((0_u16..30, any::<u32>(), 0_u32..70_000, 0_u8..16, 0_u32..5000), 0..300),
        ) {
            let mut table = FlowTable::with_limit(limit);
            let mut events = Vec::new();
            let mut now = 0;
            for (port, seq, bytes, flags, later) in packets {
                let tcp = Tcp { seq, syn: flags & 1 != 0, ack: flags & 2 != 0, fin: flags & 4 != 0, rst: flags & 8 != 0 };
                let protocol = if port % 3 == 0 { number::UDP } else { number::TCP };
                let tcp = (protocol == number::TCP).then_some(tcp);
                table.sent(key(protocol, port, 15), Segment { bytes, tcp }, now);
                prop_assert!(table.len() <= limit);
                if later > 4000 {
                    now += later;
                    table.drain(now, &mut events);
                }
            }
            table.drain(now, &mut events);
            let told: u64 = events.iter().map(|event| match event {
                Event::Sent(sent) => sent.bytes,
                _ => 0,
            }).sum();
            prop_assert_eq!(told, table.totals().bytes);
        }
    }
}
