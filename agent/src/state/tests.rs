//! The state file through kill -9, reboot, corruption and its limit.

use std::sync::Arc;

use jaga_rules::output::Evidence;
use jaga_rules::rule::{KeyField, Measure, Severity};

use super::*;

fn transition(id: &str, state: AlertState, wall: i64) -> Transition {
    Transition {
        at: Stamp(wall),
        wall,
        state,
        rule: "store-data-leaves".into(),
        severity: Severity::Critical,
        key: vec![(KeyField::Store, "ekg".into())],
        value: 11,
        limit: 10,
        measure: Measure::ExposedBytes,
        window: 600,
        summary: "s".to_owned(),
        id: id.to_owned(),
        key_hash: "0badcafe".to_owned(),
        size: 1,
        evidence: Evidence::default(),
    }
}

fn firing(id: &str) -> Transition {
    transition(id, AlertState::Firing, 1)
}

fn resolved(id: &str) -> Transition {
    transition(id, AlertState::Resolved, 2)
}

fn row(kind: RowKind, id: &str, body: Option<&str>) -> Row {
    Row {
        kind,
        id: id.to_owned(),
        body: body.map(str::to_owned),
    }
}

fn open(directory: &Path, boot: &str) -> State {
    let (state, gap) = State::open(directory, boot).unwrap();
    assert_eq!(gap, None);
    state
}

fn put(state: &mut State, transitions: &[Transition]) {
    state.commit(Stamp(1), 0, &[], transitions).unwrap();
}

/// `+firing ID` and `-resolved ID` that wait for `output`.
fn waiting(outbox: &Outbox, output: &str) -> String {
    let entries = outbox.pending(output, 1_000).unwrap();
    let words: Vec<String> = entries
        .iter()
        .map(|entry| {
            let sign = match entry.transition.state {
                AlertState::Pending => '?',
                AlertState::Firing => '+',
                AlertState::Resolved => '-',
            };
            format!("{sign}{}", entry.transition.id)
        })
        .collect();
    words.join(" ")
}

fn registered(state: &State, outputs: &[&str]) -> Outbox {
    let outbox = state.outbox().unwrap();
    let names: Vec<String> = outputs.iter().map(|name| (*name).to_owned()).collect();
    outbox.register(&names).unwrap();
    outbox
}

#[test]
fn rows_come_back_in_order_newest_only_and_shifted_by_a_reboot() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "boot-1");
    let first = [
        row(RowKind::Alert, "a", Some("{}")),
        row(RowKind::Held, "z", Some("old")),
        row(RowKind::Held, "b", Some("gone")),
    ];
    state.commit(Stamp(10), 1_000, &first, &[]).unwrap();
    let second = [
        row(RowKind::Held, "z", Some("new")),
        row(RowKind::Held, "b", None),
        row(RowKind::Held, "c", Some("{}")),
    ];
    state.commit(Stamp(20), 1_500, &second, &[]).unwrap();
    assert_eq!(state.last_write().unwrap(), Some(1_520));
    drop(state);

    let expected = |shift| {
        [
            row(RowKind::Held, "c", Some("{}")),
            row(RowKind::Held, "z", Some("new")),
            row(RowKind::Alert, "a", Some("{}")),
        ]
        .map(|row| Event::Restore(Restore { row, shift }))
        .to_vec()
    };
    let same_boot = open(directory.path(), "boot-1");
    assert_eq!(same_boot.restore(9_999).unwrap(), expected(0));
    drop(same_boot);
    let rebooted = open(directory.path(), "boot-2");
    assert_eq!(rebooted.restore(2_000).unwrap(), expected(-500));
}

#[test]
fn an_end_in_order_is_known_once_and_within_the_boot() {
    for (boot, expected) in [("boot-1", Some(Stamp(30))), ("boot-2", None)] {
        let directory = tempfile::tempdir().unwrap();
        let mut state = open(directory.path(), "boot-1");
        state.commit(Stamp(20), 1_000, &[], &[]).unwrap();
        state.ended(Stamp(30)).unwrap();
        drop(state);
        let next = open(directory.path(), boot);
        assert_eq!(next.take_ended().unwrap(), expected, "{boot}");
        assert_eq!(next.take_ended().unwrap(), None, "{boot}");
    }
}

