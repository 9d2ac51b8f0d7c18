//! What must hold of the engine whatever it is told; each property is an invariant of ARCHITECTURE.md.

use proptest::prelude::*;

use super::*;

fn step() -> impl Strategy<Value = (i64, Event)> {
    let remotes = [
        "203.0.113.9:443",
        "203.0.113.10:22",
        "10.3.3.3:445",
        "10.0.0.5:3128",
    ];
    let wait =
        prop_oneof![4 => 0i64..3 * SECOND, 1 => 0i64..200 * SECOND, 1 => 0i64..30 * 3600 * SECOND];
    let event = prop_oneof![
        4 => (3u32..8, prop::sample::select(remotes.to_vec()), 1u64..900).prop_map(|(pid, to, n)| sent(pid, to, n)),
        3 => (3u32..8, 1u64..20, 1u64..3000).prop_map(|(pid, inode, n)| read(pid, inode, n)),
        1 => (3u32..8).prop_map(known),
        1 => (3u32..8).prop_map(|pid| Event::Exit { actor: actor(pid) }),
        1 => (3u32..8, 1u64..9, 1u64..900).prop_map(|(pid, inode, bytes)| {
            let file = place(inode);
            Event::Wrote(Wrote { actor: actor(pid), file, bytes, size: bytes })
        }),
        1 => (3u32..8, 1u64..9, 1u64..900).prop_map(|(pid, inode, bytes)| {
            let file = place(inode);
            Event::Read(Read { actor: actor(pid), file, store: None, bytes, size: bytes, estimated: false, below: false })
        }),
        1 => Just(Event::Gap(Gap {
            sensor: "files".into(), kind: GapKind::Blind, events: 1, bytes: 0, why: "no right".into(),
        })),
    ];
    (wait, event)
}

/// A file or a channel.
fn place(inode: u64) -> crate::event::FileId {
    let fs = [2, crate::event::FileId::CHANNEL][inode as usize % 2];
    crate::event::FileId {
        fs,
        inode,
        generation: 0,
    }
}

/// The same, with packets on the wire and counters of an interface.
fn wired() -> impl Strategy<Value = (i64, Event)> {
    use crate::event::{Egress, Origin};
    let origins = [
        Origin::Socket,
        Origin::Kernel,
        Origin::Forwarded,
        Origin::Tunnel,
        Origin::Elsewhere,
    ];
    let meant = [None, "10.3.3.3".parse().ok()];
    let egress = (
        prop::sample::select(origins.to_vec()),
        prop::sample::select(meant.to_vec()),
        1u64..900,
    );
    let packets = egress.prop_map(|(origin, meant, bytes)| {
        Event::Fact(Fact::Egress(Egress {
            interface: Some("eth0".into()),
            remote: "203.0.113.9".parse().ok(),
            meant,
            origin,
            protocol: Protocol::Tcp,
            bytes,
            again: 0,
            frame_bytes: bytes,
            frames: 1,
        }))
    });
    let counter = (1u64..900).prop_map(|bytes| {
        let interface = "eth0".into();
        Event::Fact(Fact::Wire { interface, bytes })
    });
    let packets = (0i64..20 * SECOND, prop_oneof![3 => packets, 1 => counter]);
    prop_oneof![2 => step(), 1 => packets]
}

