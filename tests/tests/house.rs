//! The rules of the house that no compiler checks: dependencies, licences, file shape, promises in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What jaga-rules may depend on directly: parsing, arithmetic and tables. Nothing that opens, listens or asks the time.
const RULES_MAY_USE: &[&str] = &[
    "annotate-snippets",
    "bytesize",
    "datasketches",
    "foldhash",
    "globset",
    "governor",
    "hashbrown",
    "ipnet",
    "jiff",
    "psl",
    "serde",
    "serde-saphyr",
    "serde_json",
    "slab",
];

/// What jaga-rules may not reach, however indirectly: each of these touches the world.
const RULES_NEVER_REACH: &[&str] = &[
    "async-std",
    "axum",
    "getrandom",
    "hyper",
    "jaga",
    "libbpf-rs",
    "mio",
    "nix",
    "notify",
    "pcap",
    "procfs",
    "rand",
    "ring",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "tokio",
];

/// Licences that a hospital's lawyers have seen before. Anything else is a decision, taken here.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// A file above this holds more than one idea.
const LINES_AT_MOST: usize = 600;

#[test]
fn rules_depend_only_on_what_is_pure() {
    let metadata = metadata();
    let direct = packages(&metadata)
        .find(|package| package["name"] == "jaga-rules")
        .expect("jaga-rules is in the workspace");
    let uninvited: Vec<&str> = list(&direct["dependencies"])
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| text(&dependency["name"]))
        .filter(|name| !RULES_MAY_USE.contains(name))
        .collect();
    assert!(
        uninvited.is_empty(),
        "jaga-rules depends on {uninvited:?}; if that is pure, add it to RULES_MAY_USE with a sentence in the commit, \
         else do the work in agent/ and hand over an event"
    );
    let impure: Vec<String> = reached(&metadata, "jaga-rules")
        .into_iter()
        .filter(|name| RULES_NEVER_REACH.contains(&name.as_str()))
        .collect();
    assert!(
        impure.is_empty(),
        "jaga-rules reaches {impure:?}, which touch the world; see `cargo tree -p jaga-rules -i NAME`"
    );
}

#[test]
fn licences_are_known() {
    let metadata = metadata();
    let strange: Vec<String> = packages(&metadata)
        .filter(|package| !accepted(package["license"].as_str().unwrap_or("")))
        .map(|package| {
            format!(
                "{} {}: {}",
                text(&package["name"]),
                text(&package["version"]),
                package["license"]
            )
        })
        .collect();
    assert!(
        strange.is_empty(),
        "licences that nobody has accepted yet (LICENCES in tests/tests/house.rs):\n{}",
        strange.join("\n")
    );
}

