//! What is under a contract, to the byte: amounts, days, hours, and a clock that was set.

use super::*;
use crate::units::{DAY, HOUR};

const AMOUNTS: &str = "
stores:
  - { name: ekg, paths: [/srv/muse], records: { per-file: 1 } }
contracts:
  - { name: small, who: { unit: backup.service }, to: 203.0.113.0/24, owner: it, at-most: [1000 B per 1d, 2500 B per 3d] }
  - { name: large, who: { unit: backup.service }, to: 203.0.113.77, owner: it, at-most: 5000 B per 1d Asia/Jakarta }
";

/// Monday, 2026-11-23, 08:00 UTC, when CLOCK_BOOTTIME is 0.
const MORNING: i64 = 1_795_420_800 * SECOND;

fn with(config: &str) -> Engine {
    let setup = Setup {
        config: config.to_owned(),
        ..setup()
    };
    let mut engine = Engine::new(7, &setup).unwrap_or_else(|problems| panic!("{problems}"));
    let clock = Event::Clock {
        wall_offset: MORNING,
    };
    run(
        &mut engine,
        &[(0, clock), (0, known(9)), (0, read(9, 1, 1 << 30))],
    );
    engine
}

/// Bytes under each contract, and outside.
fn told(engine: &Engine) -> (Vec<u64>, u64) {
    let now = engine.snapshot();
    let contracts = now.contracts.iter().map(|contract| contract.sent_bytes);
    let external = now
        .sent_bytes
        .iter()
        .find(|(scope, _)| *scope == Scope::External);
    (contracts.collect(), external.map_or(0, |(_, bytes)| *bytes))
}

#[track_caller]
fn check(engine: &mut Engine, sends: &[(i64, &str, u64)], contracts: &[u64], external: u64) {
    let events: Vec<_> = sends
        .iter()
        .map(|(at, to, bytes)| (*at, sent(9, to, *bytes)))
        .collect();
    run(engine, &events);
    assert_eq!(told(engine), (contracts.to_vec(), external));
}

#[test]
fn the_first_byte_over_the_amount_is_under_the_next_contract_or_none() {
    let mut engine = with(AMOUNTS);
    check(&mut engine, &[(1, "203.0.113.9:443", 999)], &[999, 0], 0);
    check(&mut engine, &[(2, "203.0.113.9:443", 11)], &[1000, 0], 10);
    check(
        &mut engine,
        &[(3, "203.0.113.77:443", 4_000)],
        &[1000, 4_000],
        10,
    );
    check(
        &mut engine,
        &[(4, "203.0.113.77:443", 1_500)],
        &[1000, 5_000],
        510,
    );
    let left: Vec<_> = engine
        .snapshot()
        .contracts
        .iter()
        .map(|contract| (contract.limit_bytes, contract.left_bytes))
        .collect();
    assert_eq!(left, [(Some(1_000), Some(0)), (Some(5_000), Some(0))]);
}

#[test]
fn one_send_is_shared_out_to_the_byte() {
    let mut engine = with(AMOUNTS);
    check(
        &mut engine,
        &[(1, "203.0.113.77:443", 7_000)],
        &[1_000, 5_000],
        1_000,
    );
}

#[test]
fn days_are_those_of_the_time_zone_and_the_longest_amount_counts_as_well() {
    let mut engine = with(AMOUNTS);
    // 08:00 UTC is 15:00 in Jakarta: its midnight comes first.
    let jakarta = 9 * HOUR;
    check(
        &mut engine,
        &[(1, "203.0.113.77:443", 6_000)],
        &[1_000, 5_000],
        0,
    );
    check(
        &mut engine,
        &[(jakarta - 1, "203.0.113.77:443", 1)],
        &[1_000, 5_000],
        1,
    );
    check(
        &mut engine,
        &[(jakarta, "203.0.113.77:443", 1)],
        &[1_000, 5_001],
        1,
    );
    let next = 16 * HOUR;
    check(
        &mut engine,
        &[(next, "203.0.113.9:443", 1_001)],
        &[2_000, 5_001],
        2,
    );
    // 2,500 in three days, of which 2,000 are gone.
    check(
        &mut engine,
        &[(next + DAY, "203.0.113.9:443", 1_000)],
        &[2_500, 5_001],
        502,
    );
    check(
        &mut engine,
        &[(next + 2 * DAY, "203.0.113.9:443", 1_000)],
        &[3_500, 5_001],
        502,
    );
}