fn timed(steps: Vec<(i64, Event)>) -> Vec<(i64, Event)> {
    let mut at = 0;
    steps
        .into_iter()
        .map(|(wait, event)| {
            at += wait;
            (at, event)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// I2: waking it more often changes nothing that is told; and (the oracle) nothing that is due is ever left over.
    #[test]
    fn extra_wakes_change_nothing(steps in prop::collection::vec(wired(), 1..120), wakes in prop::collection::vec(0i64..100, 1..120)) {
        let events = timed(steps);
        let end = events.last().map_or(0, |(at, _)| at + 40 * 24 * 3600 * SECOND);
        let mut plain_events = events.clone();
        plain_events.push((end, Event::Wake));
        let plain = run(&mut engine(), &plain_events);
        let mut woken_events = Vec::new();
        for (index, pair) in plain_events.windows(2).enumerate() {
            let [(from, event), (to, _)] = pair else { continue };
            woken_events.push((*from, event.clone()));
            woken_events.push((from + (to - from) / 100 * wakes[index % wakes.len()], Event::Wake));
        }
        woken_events.push((end, Event::Wake));
        let mut engine = engine();
        let mut woken = Vec::new();
        for (at, event) in woken_events {
            while let Some(due) = engine.next_deadline().filter(|due| due.0 < at) {
                woken.extend(run(&mut engine, &[(due.0, Event::Wake)]));
            }
            woken.extend(run(&mut engine, &[(at, event)]));
            let scanned = engine.scan_deadline();
            prop_assert!(scanned.is_none_or(|due| due.0 > at), "{scanned:?} is over at {at}");
            prop_assert!(scanned.is_none_or(|due| engine.next_deadline().is_some_and(|next| next <= due)));
        }
        prop_assert_eq!(plain, woken);
    }

    /// I4: after enough silence nothing is left but cases.
    #[test]
    fn silence_empties_it(steps in prop::collection::vec(wired(), 1..120)) {
        let mut events = timed(steps);
        let end = events.last().map_or(0, |(at, _)| *at);
        events.extend((3..8).map(|pid| (end, Event::Exit { actor: actor(pid) })));
        let mut engine = engine();
        run(&mut engine, &events);
        run(&mut engine, &[(end + 40 * 24 * 3600 * SECOND, Event::Wake)]);
        prop_assert_eq!(engine.holdings.sizes(), (0, 0, 0));
        prop_assert_eq!(engine.lineage.size().0, 0);
        prop_assert!(!engine.backstop.is_waiting());
        prop_assert_eq!(engine.tallies.iter().map(Tally::keys).sum::<usize>(), 0);
        prop_assert_eq!(engine.next_deadline(), None);
    }

    /// I5: the same input gives the same bytes.
    #[test]
    fn same_in_same_out(steps in prop::collection::vec(wired(), 1..120)) {
        let events = timed(steps);
        let (mut one, mut two) = (engine(), engine());
        prop_assert_eq!(run(&mut one, &events), run(&mut two, &events));
        prop_assert_eq!(one.take_rows(), two.take_rows());
        prop_assert_eq!(one.snapshot(), two.snapshot());
    }

    /// I6: more bytes never make a key's first alert later, as long as the sender holds enough to expose: what it sends
    /// beyond twice that in a day is not counted as exposed, and may have been other bytes, earlier.
    #[test]
    fn more_bytes_are_never_later(steps in prop::collection::vec(step(), 1..120), more in prop::collection::vec(0u64..500, 1..50)) {
        const ENOUGH: u64 = 1_000_000_000;
        let mut events = timed(steps);
        for (_, event) in &mut events {
            match event {
                Event::Read(read) => read.bytes *= ENOUGH,
                Event::Wrote(wrote) => (wrote.bytes, wrote.size) = (wrote.bytes * ENOUGH, wrote.size * ENOUGH),
                _ => {}
            }
        }
        let mut larger = events.clone();
        for (index, (_, event)) in larger.iter_mut().enumerate() {
            if let Event::Sent(sent) = event {
                sent.bytes += more[index % more.len()];
            }
        }
        let first = |transitions: &[Transition]| {
            let mut first = std::collections::BTreeMap::new();
            for t in transitions.iter().filter(|t| t.state == AlertState::Firing && &*t.rule == "leaves") {
                first.entry(t.key.clone()).or_insert(t.at);
            }
            first
        };
        let (less, more) = (first(&run(&mut engine(), &events)), first(&run(&mut engine(), &larger)));
        for (key, at) in less {
            prop_assert!(more.get(&key).is_some_and(|earlier| *earlier <= at), "{key:?}");
        }
    }
}

impl Engine {
    /// When the next thing is due, by looking at everything: the oracle of the heap.
    fn scan_deadline(&self) -> Option<Stamp> {
        let alerts = self.watches.iter().flat_map(|watch| {
            watch
                .alerts()
                .filter_map(|(_, alert)| alert.deadline(&watch.rule))
        });
        alerts
            .chain(self.tallies.iter().filter_map(Tally::scan_deadline))
            .min()
    }
}
