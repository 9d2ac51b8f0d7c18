//! What outlives a restart: rows, totals, alerts; what nobody can use any more is removed.

use super::*;

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

/// Settled: what was told stays told, a new alert needs the whole limit, and nothing of it stays for ever.
#[test]
fn a_settled_case_is_closed_and_its_bytes_stay_told() {
    use crate::event::{Settle, Verdict};
    let mut engine = engine();
    let leak = [
        (0, known(9)),
        (0, read(9, 1, 1 << 30)),
        (1, sent(9, "203.0.113.9:443", 1 << 30)),
    ];
    let mut output = Output::default();
    for (at, event) in leak {
        let stamped = Stamped {
            at: Stamp(at),
            event,
        };
        engine.step(&stamped, &mut output);
    }
    let fired = output.transitions.drain(..);
    let fired: std::collections::BTreeSet<String> = fired
        .filter(|told| told.state == AlertState::Firing)
        .map(|told| told.id)
        .collect();
    assert!(!fired.is_empty());
    let open = |engine: &Engine| -> u64 {
        engine
            .snapshot()
            .rules
            .iter()
            .map(|rule| rule.cases_open)
            .sum()
    };
    assert_eq!(open(&engine), fired.len() as u64);
    for id in &fired {
        let settle = Event::Settle(Settle {
            id: id.clone(),
            verdict: Verdict::Test,
        });
        let stamped = Stamped {
            at: Stamp(2),
            event: settle,
        };
        engine.step(&stamped, &mut output);
        engine.step(&stamped, &mut output);
    }
    assert_eq!(output.settled.len(), fired.len(), "each once");
    assert_eq!(open(&engine), 0);
    // One byte more is no new alert: what was told is not counted again.
    let day = crate::units::DAY;
    assert_eq!(
        run(&mut engine, &[(day / 2, sent(9, "203.0.113.9:443", 1))])
            .iter()
            .filter(|told| told.state == AlertState::Firing && &*told.rule == "leaves")
            .count(),
        0
    );
    run(
        &mut engine,
        &[
            (40 * day, Event::Exit { actor: actor(9) }),
            (100 * day, Event::Wake),
        ],
    );
    assert!(
        engine
            .watches
            .iter()
            .filter(|watch| &*watch.rule.name == "leaves")
            .all(|watch| watch.alerts().count() == 0)
    );
}
