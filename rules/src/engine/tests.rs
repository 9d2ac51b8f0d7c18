//! What the engine makes of small stories: leaks, contracts, relays, lineage.

use super::*;
use crate::event::{Flow, Identity, Login, Protocol, RowKind, RuleText, SECOND};
use crate::output::Transition;

mod contracts;
mod medical;
mod properties;
mod reloads;
mod restarts;
mod wire;

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
        below: false,
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
fn an_alert_follows_what_leaves_after_its_last_record() {
    let mut setup = setup();
    setup.rules[0].text = "
rule: records
title: Records leave
severity: critical
by: [store, session]
limits:
  - exposed-records: 10 in 24h
quiet: 1m
advice: Look.
"
    .to_owned();
    let mut engine = Engine::new(7, &setup).unwrap_or_else(|problems| panic!("{problems}"));
    let mut events = vec![(0, known(5))];
    events.extend((0..20).map(|inode| (1, read(5, inode, 100))));
    // At five to one all twenty are out with the first.
    events.extend([400, 500, 600].map(|bytes| (2, sent(5, "203.0.113.9:443", bytes))));
    events.push((600 * SECOND, Event::Wake));
    let out = run(&mut engine, &events);
    let told: Vec<(u64, u64)> = out
        .iter()
        .map(|told| (told.evidence.bytes, told.evidence.records))
        .collect();
    assert_eq!(told, [(400, 20), (1500, 20)]);
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

/// A contract that holds from 22:00 to 05:00 UTC; what is sent under it, and what is not.
fn sent_by_night(moments: &[(i64, Event)]) -> [u64; 2] {
    let config = "\
contracts:
  - name: nightly
    who: { unit: backup.service }
    to: 203.0.113.77
    owner: it-ops
    when: 22:00-05:00 UTC
";
    let setup = Setup {
        config: config.to_owned(),
        rules: Vec::new(),
    };
    let mut engine = Engine::new(1, &setup).expect("it is right");
    run(&mut engine, moments);
    let sent = engine.snapshot().sent_bytes;
    [0, 3].map(|scope: usize| sent[scope].1)
}

#[test]
fn a_contract_holds_in_its_hours() {
    let hour = 3600 * SECOND;
    let clock = Event::Clock { wall_offset: 0 };
    let moments = [
        (0, clock),
        (0, known(9)),
        (4 * hour, sent(9, "203.0.113.77:8000", 1)),
        (5 * hour, sent(9, "203.0.113.77:8000", 10)),
        (22 * hour - 1, sent(9, "203.0.113.77:8000", 100)),
        (22 * hour, sent(9, "203.0.113.77:8000", 1_000)),
    ];
    assert_eq!(sent_by_night(&moments), [1_001, 110]);
    // Where the time is not known, they have not come.
    assert_eq!(sent_by_night(&moments[1..]), [0, 1_111]);
}

#[test]
fn a_clock_that_was_set_opens_no_hours() {
    let hour = 3600 * SECOND;
    let set = |hours: i64| Event::Clock {
        wall_offset: hours * hour,
    };
    let moments = [
        (0, set(0)),
        (0, known(9)),
        // At noon somebody makes it 22:00, and later noon again.
        (12 * hour, set(10)),
        (12 * hour, sent(9, "203.0.113.77:8000", 1)),
        (13 * hour, set(0)),
        (22 * hour, sent(9, "203.0.113.77:8000", 10)),
        (46 * hour, sent(9, "203.0.113.77:8000", 100)),
    ];
    assert_eq!(sent_by_night(&moments), [100, 11]);
    // In steps of a minute.
    let mut moments = vec![(0, set(0)), (0, known(9))];
    moments.extend((1..=600).map(|minute| {
        let clock = Event::Clock {
            wall_offset: minute * 60 * SECOND,
        };
        (12 * hour + minute * SECOND, clock)
    }));
    moments.push((12 * hour + 601 * SECOND, sent(9, "203.0.113.77:8000", 1)));
    assert_eq!(sent_by_night(&moments), [0, 1]);
    // A minute is drift.
    let drift = Event::Clock {
        wall_offset: 60 * SECOND,
    };
    let moments = [
        (0, set(0)),
        (0, known(9)),
        (22 * hour, drift),
        (23 * hour, sent(9, "203.0.113.77:8000", 1)),
    ];
    assert_eq!(sent_by_night(&moments), [1, 0]);
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