#[test]
fn licence_expressions_are_understood() {
    for (expression, is_accepted) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("LGPL-2.1-only OR BSD-2-Clause", true),
        ("LGPL-2.1-only", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("(MIT AND GPL-3.0) OR GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("", false),
    ] {
        assert_eq!(accepted(expression), is_accepted, "{expression}");
    }
}

#[test]
fn files_hold_one_idea_and_say_which() {
    let mut wrong = Vec::new();
    for file in sources() {
        let content = fs::read_to_string(&file).unwrap();
        if !content.lines().next().is_some_and(is_sentence) {
            wrong.push(format!(
                "{}:1: the first line must say what the file is for: `//! …`",
                show(&file)
            ));
        }
        let lines = content.lines().count();
        if lines > LINES_AT_MOST {
            wrong.push(format!("{}: {lines} lines; above {LINES_AT_MOST} a file holds more than one idea: split it", show(&file)));
        }
        for (number, line) in content.lines().enumerate() {
            if let Some(word) = ["#[ignore", "todo!(", "unimplemented!("]
                .iter()
                .find(|word| line.trim_start().starts_with(**word))
            {
                wrong.push(format!(
                    "{}:{}: `{word}`: finish it or take it out",
                    show(&file),
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_one_file_of_the_agent_asks_the_time() {
    let asking: BTreeSet<String> = sources()
        .into_iter()
        .filter(|file| file.starts_with(root().join("agent/src")))
        .filter(|file| {
            let content = fs::read_to_string(file).unwrap();
            let code = content.split("#[cfg(test)]").next().unwrap_or("");
            [
                "SystemTime::now",
                "clock_gettime",
                "Timestamp::now",
                "Zoned::now",
            ]
            .iter()
            .any(|call| code.contains(call))
        })
        .map(|file| show(&file))
        .collect();
    assert!(
        asking.len() <= 1,
        "wall or boot time is read in {asking:?}; one file reads clocks (I1), the others are told"
    );
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let tests: BTreeSet<String> = sources()
        .iter()
        .flat_map(|file| test_names(&fs::read_to_string(file).unwrap()))
        .collect();
    let mut wrong = Vec::new();
    for number in 1..=13 {
        let Some(row) = page
            .lines()
            .find(|line| line.starts_with(&format!("| I{number} |")))
        else {
            wrong.push(format!("ARCHITECTURE.md has no row for I{number}"));
            continue;
        };
        let named = row.rsplit('|').nth(1).unwrap_or("");
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !named.contains("not yet") {
            wrong.push(format!("I{number} names no test"));
        }
        wrong.extend(
            names
                .iter()
                .filter(|name| !tests.contains(**name))
                .map(|name| format!("I{number}: no test `{name}`")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A Rust or C file's first line. In kernel files the licence tag must stand there.
fn is_sentence(line: &str) -> bool {
    line.contains("SPDX-License-Identifier")
        || ["//! ", "// ", "/* "].iter().any(|opening| {
            line.strip_prefix(opening)
                .is_some_and(|words| words.len() > 15)
        })
}

/// Names of functions that carry `#[test]` (or stand in a proptest block).
fn test_names(content: &str) -> Vec<String> {
    let lines: Vec<&str> = content.lines().map(str::trim).collect();
    lines
        .iter()
        .enumerate()
        .filter(|(index, _)| {
            lines[index.saturating_sub(4)..*index]
                .iter()
                .any(|line| line.starts_with("#[test]") || line.contains("::test"))
        })
        .filter_map(|(_, line)| line.trim_start_matches("async ").strip_prefix("fn "))
        .map(|rest| rest.split(['(', '<']).next().unwrap_or("").to_string())
        .collect()
}

/// What cargo knows of all packages, from the lock file alone.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(&metadata["packages"])
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// Names of all packages that `from` needs to run, itself included; not what it needs to build or to test.
fn reached(metadata: &Value, from: &str) -> BTreeSet<String> {
    let names: BTreeMap<&str, &str> = packages(metadata)
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .map(|node| (text(&node["id"]), node))
        .collect();
    let mut seen = BTreeSet::new();
    let mut left: Vec<&str> = names
        .iter()
        .filter(|(_, name)| **name == from)
        .map(|(id, _)| *id)
        .collect();
    while let Some(id) = left.pop() {
        if seen.insert(id) {
            left.extend(
                list(&nodes[id]["deps"])
                    .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                    .map(|dep| text(&dep["pkg"])),
            );
        }
    }
    seen.into_iter().map(|id| names[id].to_string()).collect()
}

/// Whether an SPDX expression leaves a way that is all in LICENCES. `/` is the old way to write OR.
fn accepted(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words) -> bool {
    let mut is_accepted = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        is_accepted |= all_of(words);
    }
    is_accepted
}

fn all_of(words: &mut Words) -> bool {
    let mut is_accepted = one(words);
    while words.next_if_eq(&"AND").is_some() {
        is_accepted &= one(words);
    }
    is_accepted
}

fn one(words: &mut Words) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_accepted = any_of(words);
        words.next();
        return is_accepted;
    }
    let mut name = words.next().unwrap_or("").to_string();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or(""));
    }
    LICENCES.contains(&name.as_str())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn show(file: &Path) -> String {
    file.strip_prefix(root())
        .unwrap_or(file)
        .display()
        .to_string()
}

/// Every file of Rust or C that is ours.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in ["agent", "rules", "tests"] {
        walk(&root().join(part), &mut found);
    }
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_data = ["target", "corpus", "testdata"]
            .iter()
            .any(|name| path.ends_with(name));
        if is_data {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if path
            .extension()
            .is_some_and(|ending| ["rs", "c", "h"].iter().any(|known| ending == *known))
        {
            found.push(path);
        }
    }
}
