//! Golden files: what is said of each configuration and rule file in `files/`, word for word.
//!
//! `JAGA_BLESS=1 cargo test -p jaga-rules --test files` writes the expected text anew; read the difference.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use jaga_rules::problem::Problems;
use jaga_rules::scenario::{Player, RuleTest};
use jaga_rules::{config, rule};

#[test]
fn configurations() {
    walk("config", |file, text| {
        said(config::parse(file, text), |config| {
            plain(&format!("{config:#?}\n"))
        })
    });
}

#[test]
fn rule_files() {
    walk("rules", |file, text| {
        said(rule::parse(file, text), |read| {
            plain(&format!("{:#?}\n", read.rules))
        })
    });
}

#[test]
fn events_of_scenarios() {
    walk("events", |file, text| {
        said(rule::parse(file, text), |read| {
            read.tests.iter().map(events).collect()
        })
    });
}

fn events(test: &RuleTest) -> String {
    let lines = Player::new(&test.given).map(|event| serde_json::to_string(&event).unwrap() + "\n");
    lines.collect()
}

fn said<T: Debug>(result: Result<T, Problems>, show: impl Fn(&T) -> String) -> String {
    match result {
        Ok(value) => show(&value),
        Err(problems) => problems.to_string(),
    }
}

/// Without the compiled form of globs, which is long and belongs to another crate.
fn plain(debug: &str) -> String {
    let mut text = String::new();
    let mut inside: Option<usize> = None;
    for line in debug.lines() {
        let indent = line.len() - line.trim_start().len();
        match inside {
            Some(outer) if indent > outer && !line.trim_start().starts_with("glob: \"") => continue,
            Some(outer) if indent == outer => inside = None,
            Some(_) => {}
            None if line.ends_with("GlobMatcher {") => inside = Some(indent),
            None => {}
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// Compares what `say` makes of each `.yaml` of a folder with the `.txt` beside it.
#[expect(clippy::disallowed_methods, reason = "walks fixtures")]
fn walk(folder: &str, say: impl Fn(&str, &str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/files")
        .join(folder);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    names.sort();
    assert!(!names.is_empty());
    for path in names {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        check(&path.with_extension("txt"), &say(&name, &text));
    }
}

#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "compares with a fixture, or refreshes it"
)]
fn check(expected: &Path, said: &str) {
    if std::env::var("JAGA_BLESS").is_ok() {
        fs::write(expected, said).unwrap();
    }
    let wanted = fs::read_to_string(expected).unwrap_or_default();
    assert!(
        wanted == said,
        "{}: expected\n{wanted}\nbut it is\n{said}",
        expected.display()
    );
}
