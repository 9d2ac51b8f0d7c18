//! DICOM titles in contracts and rules.

use super::*;
use crate::event::{Dicom, Flow, Protocol};

const TITLES: &str = "
stores:
  - { name: ekg, paths: [/srv/muse], records: { per-file: 1 } }
contracts:
  - { name: archive, who: { unit: backup.service, ae-title: PACS1 }, to: 203.0.113.0/24, to-ae: [ARCHIVE], owner: it }
";

fn dicom(calling: &str, called: &str) -> Event {
    Event::Fact(Fact::Dicom(Dicom {
        flow: Flow {
            protocol: Protocol::Tcp,
            local: "10.0.0.5:0".parse().unwrap(),
            remote: "203.0.113.9:443".parse().unwrap(),
            opener: Opener::Local,
        },
        calling: calling.into(),
        called: called.into(),
        stores: 0,
        gets: 0,
        moves: Vec::new(),
    }))
}

/// Bytes under the contract after each of these, of 1,000 bytes sent behind it.
#[track_caller]
fn check(heard: &[(i64, Option<(&str, &str)>)], expected: &[u64]) {
    let setup = Setup {
        config: TITLES.to_owned(),
        ..setup()
    };
    let mut engine = Engine::new(7, &setup).unwrap_or_else(|problems| panic!("{problems}"));
    let start = Event::Clock { wall_offset: 0 };
    run(&mut engine, &[(0, start), (0, known(9))]);
    let mut under = Vec::new();
    for (at, titles) in heard {
        let heard = titles.map(|(calling, called)| (*at, dicom(calling, called)));
        let send = (*at, sent(9, "203.0.113.9:443", 1_000));
        let events: Vec<_> = heard.into_iter().chain([send]).collect();
        run(&mut engine, &events);
        under.push(engine.snapshot().contracts[0].sent_bytes);
    }
    assert_eq!(under, expected);
}

#[test]
fn a_contract_with_titles_needs_them_heard() {
    let ours = Some(("PACS1", "ARCHIVE"));
    check(&[(1, None), (2, ours), (3, None)], &[0, 1_000, 2_000]);
    check(&[(1, Some(("PACS1", "ROGUE")))], &[0]);
    check(&[(1, Some(("OTHER", "ARCHIVE")))], &[0]);
    check(&[(1, Some(("", "")))], &[0]);
}

#[test]
fn one_other_title_takes_an_hour_of_it() {
    let (ours, rogue) = (Some(("PACS1", "ARCHIVE")), Some(("PACS1", "ROGUE")));
    let heard = [
        (1, ours),
        (2, rogue),
        (3, ours),
        (crate::units::HOUR + 3, ours),
    ];
    check(&heard, &[1_000, 1_000, 1_000, 2_000]);
}