#[test]
fn the_night_is_one_day_and_the_next_night_another() {
    let mut engine = with(
        "
stores:
  - { name: ekg, paths: [/srv/muse], records: { per-file: 1 } }
contracts:
  - { name: night, who: { unit: backup.service }, to: 203.0.113.9, owner: it, when: 22:00-05:00 UTC, at-most: 1000 B per 1d }
",
    );
    let at = |hour: i64| (hour - 8) * HOUR;
    check(&mut engine, &[(at(21), "203.0.113.9:443", 100)], &[0], 100);
    check(
        &mut engine,
        &[(at(22), "203.0.113.9:443", 600)],
        &[600],
        100,
    );
    check(
        &mut engine,
        &[(at(28), "203.0.113.9:443", 600)],
        &[1_000],
        300,
    );
    check(
        &mut engine,
        &[(at(29), "203.0.113.9:443", 600)],
        &[1_000],
        900,
    );
    check(
        &mut engine,
        &[(at(46), "203.0.113.9:443", 600)],
        &[1_600],
        900,
    );
}

#[test]
fn what_is_spent_stays_spent_over_a_restart() {
    let mut engine = with(AMOUNTS);
    check(
        &mut engine,
        &[(1, "203.0.113.77:443", 5_900)],
        &[1_000, 4_900],
        0,
    );
    let rows = engine.take_rows();
    let mut later = with(AMOUNTS);
    let restores: Vec<_> = rows
        .into_iter()
        .map(|row| (2, Event::Restore(Restore { row, shift: 0 })))
        .collect();
    run(&mut later, &restores);
    check(&mut later, &[(3, "203.0.113.77:443", 200)], &[0, 100], 100);
}

#[test]
fn a_clock_that_was_set_begins_no_new_day() {
    let mut engine = with(AMOUNTS);
    check(
        &mut engine,
        &[(1, "203.0.113.77:443", 6_000)],
        &[1_000, 5_000],
        0,
    );
    let set = Event::Clock {
        wall_offset: MORNING + 40 * DAY,
    };
    run(&mut engine, &[(2, set)]);
    check(
        &mut engine,
        &[(3, "203.0.113.77:443", 6_000)],
        &[1_000, 5_000],
        6_000,
    );
}

#[test]
fn a_clock_that_was_set_while_nobody_watched_is_seen_at_the_next_start() {
    let hours = "
stores:
  - { name: ekg, paths: [/srv/muse], records: { per-file: 1 } }
contracts:
  - { name: day, who: { unit: backup.service }, to: 203.0.113.9, owner: it, when: 00:00-24:00 UTC }
";
    let mut engine = with(hours);
    check(&mut engine, &[(1, "203.0.113.9:443", 10)], &[10], 0);
    let setup = Setup {
        config: hours.to_owned(),
        ..setup()
    };
    let cases = [(MORNING + HOUR, 0), (MORNING, 10)];
    for (clock_first, (wall_offset, contract)) in [true, false]
        .into_iter()
        .flat_map(|first| cases.map(|case| (first, case)))
    {
        let mut later = Engine::new(7, &setup).unwrap();
        let row = engine.clock_row();
        let mut events = vec![
            (2, Event::Clock { wall_offset }),
            (2, Event::Restore(Restore { row, shift: 0 })),
        ];
        if !clock_first {
            events.reverse();
        }
        events.push((2, known(9)));
        run(&mut later, &events);
        let wall = later.wall_clock().map(|wall| wall.time.as_nanosecond());
        assert_eq!(wall, Some(i128::from(wall_offset + 2)));
        let kept = later.clock_row();
        assert!(
            kept.body
                .is_some_and(|body| body.contains("null") == (contract > 0))
        );
        check(
            &mut later,
            &[(3, "203.0.113.9:443", 10)],
            &[contract],
            10 - contract,
        );
    }
}

#[test]
fn an_alert_names_the_contract_that_does_not_hold() {
    let mut engine = with(AMOUNTS);
    let out = run(&mut engine, &[(1, sent(9, "203.0.113.9:443", 3_000))]);
    assert_eq!(
        out[0].evidence.contract.as_deref(),
        Some("small is used up")
    );
    assert!(
        out[0]
            .summary
            .contains("; contract small is used up; limit"),
        "{}",
        out[0].summary
    );
}
