//! What is held, and that it is conserved.

use super::*;
use crate::event::SECOND;
use proptest::prelude::*;

const EKG: NameId = NameId(7);

fn file(inode: u64) -> FileId {
    FileId {
        fs: 1,
        inode,
        generation: 0,
    }
}

fn channel(inode: u64) -> FileId {
    FileId {
        fs: FileId::CHANNEL,
        ..file(inode)
    }
}

/// A file or a channel.
fn place(number: u32) -> FileId {
    let inode = 100 + u64::from(number);
    if number.is_multiple_of(2) {
        file(inode)
    } else {
        channel(inode)
    }
}

fn of(inode: u64, bytes: u64, size: u64) -> Read {
    let actor = Actor { pid: 3, start: 3 };
    Read {
        actor,
        file: file(inode),
        store: None,
        bytes,
        size,
        estimated: false,
        below: false,
    }
}

fn reader(holdings: &mut Holdings, key: RunKey, inode: u64, bytes: u64) -> u32 {
    let slot = holdings.open(&key, NameId(2));
    let read = of(inode, bytes, bytes);
    holdings.read(slot, EKG, &read, Stamp(0), |taken| taken.files as f64);
    slot
}

#[test]
fn reading_twice_is_holding_once() {
    let mut holdings = Holdings::new(1);
    let slot = reader(&mut holdings, RunKey::Audit(1), 5, 100);
    reader(&mut holdings, RunKey::Audit(1), 5, 100);
    assert_eq!(holdings.run(slot).held[0].contents.total().bytes, 100);
}

#[test]
fn a_clone_holds_what_its_original_holds_once() {
    let mut holdings = Holdings::new(1);
    let amount = Amount {
        bytes: 100,
        files: 1.0,
        records: 1.0,
    };
    holdings.left_store(EKG, file(1), amount, Stamp(0));
    for _ in 0..2 {
        holdings.shared(file(1), file(2), 100, Stamp(1));
    }
    let (reader, session) = (RunKey::Audit(1), NameId(2));
    let slot = holdings.read_file(&reader, session, file(2), 1000, Stamp(2));
    assert_eq!(holdings.held_of(slot.unwrap(), EKG), amount);
    assert_eq!(holdings.shared(file(3), file(4), 100, Stamp(3)), None);
}

#[test]
fn exposure_stops_at_twice_what_is_held_per_scope() {
    let mut holdings = Holdings::new(1);
    let slot = reader(&mut holdings, RunKey::Audit(1), 5, 100);
    let sent: u64 = (0..5)
        .flat_map(|n| holdings.expose(slot, Scope::Internal, 90, Stamp(n), &[]))
        .map(|e| e.bytes)
        .sum();
    assert_eq!(sent, 200);
    assert_eq!(
        holdings.expose(slot, Scope::External, 90, Stamp(9), &[])[0].bytes,
        90
    );
    let served = [(EKG, 10.0)];
    assert_eq!(
        holdings.expose(slot, Scope::Internal, 900, Stamp(9), &served)[0].bytes,
        900
    );
}

#[test]
fn everything_expires() {
    let mut holdings = Holdings::new(1);
    let slot = reader(&mut holdings, RunKey::Audit(1), 5, 100);
    holdings.write(Some(slot), &[], file(9), 50, Stamp(0));
    holdings.expose(slot, Scope::External, 90, Stamp(0), &[]);
    assert_eq!(holdings.sizes(), (1, 1, 1));
    let mut at = Stamp(0);
    while let Some(next) = holdings.expire_run(slot, at) {
        at = next;
    }
    assert!(at.0 <= 27 * 3600 * SECOND, "{at:?}");
    holdings.labels.expire(0, Stamp(LABEL_LIFE));
    assert_eq!(holdings.sizes(), (0, 0, 0));
}

#[test]
fn what_is_taken_out_of_a_channel_is_taken_once() {
    let mut holdings = Holdings::new(1);
    let slot = reader(&mut holdings, RunKey::Audit(1), 5, 100);
    holdings.write(Some(slot), &[], channel(9), 60, Stamp(0));
    let mut held_after = |key: u32, bytes: u64| {
        let key = RunKey::Audit(key);
        holdings.read_file(&key, NameId(3), channel(9), bytes, Stamp(1));
        let slot = holdings.find(&key);
        slot.map_or(0, |slot| holdings.held_of(slot, EKG).bytes)
    };
    assert_eq!(held_after(2, 50), 50);
    assert_eq!(held_after(3, 50), 10);
    assert_eq!(held_after(3, 50), 10);
    assert_eq!(holdings.labels.len(), 0);
}