#[test]
fn a_row_that_was_not_written_again_keeps_the_run_that_wrote_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path(), "boot-1");
    let kept = row(RowKind::Window, "kept", Some("{}"));
    first.commit(Stamp(10), 1_000, &[kept], &[]).unwrap();
    drop(first);
    let mut second = open(directory.path(), "boot-2");
    let fresh = row(RowKind::Window, "new", Some("{}"));
    second.commit(Stamp(5), 3_000, &[fresh], &[]).unwrap();
    drop(second);

    let third = open(directory.path(), "boot-3");
    let shifts: Vec<(String, i64)> = third
        .restore(4_000)
        .unwrap()
        .into_iter()
        .map(|event| match event {
            Event::Restore(Restore { row, shift }) => (row.id, shift),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shifts,
        [("kept".to_owned(), -3_000), ("new".to_owned(), -1_000)]
    );
}

#[test]
fn a_row_of_an_unknown_kind_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    put(&mut state, &[]);
    state
        .connection
        .execute("INSERT INTO row VALUES ('novel', 'x', '{}', 1)", [])
        .unwrap();
    let events = state.restore(0).unwrap();
    assert!(
        matches!(
            &events[..],
            [Event::Gap(Gap {
                kind: GapKind::Unreadable,
                events: 1,
                ..
            })]
        ),
        "{events:?}"
    );
}

#[test]
fn what_was_not_marked_is_offered_again_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    let outbox = registered(&state, &["file"]);
    put(&mut state, &[firing("1"), firing("2")]);
    let entries = outbox.pending("file", 1).unwrap();
    outbox.taken("file", entries[0].sequence).unwrap();
    drop((state, outbox));

    let state = open(directory.path(), "b");
    let outbox = registered(&state, &["file"]);
    assert_eq!(waiting(&outbox, "file"), "+2");
}

#[test]
fn an_entry_goes_when_every_output_has_taken_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    let outbox = registered(&state, &["fast", "slow"]);
    put(&mut state, &[firing("1"), resolved("1"), firing("2")]);
    let last = outbox.pending("fast", 9).unwrap()[2].sequence;
    outbox.taken("fast", last).unwrap();
    assert_eq!(waiting(&outbox, "fast"), "");
    assert_eq!(waiting(&outbox, "slow"), "+1 -1 +2");
    let backlog: Vec<(String, u64)> = outbox
        .backlog()
        .unwrap()
        .into_iter()
        .map(|backlog| (backlog.output, backlog.pending))
        .collect();
    assert_eq!(backlog, [("fast".to_owned(), 0), ("slow".to_owned(), 3)]);

    outbox.taken("slow", last).unwrap();
    let left: i64 = state
        .connection
        .query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
    put(&mut state, &[firing("3")]);
    assert_eq!(waiting(&outbox, "slow"), "+3", "numbers are never reused");
}

#[test]
fn active_alerts_are_those_told_firing_and_not_yet_told_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    let outbox = registered(&state, &["am"]);
    let active = |outbox: &Outbox, output: &str| -> Vec<String> {
        let all = outbox.active(output).unwrap();
        all.into_iter()
            .map(|transition| format!("{} {}x", transition.id, transition.size))
            .collect()
    };
    let mut larger = firing("1");
    larger.size = 10;
    put(
        &mut state,
        &[firing("1"), larger, resolved("1"), firing("2")],
    );
    assert_eq!(active(&outbox, "am"), [""; 0]);
    let entries = outbox.pending("am", 9).unwrap();
    outbox.taken("am", entries[1].sequence).unwrap();
    assert_eq!(active(&outbox, "am"), ["1 1x", "1 10x"]);
    outbox.taken("am", entries[3].sequence).unwrap();
    assert_eq!(active(&outbox, "am"), ["2 1x"]);

    let outbox = registered(&state, &["am", "new"]);
    assert_eq!(active(&outbox, "new"), ["2 1x"]);
    assert_eq!(waiting(&outbox, "new"), "");
}

#[test]
fn an_output_that_is_gone_holds_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    registered(&state, &["a", "b"]);
    put(&mut state, &[firing("1")]);
    let outbox = registered(&state, &["b"]);
    assert_eq!(outbox.backlog().unwrap().len(), 1);
    assert_eq!(waiting(&outbox, "b"), "+1");
}

