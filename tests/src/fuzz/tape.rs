//! A tape: what is read can be recorded and reads back the same; what cannot be read ends it with one gap.

use jaga::tape::{Recorder, Tape};
use jaga_rules::event::{Event, Stamped};

/// The tape.
pub fn run(bytes: &[u8]) {
    let mut tape = match Tape::open(bytes) {
        Ok(tape) => tape,
        Err(trouble) => return assert!(!trouble.to_string().is_empty()),
    };
    let events: Vec<Stamped> = tape.by_ref().collect();
    if let Some(trouble) = tape.trouble() {
        let last = events.last().map(|stamped| &stamped.event);
        assert!(
            matches!(last, Some(Event::Gap(_))),
            "silent about {trouble}"
        );
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(events.len() <= lines + 1, "events out of nothing");
    let header = tape.header();
    let mut copy = Vec::new();
    let mut recorder = Recorder::start(&mut copy, header.seed, &header.setup).unwrap();
    for event in &events {
        recorder.write(event).unwrap();
    }
    recorder.flush().unwrap();
    drop(recorder);
    let mut again = Tape::open(copy.as_slice()).expect("a recorded tape opens");
    assert_eq!(again.header(), header);
    assert_eq!(again.by_ref().collect::<Vec<_>>(), events);
    assert_eq!(again.trouble(), None);
}