#[test]
fn what_nobody_takes_out_of_a_channel_is_forgotten() {
    let mut holdings = Holdings::new(1);
    let slot = reader(&mut holdings, RunKey::Audit(1), 5, 100);
    holdings.write(Some(slot), &[], channel(9), 60, Stamp(0));
    assert!(holdings.labels.changed.is_empty(), "it is no row");
    assert_eq!(holdings.labels.expire(0, Stamp(3600 * SECOND)), None);
    assert_eq!(holdings.labels.len(), 0);
}

#[test]
fn who_takes_from_a_service_holds_what_it_took_whatever_the_service_read() {
    let mut holdings = Holdings::new(1);
    let serves = [(EKG, 10.0)];
    for (inode, place) in [(1, channel(1)), (2, channel(2)), (3, file(3)), (4, file(4))] {
        holdings.write(None, &serves, place, 500, Stamp(0));
        let key = RunKey::Audit(inode);
        holdings.read_file(&key, NameId(3), place, 400, Stamp(1));
        let held = holdings.held_of(holdings.find(&key).unwrap(), EKG);
        assert_eq!((held.bytes, held.records), (400, 40.0), "{place:?}");
    }
    // Two connections, two dumps: two times the data.
    for place in [channel(5), file(6)] {
        holdings.write(None, &serves, place, 500, Stamp(2));
        holdings.read_file(&RunKey::Audit(1), NameId(3), place, 500, Stamp(3));
    }
    let slot = holdings.find(&RunKey::Audit(1)).unwrap();
    assert_eq!(holdings.held_of(slot, EKG).bytes, 1400);
}

#[test]
fn what_a_service_writes_is_not_added_to_what_a_session_had_read() {
    let mut holdings = Holdings::new(1);
    let slot = reader(&mut holdings, RunKey::Audit(1), 5, 100);
    holdings.write(Some(slot), &[], file(9), 100, Stamp(0));
    holdings.write(None, &[(EKG, 10.0)], file(9), 500, Stamp(0));
    // The session has all that it read already: of its own file it takes what the service put in.
    holdings.read_file(&RunKey::Audit(1), NameId(2), file(9), 600, Stamp(1));
    assert_eq!(holdings.held_of(slot, EKG).bytes, 600);
    let again = holdings.read_file(&RunKey::Audit(1), NameId(2), file(9), 600, Stamp(2));
    assert_eq!((again, holdings.held_of(slot, EKG).bytes), (None, 600));
}

proptest! {
    /// I13: whatever is passed around, no run and no file holds more than was read in all.
    #[test]
    fn held_data_is_conserved(steps in prop::collection::vec((0u8..4, 0u32..30, 0u32..30, 1u64..3000), 1..300)) {
        let mut holdings = Holdings::new(1);
        let mut read = 0;
        for (index, (what, a, b, bytes)) in steps.into_iter().enumerate() {
            let at = Stamp(index as i64 * SECOND);
            let (key, other) = (RunKey::Audit(a), RunKey::Audit(b));
            let slot = holdings.open(&key, NameId(2));
            match what {
                0 => read += holdings.read(slot, EKG, &of(u64::from(b), bytes, 1000), at, |t| t.files as f64).bytes,
                1 => drop(holdings.write(Some(slot), &[], place(b), bytes, at)),
                2 => drop(holdings.read_file(&key, NameId(2), place(b), bytes, at)),
                _ if a != b => drop(holdings.pass(slot, &other, NameId(3), bytes, at)),
                _ => {}
            }
            for (_, run) in holdings.runs() {
                for held in &run.held {
                    prop_assert!(held.contents.total().bytes <= read, "{run:?} holds more than {read}");
                }
            }
            for label in holdings.labels.all() {
                for (_, contents) in &label.contents {
                    prop_assert!(contents.total().bytes <= read, "{label:?} holds more than {read}");
                }
            }
        }
    }
}