#[test]
fn at_its_limit_the_outbox_gives_up_what_is_over_before_what_still_fires() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    state.limit = 4;
    let outbox = registered(&state, &["am"]);
    put(
        &mut state,
        &[firing("1"), firing("2"), firing("3"), resolved("2")],
    );
    assert_eq!(waiting(&outbox, "am"), "+1 +2 +3 -2");
    assert_eq!(outbox.dropped().unwrap(), 0);
    put(&mut state, &[firing("4")]);
    assert_eq!(waiting(&outbox, "am"), "+1 +3 +4");
    put(&mut state, &[firing("5"), firing("6")]);
    assert_eq!(waiting(&outbox, "am"), "+3 +4 +5 +6");
    assert_eq!(outbox.dropped().unwrap(), 3);
}

#[test]
fn at_its_limit_the_outbox_gives_up_no_more_than_it_must() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    state.limit = 4;
    let outbox = registered(&state, &["am"]);
    let six = [
        firing("1"),
        resolved("1"),
        firing("2"),
        resolved("2"),
        firing("3"),
        firing("4"),
    ];
    put(&mut state, &six);
    assert_eq!(waiting(&outbox, "am"), "+2 -2 +3 +4");
}

#[test]
fn an_unreadable_entry_does_not_hold_up_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    let outbox = registered(&state, &["am"]);
    put(&mut state, &[firing("1"), firing("2")]);
    state
        .connection
        .execute("UPDATE outbox SET body = '{' WHERE alert = '1'", [])
        .unwrap();
    assert_eq!(waiting(&outbox, "am"), "+2");
    assert_eq!(outbox.dropped().unwrap(), 1);
}

#[test]
fn a_corrupt_file_is_moved_aside_aloud() {
    for garbage in [&b"not a database, and longer than a header of a hundred bytes ............................................................"[..], &[0xff; 20_000]] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("jaga.db"), garbage).unwrap();
        let (mut state, gap) = State::open(directory.path(), "b").unwrap();
        let gap = gap.expect("a gap");
        assert_eq!(gap.kind, GapKind::Unreadable);
        assert!(gap.why.contains("jaga.db.corrupt-0"), "{}", gap.why);
        assert_eq!(std::fs::read(directory.path().join("jaga.db.corrupt-0")).unwrap(), garbage);
        put(&mut state, &[firing("1")]);
    }
}

#[test]
fn a_page_of_garbage_inside_the_file_is_found_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    let many: Vec<Row> = (0..2_000)
        .map(|number| {
            row(
                RowKind::Window,
                &number.to_string(),
                Some("{\"some\":\"body\"}"),
            )
        })
        .collect();
    state.commit(Stamp(1), 0, &many, &[]).unwrap();
    drop(state);
    let path = directory.path().join("jaga.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xaa);
    std::fs::write(&path, bytes).unwrap();
    let (_state, gap) = State::open(directory.path(), "b").unwrap();
    assert!(gap.is_some());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state = open(directory.path(), "b");
    state
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(state);
    let error = State::open(directory.path(), "b").unwrap_err().to_string();
    assert!(error.contains("has format 99"), "{error}");
}

#[test]
fn two_agents_do_not_share_a_state() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path(), "b");
    let error = State::open(directory.path(), "b").unwrap_err().to_string();
    assert!(error.contains("used by another jaga"), "{error}");
}

#[test]
fn the_seed_is_drawn_once() {
    let directory = tempfile::tempdir().unwrap();
    let seed = open(directory.path(), "b").seed().unwrap();
    assert_eq!(open(directory.path(), "c").seed().unwrap(), seed);
    let other = tempfile::tempdir().unwrap();
    assert_ne!(open(other.path(), "b").seed().unwrap(), seed);
}

#[test]
fn others_read_beside_the_running_agent() {
    let directory = tempfile::tempdir().unwrap();
    let mut state = open(directory.path(), "b");
    let writer = Arc::new(directory.path().join("jaga.db"));
    put(&mut state, &[firing("1")]);
    let reader = Connection::open(writer.as_path()).unwrap();
    let mut statement = reader.prepare("SELECT alert FROM outbox").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    put(&mut state, &[firing("2")]);
}
