//! The backstop: who claims what, when, and what stays.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn egress(origin: Origin, remote: &str, bytes: u64) -> Egress {
    Egress {
        interface: None,
        remote: Some(address(remote)),
        meant: None,
        origin,
        protocol: Protocol::Tcp,
        bytes,
        again: 0,
        frame_bytes: bytes,
        frames: 1,
    }
}

/// Rounds until `count` are over; all that nobody claimed in them.
fn rounds(backstop: &mut Backstop, count: u64) -> Vec<(Origin, u64, bool)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let unclaimed = backstop.end_of_round().into_iter();
        all.extend(unclaimed.map(|of| (of.origin, of.bytes, of.wrapped)));
    }
    all
}

const HERE: &str = "10.0.0.1";
const OUT: &str = "203.0.113.9";

fn running() -> Backstop {
    let mut backstop = Backstop::default();
    backstop.queued(&egress(Origin::Frames, OUT, 0), NOBODY);
    backstop
}

#[test]
fn what_is_passed_on_is_told_after_two_rounds_and_once() {
    let mut backstop = running();
    backstop.queued(&egress(Origin::Forwarded, OUT, 500), NOBODY);
    assert_eq!(rounds(&mut backstop, 1), []);
    assert_eq!(rounds(&mut backstop, 9), [(Origin::Forwarded, 500, false)]);
    assert!(!backstop.is_waiting());
}

#[test]
fn a_container_claims_what_is_passed_on_in_either_order_and_retransmits_too() {
    let mut backstop = running();
    let mut left = egress(Origin::Elsewhere, OUT, 500);
    left.again = 20;
    backstop.sent(address("172.17.0.2"), address(OUT), 500);
    backstop.queued(&egress(Origin::Forwarded, OUT, 300), NOBODY);
    backstop.queued(&left, NOBODY);
    backstop.queued(&egress(Origin::Forwarded, OUT, 220), NOBODY);
    assert_eq!(rounds(&mut backstop, 200), []);
}

#[test]
fn a_socket_that_never_tells_is_told_after_minutes() {
    let mut backstop = running();
    backstop.queued(&egress(Origin::Socket, OUT, 10_000_000), NOBODY);
    assert_eq!(rounds(&mut backstop, SOCKET_ROUNDS), []);
    let told = [(Origin::Socket, 10_000_000 - ALLOWANCE, false)];
    assert_eq!(rounds(&mut backstop, SOCKET_ROUNDS), told);
}

#[test]
fn what_was_sent_and_never_left_covers_nothing_later() {
    let mut backstop = running();
    backstop.sent(address(HERE), address(OUT), 1000);
    rounds(&mut backstop, 2 * SENT_ROUNDS);
    backstop.queued(&egress(Origin::Kernel, OUT, 1000), NOBODY);
    assert_eq!(rounds(&mut backstop, 2), [(Origin::Kernel, 1000, false)]);
}

#[test]
fn a_rewritten_connection_is_claimed_by_the_address_that_its_socket_tells() {
    let mut backstop = running();
    let mut packets = egress(Origin::Socket, OUT, 10_000_000);
    packets.meant = Some(address("10.20.0.9"));
    backstop.queued(&packets, NOBODY);
    backstop.sent(address(HERE), address("10.20.0.9"), 10_000_000);
    assert_eq!(rounds(&mut backstop, 500), []);
}

#[test]
fn a_tunnel_claims_its_own_packets() {
    let mut backstop = running();
    let mut inner = egress(Origin::Tunnel, "10.9.0.5", 1400);
    inner.frame_bytes = 1452;
    backstop.queued(&inner, NOBODY);
    backstop.queued(&egress(Origin::Kernel, OUT, 1500), NOBODY);
    backstop.queued(&egress(Origin::Kernel, OUT, 500), NOBODY);
    let told = [(Origin::Kernel, 1564, true), (Origin::Kernel, 436, false)];
    assert_eq!(rounds(&mut backstop, 2), told);
}

#[test]
fn what_comes_in_for_an_address_of_this_host_does_not_leave() {
    let mut backstop = running();
    backstop.sent(address("2001:db8::2"), address(OUT), 300);
    backstop.queued(&egress(Origin::Socket, OUT, 300), NOBODY);
    backstop.queued(&egress(Origin::Forwarded, "2001:db8::2", 1_000_000), NOBODY);
    assert_eq!(rounds(&mut backstop, 2 * OWN_ROUNDS), []);
    assert!(!backstop.is_waiting(), "it forgets");
}

#[test]
fn at_the_limit_totals_stay() {
    let mut backstop = running();
    let remotes = REMOTES_LIMIT as u32 + 10;
    for number in 0..remotes {
        let mut packets = egress(Origin::Forwarded, OUT, 7);
        packets.remote = Some(Ipv4Addr::from(0x0b00_0000 + number).into());
        backstop.queued(&packets, NOBODY);
    }
    assert_eq!((backstop.len(), backstop.merged), (REMOTES_LIMIT + 1, 10));
    backstop.end_of_round();
    let sum: u64 = backstop.end_of_round().iter().map(|of| of.bytes).sum();
    assert_eq!(sum, 7 * u64::from(remotes));
}

#[test]
fn without_a_word_of_the_wire_nothing_is_remembered() {
    let mut backstop = Backstop::default();
    backstop.sent(address(HERE), address(OUT), 1000);
    assert!(backstop.is_empty());
}

#[test]
fn what_an_interface_sent_past_the_queue_is_told() {
    let eth0 = NameId(7);
    let mut backstop = running();
    backstop.counted(eth0, 1 << 40);
    let mut packets = egress(Origin::Socket, OUT, 1000);
    packets.frame_bytes = 1066;
    backstop.sent(address(HERE), address(OUT), 1000);
    backstop.queued(&packets, eth0);
    backstop.counted(eth0, 1070 + 5000);
    let told = rounds(&mut backstop, 500);
    let [(Origin::Frames, bytes, false)] = told[..] else {
        panic!("{told:?}");
    };
    assert!((4900..=5000).contains(&bytes), "{bytes}");
}

#[test]
fn who_sends_past_the_queue_says_so_at_its_socket() {
    let eth0 = NameId(7);
    let mut backstop = running();
    backstop.counted(eth0, 0);
    backstop.counted(eth0, 5000);
    backstop.sent(NOWHERE, NOWHERE, 5000);
    assert_eq!(rounds(&mut backstop, 500), []);
}
