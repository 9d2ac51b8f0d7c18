//! The shipped rules keep what the tests inside them promise: each fires when it must, and is quiet when it must be.
//!
//! `JAGA_BLESS=1 cargo test -p jaga-rules --test packs` writes what the engine says into the packs; read the difference.

use std::fs;
use std::path::Path;

use jaga_rules::event::Setup;
use jaga_rules::pack::{PACKS, with_own};
use jaga_rules::scenario::{Failure, check};
use jaga_rules::{compile, rule};

#[test]
fn packs_do_what_their_tests_say() {
    let mut failed = Vec::new();
    for (file, text) in PACKS {
        let read = rule::parse(file, text).unwrap_or_else(|problems| panic!("{problems}"));
        let results: Vec<_> = read
            .tests
            .iter()
            .map(|test| check(file, text, test))
            .collect();
        #[expect(clippy::disallowed_methods, reason = "the switch that refreshes")]
        if std::env::var("JAGA_BLESS").is_ok() {
            bless(file, &results);
        }
        for (test, result) in read.tests.iter().zip(results) {
            if let Err(failure) = result {
                failed.push(format!("{file}: {}: {}\n{failure}", test.rule, test.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_shipped_rule_is_shown_firing_and_quiet() {
    for (file, text) in PACKS {
        let read = rule::parse(file, text).unwrap_or_else(|problems| panic!("{problems}"));
        for rule in &read.rules {
            let tests: Vec<_> = read
                .tests
                .iter()
                .filter(|test| test.rule == rule.name)
                .collect();
            let quiet = tests
                .iter()
                .filter(|test| test.expect.text.trim().is_empty())
                .count();
            assert!(quiet > 0, "{}: no test shows it quiet", rule.name);
            assert!(
                tests.len() > quiet,
                "{}: no test shows it firing",
                rule.name
            );
            assert!(
                !rule.advice.is_empty(),
                "{}: it says nothing of what to do",
                rule.name
            );
            for test in tests {
                let said_quiet = test.name.starts_with("quiet ");
                let is_quiet = test.expect.text.trim().is_empty();
                assert_eq!(said_quiet, is_quiet, "{}: {}", rule.name, test.name);
            }
        }
    }
}

#[test]
fn packs_are_understood_together() {
    let setup = Setup {
        config: String::new(),
        rules: with_own(Vec::new()),
    };
    if let Err(problems) = compile(&setup) {
        panic!("{problems}");
    }
}

/// Every pack in the folder is in the table, and the other way round.
#[test]
#[expect(clippy::disallowed_methods, reason = "walks the packs")]
fn every_file_is_shipped() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut table: Vec<&str> = PACKS.iter().map(|(file, _)| *file).collect();
    table.sort_unstable();
    assert_eq!(files, table);
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packs")
}

/// Writes what was said in place of what was expected, test by test in file order.
#[expect(clippy::disallowed_methods, reason = "refreshes the packs")]
fn bless(file: &str, results: &[Result<(), Failure>]) {
    let path = folder().join(file);
    let text = fs::read_to_string(&path).unwrap();
    let mut results = results.iter();
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let inside =
            |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
        match line
            .trim_start()
            .starts_with("expect:")
            .then(|| results.next())
            .flatten()
        {
            Some(Err(Failure::Differs { said, .. })) => {
                while lines.next_if(inside).is_some() {}
                out += &" ".repeat(indent);
                out += if said.is_empty() {
                    "expect: \"\"\n"
                } else {
                    "expect: |\n"
                };
                said.lines()
                    .for_each(|said| out += &format!("{}{said}\n", " ".repeat(indent + 2)));
            }
            Some(Ok(()) | Err(Failure::Problems(_))) | None => {
                out += line;
                out.push('\n');
            }
        }
    }
    fs::write(path, out).unwrap();
}
