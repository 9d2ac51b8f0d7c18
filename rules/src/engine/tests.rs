//! What must hold of the engine whatever it is told; each property is an invariant of DESIGN.md 4.

use proptest::prelude::*;

use super::*;
use crate::event::{Flow, Identity, Login, Protocol, RowKind, RuleText, SECOND};
use crate::output::Transition;

const CONFIG: &str = "
instance: pacs1
internal: [10.0.0.0/8]
relays: [10.0.0.5:3128]
stores:
  - { name: ekg, paths: [/srv/muse], records: { per-file: 1 } }
contracts:
  - { name: nightly, who: { unit: backup.service }, to: 203.0.113.77:8000, owner: it, until: 2030-01-01 }
";

const RULES: &str = "
rule: leaves
title: Data leaves
severity: critical
where: { scope: [external, relay] }
by: [store, session]
limits:
  - exposed-bytes: 1000 B in 10m
  - exposed-bytes: 5000 B in 24h
quiet: 1m
advice: Look.
---
rule: held-back
title: Much goes to one place
severity: warning
where: { scope: [external, internal] }
by: [destination]
limits:
  - sent-bytes: 2000 B in 1m
hold: 20s
quiet: 2m
advice: Look.
---
rule: blind
title: A sensor is blind
severity: warning
by: [sensor]
limits:
  - gap: 2 in 5m
quiet: 10m
advice: Look.
";

fn setup() -> Setup {
    Setup {
        config: CONFIG.to_owned(),
        rules: vec![RuleText {
            file: "test.yaml".to_owned(),
            text: RULES.to_owned(),
        }],
    }
}

