//! What the engine makes of small stories: leaks, contracts, restarts, reloads.

use super::*;
use crate::event::{Flow, Identity, Login, Protocol, RowKind, RuleText, SECOND};
use crate::output::Transition;

mod properties;

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

/// Else it would be told at every start, for ever.
#[test]
fn a_row_that_nobody_can_use_is_removed() {
    let window =
        r#"{"tally":"of a rule that is gone","window":1,"key":[],"total":1,"parts":[[0,1]]}"#;
    for body in ["{", window] {
        let row = Row {
            kind: RowKind::Window,
            id: "x".to_owned(),
            body: Some(body.to_owned()),
        };
        let mut engine = engine();
        run(
            &mut engine,
            &[(
                0,
                Event::Restore(Restore {
                    row: row.clone(),
                    shift: 0,
                }),
            )],
        );
        let rows = engine.take_rows();
        let gone = rows
            .iter()
            .find(|of| (of.kind, &of.id) == (row.kind, &row.id));
        assert_eq!(gone.map(|of| &of.body), Some(&None), "{body}");
    }
}

#[test]
fn a_rule_removed_while_nobody_watched_ends_its_alert() {
    let mut before = engine();
    let fired = run(
        &mut before,
        &[
            (0, known(5)),
            (0, read(5, 1, 10_000)),
            (SECOND, sent(5, "203.0.113.9:443", 1200)),
        ],
    );
    let rows = before.take_rows();
    let restore = |row: &Row| {
        let row = row.clone();
        (SECOND, Event::Restore(Restore { row, shift: 0 }))
    };
    let events: Vec<(i64, Event)> = rows.iter().map(restore).collect();
    let mut setup = setup();
    setup.rules[0].text = RULES.replace("rule: leaves", "rule: other");
    let mut after = Engine::new(7, &setup).unwrap_or_else(|problems| panic!("{problems}"));
    let ended = run(&mut after, &events);
    assert_eq!(
        shown(&ended),
        ["1 Resolved leaves ekg login:user5 1200/1000 1x"]
    );
    assert_eq!(
        (&ended[0].id, &ended[0].key_hash, &ended[0].evidence),
        (&fired[0].id, &fired[0].key_hash, &fired[0].evidence)
    );
    // Told once: the row that stays for the case does not fire, and the case is as open as before if the rule returns.
    let kept = after.take_rows();
    let kept: Vec<(i64, Event)> = kept.iter().map(restore).collect();
    assert_eq!(shown(&run(&mut after, &kept)), [""; 0]);
    let mut again = engine();
    assert_eq!(shown(&run(&mut again, &kept)), [""; 0]);
    let cases: u64 = again
        .snapshot()
        .rules
        .iter()
        .map(|rule| rule.cases_open)
        .sum();
    assert_eq!(cases, 1);
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

/// A second rule counts the same over a day; without it the short window's total would begin anew.
#[test]
fn what_was_told_before_a_reload_never_hides_what_comes_after() {
    let rule = |name: &str, limit: &str| {
        format!(
            "rule: {name}\ntitle: x\nseverity: info\nby: [destination]\nlimits: [{{ sent-bytes: {limit} }}]\nquiet: 1m\n"
        )
    };
    let with = |rules: &[String]| {
        let mut setup = setup();
        setup.rules[0].text = rules.join("---\n");
        setup
    };
    let short = rule("short", "1000 B in 1m");
    let both = with(&[short.clone(), rule("long", "1 GB in 24h")]);
    for after in [
        with(std::slice::from_ref(&short)),
        with(&[rule("short", "1000 B in 2m")]),
    ] {
        let mut engine = Engine::new(7, &both).unwrap();
        let told = run(
            &mut engine,
            &[
                (0, sent(5, "203.0.113.9:443", 90_000)),
                (300 * SECOND, Event::Reload(Box::new(after))),
                (400 * SECOND, sent(5, "203.0.113.9:443", 1000)),
            ],
        );
        let told = shown(&told);
        assert_eq!(
            told.first().unwrap(),
            "0 Firing short 203.0.113.9 90000/1000 1x"
        );
        assert!(
            told.last()
                .unwrap()
                .starts_with("400 Firing short 203.0.113.9 1000/"),
            "{told:?}"
        );
    }
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

#[test]
fn a_child_born_into_another_session_holds_what_its_parent_took() {
    let child = actor(50);
    let identity = Identity {
        user: "root".into(),
        cgroup: "/system.slice/other.service".into(),
        ..Identity::default()
    };
    let fork = Event::Fork(crate::event::Fork {
        parent: actor(3),
        child,
        identity: Some(identity),
    });
    let mut engine = engine();
    run(
        &mut engine,
        &[(0, known(3)), (0, read(3, 1, 700)), (1, fork)],
    );
    let (key, _) = engine.whose(child);
    let slot = engine.holdings.find(&key).expect("it holds something");
    assert_eq!(
        engine.holdings.run(slot).held[0].contents.total().bytes,
        700
    );
}
