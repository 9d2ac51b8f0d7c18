//! A capture file, pcap or pcapng: told in order, every booked byte is told, and where it breaks there is a gap.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use jaga::sensor::pcap::recording::{BATCH_LIMIT, Recording};
use jaga_rules::event::{Event, Stamped};

use super::meter::{printable, told, vantage};

/// The file.
pub fn run(file: &[u8]) {
    let (_open, path) = in_memory(file);
    let mut recording = Recording::new(vantage(), vantage());
    let mut stamped: Vec<Stamped> = Vec::new();
    let mut sink = |batch: Vec<Stamped>| {
        assert!(!batch.is_empty() && batch.len() <= BATCH_LIMIT);
        stamped.extend(batch);
        true
    };
    let report = recording.read(&path, &mut sink);
    let summary = recording.finish(&mut sink);
    assert!(stamped.is_sorted_by_key(|event| event.at));
    assert_eq!(report.packets, summary.frames.all);
    assert!(
        report.packets <= file.len() as u64,
        "packets out of nothing"
    );
    let is_gap = |event: &Stamped| matches!(event.event, Event::Gap(_));
    if let Some(trouble) = &report.trouble {
        // Before the first packet there was no time in which something could have been missed: the report tells it.
        let told = report.packets == 0 || stamped.iter().any(is_gap);
        assert!(told, "silent about {trouble}");
        assert!(!trouble.to_string().is_empty());
    }
    let events: Vec<Event> = stamped.into_iter().map(|stamped| stamped.event).collect();
    assert_eq!(summary.flows.bytes, told(&events), "booked and told differ");
    events.iter().for_each(printable);
}

/// A file that is on no disk, while the first is held.
fn in_memory(bytes: &[u8]) -> (std::fs::File, PathBuf) {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    let fd = nix::sys::memfd::memfd_create("capture", flags).expect("memory for a file");
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).expect("memory takes a file");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}