fn engine() -> Engine {
    Engine::new(7, &setup()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn actor(pid: u32) -> Actor {
    Actor {
        pid,
        start: u64::from(pid),
    }
}

/// A process of its own login session; pid 9 is the backup's.
fn known(pid: u32) -> Event {
    let login = Login {
        user: format!("user{pid}").into(),
        session: pid,
    };
    let (login, cgroup) = if pid == 9 {
        (None, "/system.slice/backup.service")
    } else {
        (Some(login), "")
    };
    let identity = Identity {
        user: "root".into(),
        login,
        cgroup: cgroup.into(),
        container: None,
    };
    Event::Known(crate::event::Process {
        actor: actor(pid),
        parent: None,
        exe: "/bin/x".into(),
        identity,
    })
}

fn read(pid: u32, inode: u64, bytes: u64) -> Event {
    let file = crate::event::FileId {
        fs: 1,
        inode,
        generation: 0,
    };
    Event::Read(Read {
        actor: actor(pid),
        file,
        store: Some("ekg".into()),
        bytes,
        size: 1 << 40,
        estimated: false,
    })
}

fn sent(pid: u32, remote: &str, bytes: u64) -> Event {
    let flow = Flow {
        protocol: Protocol::Tcp,
        local: "10.0.0.1:0".parse().expect("an address"),
        remote: remote.parse().expect("an address"),
        opener: Opener::Local,
    };
    Event::Sent(Sent {
        sender: Sender::Actor(actor(pid)),
        flow,
        bytes,
        connections: 1,
        interface: None,
    })
}

fn run(engine: &mut Engine, events: &[(i64, Event)]) -> Vec<Transition> {
    let mut output = Output::default();
    for (at, event) in events {
        engine.step(
            &Stamped {
                at: Stamp(*at),
                event: event.clone(),
            },
            &mut output,
        );
    }
    output.transitions
}

fn shown(transitions: &[Transition]) -> Vec<String> {
    let key = |t: &Transition| {
        t.key
            .iter()
            .map(|(_, text)| text.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    transitions
        .iter()
        .map(|t| {
            format!(
                "{} {:?} {} {} {}/{} {}x",
                t.at.0 / SECOND,
                t.state,
                t.rule,
                key(t),
                t.value,
                t.limit,
                t.size
            )
        })
        .collect()
}

#[test]
fn from_read_to_resolved_and_told_once() {
    let mut engine = engine();
    let out = run(
        &mut engine,
        &[
            (0, known(5)),
            (0, read(5, 1, 10_000)),
            (SECOND, sent(5, "203.0.113.9:443", 900)),
            (2 * SECOND, sent(5, "203.0.113.9:443", 150)),
            (3 * SECOND, sent(5, "203.0.113.9:443", 400)),
            (70 * SECOND, Event::Wake),
            (80 * SECOND, sent(5, "203.0.113.9:443", 99)),
            (90 * SECOND, sent(5, "203.0.113.9:443", 1)),
        ],
    );
    let expected = [
        "2 Firing leaves ekg user5 1050/1000 1x",
        "63 Resolved leaves ekg user5 1450/1000 1x",
        "90 Firing leaves ekg user5 100/100 1x",
    ];
    assert_eq!(
        shown(&out),
        expected.map(|line| line.replace("user5", "login:user5"))
    );
    assert_ne!(out[0].id, out[2].id);
    assert_eq!(out[0].id, out[1].id);
    assert_eq!(out[0].evidence.sessions, ["login:user5 (/bin/x, root)"]);
    assert_eq!(out[0].evidence.destinations, ["203.0.113.9:443"]);
    assert_eq!((out[0].evidence.bytes, out[0].evidence.records), (1050, 0));
}

#[test]
fn ten_times_is_told_again() {
    let mut engine = engine();
    let mut events = vec![(0, known(5)), (0, read(5, 1, 100_000))];
    events.extend((1..=20).map(|second| (second * SECOND, sent(5, "203.0.113.9:443", 600))));
    let sizes: Vec<u32> = run(&mut engine, &events)
        .iter()
        .filter(|t| &*t.rule == "leaves")
        .map(|t| t.size)
        .collect();
    assert_eq!(sizes, [1, 10]);
}

#[test]
fn contract_relay_internal_external() {
    let mut engine = engine();
    run(
        &mut engine,
        &[
            (
                0,
                Event::Clock {
                    wall_offset: 1_800_000_000 * SECOND,
                },
            ),
            (0, known(5)),
            (0, known(9)),
            (0, read(9, 1, 100)),
            (1, sent(9, "203.0.113.77:8000", 1)),
            (1, sent(9, "203.0.113.77:8001", 10)),
            (1, sent(5, "203.0.113.77:8000", 100)),
            (1, sent(5, "10.1.1.1:22", 1_000)),
            (1, sent(5, "10.0.0.5:3128", 10_000)),
            (1, sent(5, "127.0.0.1:22", 100_000)),
            (
                1,
                Event::Fact(Fact::Relay {
                    address: "10.0.0.6:25".parse().expect("an address"),
                    protocol: "smtp".into(),
                }),
            ),
            (2, sent(5, "10.0.0.6:25", 100_000)),
        ],
    );
    let snapshot = engine.snapshot();
    let sent: Vec<u64> = snapshot
        .sent_bytes
        .iter()
        .map(|(_, bytes)| *bytes)
        .collect();
    assert_eq!(sent, [1, 1_000, 110_000, 110]);
    assert_eq!(snapshot.contracts[0].sent_bytes, 1);
    let exposed: Vec<u64> = snapshot.stores[0]
        .exposed
        .iter()
        .map(|(_, bytes, _)| *bytes)
        .collect();
    assert_eq!(exposed, [1, 0, 0, 10]);
}

#[test]
fn a_restart_tells_an_alert_once_and_at_the_same_total() {
    let before: Vec<(i64, Event)> = (1..=4)
        .map(|second| (second * SECOND, sent(5, "203.0.113.9:443", 300)))
        .collect();
    let after: Vec<(i64, Event)> = (6..=9)
        .map(|second| (second * SECOND, sent(5, "203.0.113.9:443", 300)))
        .collect();
    for killed_after in 0..=4 {
        let mut first = engine();
        let mut events = vec![(0, known(5)), (0, read(5, 1, 10_000))];
        events.extend(before.iter().take(killed_after).cloned());
        let mut all = run(&mut first, &events);
        let rows = first.take_rows();
        let mut second = engine();
        let mut events: Vec<(i64, Event)> = rows
            .into_iter()
            .map(|row| (5 * SECOND, Event::Restore(Restore { row, shift: 0 })))
            .collect();
        events.push((5 * SECOND, known(5)));
        events.extend(
            before
                .iter()
                .skip(killed_after)
                .map(|(_, event)| (5 * SECOND, event.clone())),
        );
        events.extend(after.iter().cloned());
        all.extend(run(&mut second, &events));
        let leaves: Vec<(u64, u64)> = all
            .iter()
            .filter(|t| &*t.rule == "leaves")
            .map(|t| (t.value, t.limit))
            .collect();
        assert_eq!(leaves, [(1200, 1000)], "killed after {killed_after}");
        let ended = run(&mut second, &[(200 * SECOND, Event::Wake)]);
        let last = ended
            .iter()
            .find(|t| &*t.rule == "leaves")
            .expect("it resolves");
        assert_eq!(
            (last.state, last.value, last.evidence.bytes),
            (AlertState::Resolved, 2400, 2400),
            "{killed_after}"
        );
        assert_eq!(last.evidence.destinations, ["203.0.113.9:443"]);
    }
}

#[test]
fn an_unreadable_row_is_a_gap() {
    let mut engine = engine();
    let row = |body: &str| Row {
        kind: crate::event::RowKind::Alert,
        id: "x".to_owned(),
        body: Some(body.to_owned()),
    };
    let out = run(
        &mut engine,
        &[
            (
                0,
                Event::Restore(Restore {
                    row: row("{"),
                    shift: 0,
                }),
            ),
            (
                0,
                Event::Restore(Restore {
                    row: row("[]"),
                    shift: 0,
                }),
            ),
        ],
    );
    assert_eq!(shown(&out), ["0 Firing blind engine 2/2 1x"]);
}

#[test]
fn a_reload_keeps_what_was_counted() {
    let mut engine = engine();
    let mut setup = setup();
    setup.rules[0].text = RULES
        .replace("severity: critical", "severity: info")
        .replace("1000 B in 10m", "1500 B in 10m");
    let out = run(
        &mut engine,
        &[
            (0, known(5)),
            (0, read(5, 1, 10_000)),
            (SECOND, sent(5, "203.0.113.9:443", 900)),
            (2 * SECOND, Event::Reload(Box::new(setup))),
            (3 * SECOND, sent(5, "203.0.113.9:443", 700)),
        ],
    );
    assert_eq!(
        shown(&out),
        ["3 Firing leaves ekg login:user5 1600/1500 1x"]
    );
}

#[test]
fn an_alert_that_is_forgotten_leaves_no_row() {
    let mut engine = engine();
    let rows = |engine: &mut Engine| -> Vec<bool> {
        let rows = engine.take_rows();
        let alerts = rows.iter().filter(|row| row.kind == RowKind::Alert);
        alerts.map(|row| row.body.is_some()).collect()
    };
    let out = run(
        &mut engine,
        &[
            (0, sent(5, "10.3.3.3:445", 1000)),
            (55 * SECOND, sent(5, "10.3.3.3:445", 1000)),
        ],
    );
    assert_eq!(shown(&out), ["55 Pending held-back 10.3.3.3 2000/2000 1x"]);
    assert_eq!(rows(&mut engine), [true]);
    let out = run(&mut engine, &[(80 * SECOND, Event::Wake)]);
    assert_eq!(shown(&out), [""; 0], "it did not last");
    assert_eq!(rows(&mut engine), [false]);
}

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
            let file = crate::event::FileId { fs: 2, inode, generation: 0 };
            Event::Wrote(Wrote { actor: actor(pid), file, bytes, size: bytes })
        }),
        1 => (3u32..8, 1u64..9, 1u64..900).prop_map(|(pid, inode, bytes)| {
            let file = crate::event::FileId { fs: 2, inode, generation: 0 };
            Event::Read(Read { actor: actor(pid), file, store: None, bytes, size: bytes, estimated: false })
        }),
        1 => Just(Event::Gap(Gap {
            sensor: "files".into(), kind: GapKind::Blind, events: 1, bytes: 0, why: "no right".into(),
        })),
    ];
    (wait, event)
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
    fn extra_wakes_change_nothing(steps in prop::collection::vec(step(), 1..120), wakes in prop::collection::vec(0i64..100, 1..120)) {
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
    fn silence_empties_it(steps in prop::collection::vec(step(), 1..120)) {
        let mut events = timed(steps);
        let end = events.last().map_or(0, |(at, _)| *at);
        events.extend((3..8).map(|pid| (end, Event::Exit { actor: actor(pid) })));
        let mut engine = engine();
        run(&mut engine, &events);
        run(&mut engine, &[(end + 40 * 24 * 3600 * SECOND, Event::Wake)]);
        prop_assert_eq!(engine.holdings.sizes(), (0, 0, 0));
        prop_assert_eq!(engine.lineage.size().0, 0);
        prop_assert_eq!(engine.tallies.iter().map(Tally::keys).sum::<usize>(), 0);
        prop_assert_eq!(engine.next_deadline(), None);
    }

    /// I5: the same input gives the same bytes.
    #[test]
    fn same_in_same_out(steps in prop::collection::vec(step(), 1..120)) {
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
                .filter_map(|(_, alert)| alert.deadline(watch.rule.hold, watch.rule.quiet))
        });
        alerts
            .chain(self.tallies.iter().filter_map(Tally::scan_deadline))
            .min()
    }
}

