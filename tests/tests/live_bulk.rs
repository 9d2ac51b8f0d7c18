//! A hundred thousand files copied out while a busy server goes on beside it: nothing may be missed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

use jaga::tape::Tape;
use jaga_rules::event::Event;
use jaga_tests::process::{Running, Unit};
use jaga_tests::program;
use jaga_tests::wait::until;
use jaga_tests::world::World;

const FILES: u64 = 100_000;
const BYTES: u64 = 100_000;

/// Files without blocks: 10 GB that are read for real, through the page cache, and need no room on the disk. GNU tar
/// skips holes only if it is told to (`--sparse`).
fn fill(store: &Path) {
    for index in 0..FILES {
        let folder = store.join((index / 1000).to_string());
        if index % 1000 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        File::create(folder.join(index.to_string()))
            .unwrap()
            .set_len(BYTES)
            .unwrap();
    }
}

#[test]
fn a_hundred_thousand_files_among_noise_are_all_told() {
    let Some(world) = World::new("a_hundred_thousand_files_among_noise_are_all_told") else {
        return;
    };
    let (store, elsewhere) = (world.path("lab"), world.path("elsewhere"));
    fill(&store);
    let mut agent = world.agent(&[("lab", &store)], "");
    let log = world.folder().join("noise");
    let mut command = Command::new(program::beside("jaga-truth"));
    let noise = command
        .arg("noise")
        .arg(&elsewhere)
        .stdout(File::create(&log).unwrap());
    let (mut noise, end) = Running::start_spoken_to(noise);
    let said = || fs::read_to_string(&log).unwrap();
    until("the noise to be ready", 10, || {
        said().contains("ready\n").then_some(())
    });

    let unit = Unit::new("jagat-bulk.service");
    let script = format!("tar cf - -C {} . | cat >/dev/null", store.display());
    unit.run(&script, 300);

    drop(end);
    assert!(noise.wait(60).success());
    let rounds: u64 = said().trim_start_matches("ready\n").trim().parse().unwrap();
    assert!(rounds > 64, "{rounds} rounds are no noise");
    let metric = |name: &str, labels: &[(&str, &str)]| agent.metric(name, labels);
    agent.metric_reaches(
        "jaga_store_read_files_total",
        &[("store", "lab")],
        FILES as f64,
    );
    for sensor in ["files", "processes"] {
        assert_eq!(
            metric("jaga_sensor_lost_events_total", &[("sensor", sensor)]),
            Some(0.0),
            "{sensor}"
        );
    }
    agent.stop();
    let (files, bytes) = told(&agent.folder().join("tape"));
    eprintln!("   {files} files, {bytes} B, beside {rounds} rounds of noise");
    assert_eq!((files, bytes), (FILES, FILES * BYTES));
}

/// Files and bytes of the store that the tape has, by `tar`.
fn told(tape: &Path) -> (u64, u64) {
    let tape = Tape::open(BufReader::new(File::open(tape).unwrap())).unwrap();
    let (mut files, mut bytes) = (BTreeSet::new(), 0);
    let mut programs = BTreeMap::new();
    for stamped in tape {
        match stamped.event {
            Event::Exec(exec) => drop(programs.insert(exec.actor, exec.exe)),
            Event::Read(read) if read.store.is_some() => {
                let exe = programs.get(&read.actor);
                assert!(
                    exe.is_some_and(|exe| exe.ends_with("/tar")),
                    "{exe:?} read the store"
                );
                files.insert(read.file);
                bytes += read.bytes;
            }
            Event::Gap(gap) => assert_eq!(gap.events, 0, "{gap:?}"),
            _ => {}
        }
    }
    (files.len() as u64, bytes)
}
