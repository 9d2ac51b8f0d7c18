//! Gives every fuzz target every file of its corpus: what once broke a parser, or reaches a corner of it, stays tried.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jaga_tests::fuzz::{TARGETS, Target};

/// All corpora together, bytes: they are cloned with the code. `tests/fuzz.sh keep` adds only what reaches new code.
const SIZE_AT_MOST: u64 = 1 << 20;

/// No input may take longer; the fuzzer calls a hang what takes ten seconds.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn every_target_stands_its_corpus() {
    let failed: Vec<String> = thread::scope(|scope| {
        let replays = TARGETS.map(|target| scope.spawn(move || replay(target)));
        replays
            .into_iter()
            .flat_map(|replay| replay.join().expect("failures are caught one by one"))
            .collect()
    });
    assert!(
        failed.is_empty(),
        "what each said stands above; see one alone with `cargo run -p jaga-tests --bin jaga-fuzz -- TARGET FILE`:\n{}",
        failed.join("\n")
    );
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let folders: BTreeSet<String> = fs::read_dir(corpus())
        .expect("tests/corpus is there")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let targets: BTreeSet<String> = TARGETS.map(|target| target.name.to_owned()).into();
    assert_eq!(folders, targets);
    for target in targets {
        assert!(!files(&target).is_empty(), "tests/corpus/{target} is empty");
    }
}

#[test]
fn the_corpus_stays_small() {
    let sizes = TARGETS.map(|target| {
        files(target.name)
            .iter()
            .map(|file| fs::metadata(file).unwrap().len())
            .sum::<u64>()
    });
    let all: u64 = sizes.iter().sum();
    assert!(
        all <= SIZE_AT_MOST,
        "tests/corpus has {all} bytes, of {SIZE_AT_MOST}: {:?}",
        TARGETS
            .map(|target| target.name)
            .iter()
            .zip(sizes)
            .collect::<Vec<_>>()
    );
}

/// The files that the target does not stand, or not in time.
fn replay(target: Target) -> Vec<String> {
    files(target.name)
        .into_iter()
        .filter_map(|file| {
            let input = fs::read(&file).unwrap();
            let start = Instant::now();
            let held = catch_unwind(|| (target.run)(&input)).is_ok();
            let took = start.elapsed();
            let wrong = if held {
                "took too long with"
            } else {
                "fails with"
            };
            (!held || took > PATIENCE)
                .then(|| format!("{} {wrong} {} ({took:.1?})", target.name, file.display()))
        })
        .collect()
}

/// Every file of a target's folder, in order.
fn files(target: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus().join(target))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