#[test]
fn what_was_told_before_a_restart_never_hides_what_comes_after() {
    let day = 24 * 3600 * SECOND;
    let leak = |at: i64, inode: u64| {
        [
            (at, known(5)),
            (at, read(5, inode, 10_000)),
            (at, sent(5, "203.0.113.9:443", 6_000)),
        ]
    };
    let mut first = engine();
    run(&mut first, &leak(0, 1));
    let mut rows = std::collections::BTreeMap::new();
    for at in [SECOND, 40 * day] {
        run(&mut first, &[(at, Event::Wake)]);
        rows.extend(
            first
                .take_rows()
                .into_iter()
                .map(|row| ((row.kind, row.id.clone()), row)),
        );
    }
    let mut second = engine();
    let kept = rows.into_values().filter(|row| row.body.is_some());
    let mut events: Vec<(i64, Event)> = kept
        .map(|row| (41 * day, Event::Restore(Restore { row, shift: 0 })))
        .collect();
    events.extend(leak(42 * day, 2));
    let told = run(&mut second, &events);
    assert!(
        told.iter()
            .any(|t| &*t.rule == "leaves" && t.state == AlertState::Firing),
        "{told:?}"
    );
}

#[test]
fn a_reload_may_drop_a_rule_that_fires() {
    let mut engine = engine();
    let mut fewer = setup();
    fewer.rules[0].text = RULES
        .split("---")
        .next()
        .expect("the first rule")
        .to_owned();
    let blind = Event::Gap(Gap {
        sensor: "files".into(),
        kind: GapKind::Blind,
        events: 1,
        bytes: 0,
        why: "x".into(),
    });
    run(&mut engine, &[(0, blind.clone()), (0, blind)]);
    engine.take_rows();
    let told = run(&mut engine, &[(1, Event::Reload(Box::new(fewer)))]);
    assert_eq!(shown(&told), ["0 Resolved blind files 2/2 1x"]);
    assert!(
        engine
            .take_rows()
            .iter()
            .any(|row| row.id.contains("blind"))
    );
}

#[test]
fn a_tunnel_that_is_used_stays_a_relay() {
    let hour = 3600 * SECOND;
    let relay = Fact::Relay {
        address: "10.0.0.6:1080".parse().expect("an address"),
        protocol: "socks".into(),
    };
    let mut engine = engine();
    run(
        &mut engine,
        &[
            (0, known(5)),
            (0, Event::Fact(relay)),
            (20 * hour, sent(5, "10.0.0.6:1080", 1)),
            (40 * hour, sent(5, "10.0.0.6:1080", 1)),
            (70 * hour, sent(5, "10.0.0.6:1080", 1)),
        ],
    );
    let sent: Vec<u64> = engine
        .snapshot()
        .sent_bytes
        .iter()
        .map(|(_, bytes)| *bytes)
        .collect();
    assert_eq!(sent, [0, 1, 2, 0]);
}
