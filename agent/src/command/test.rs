//! `jaga test`: runs the tests inside rule files.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use jaga_rules::event::RuleText;
use jaga_rules::rule;
use jaga_rules::scenario::check;

use super::FOUND;
use crate::setup::{self, Trouble};

/// Arguments of `jaga test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files or directories of them; none = the shipped packs and the rules directory.
    #[arg(value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let files = match files(args) {
        Ok(files) => files,
        Err(trouble) => {
            eprintln!("jaga: {trouble}");
            return ExitCode::from(trouble.status());
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let told = test(file);
        print!("{}", told.text);
        passed += told.passed;
        failed += told.failed;
    }
    println!("{passed} passed, {failed} failed");
    if passed + failed == 0 {
        eprintln!(
            "jaga: nothing was tested: no rule in {} files has tests; write them under `tests:` in its file",
            files.len()
        );
        return ExitCode::from(FOUND);
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    }
}

fn files(args: &Args) -> Result<Vec<RuleText>, Trouble> {
    if args.paths.is_empty() {
        return setup::rule_texts(&args.config);
    }
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(setup::rule_files(path)?);
    }
    Ok(files)
}

/// What is said of one file.
#[derive(Debug, Default)]
struct Told {
    text: String,
    passed: usize,
    failed: usize,
}

/// A file that cannot be read counts as one failed test: none of its own can be run.
fn test(file: &RuleText) -> Told {
    let mut told = Told::default();
    let read = match rule::parse(&file.file, &file.text) {
        Ok(read) => read,
        Err(problems) => {
            told.failed = 1;
            told.text = format!("FAILED  {}\n{problems}\n", file.file);
            return told;
        }
    };
    for test in &read.tests {
        // Writing to a String cannot fail.
        let _ = match check(&file.file, &file.text, test) {
            Ok(()) => {
                told.passed += 1;
                writeln!(told.text, "ok      {}: {}", test.rule, test.name)
            }
            Err(failure) => {
                told.failed += 1;
                let failure = failure.to_string().replace('\n', "\n        ");
                writeln!(
                    told.text,
                    "FAILED  {}: {}\n        {}",
                    test.rule,
                    test.name,
                    failure.trim_end()
                )
            }
        };
    }
    let untested = read
        .rules
        .iter()
        .filter(|rule| !read.tests.iter().any(|test| test.rule == rule.name));
    for rule in untested {
        let _ = writeln!(told.text, "        {}: no tests", rule.name);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "\
rule: any-byte
title: anything leaves
severity: info
by: [session]
limits: [{ sent-bytes: 1 KB in 1m }]
tests:
  - name: right
    given: |
      at 0s session login:alice sends 203.0.113.9:443 1 KB
    expect: |
      0s firing any-byte session=login:alice
      15m resolved any-byte session=login:alice
  - name: wrong
    given: |
      at 0s session login:alice sends 203.0.113.9:443 1 KB
    expect: |
      1s firing any-byte session=login:alice
      15m resolved any-byte session=login:alice
---
rule: untested
title: nobody tested it
severity: info
by: [session]
limits: [{ sent-bytes: 1 KB in 1m }]
";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = test(&RuleText {
            file: "a.yaml".into(),
            text: text.into(),
        });
        assert_eq!(told.text, expected);
    }

    #[test]
    fn each_test_is_told_with_its_difference() {
        check(
            RULE,
            "\
ok      any-byte: right
FAILED  any-byte: wrong
        - 1s firing any-byte session=login:alice
        + 0s  firing   any-byte session=login:alice
          15m resolved any-byte session=login:alice
        untested: no tests
",
        );
    }

    #[test]
    fn a_file_with_problems_failed() {
        check(
            "rule: a\n",
            "\
FAILED  a.yaml
error: a rule needs 'title'
 --> a.yaml:1:1
  |
1 | rule: a
  | ^
  |
  = help: add 'title: …' here

error: a rule needs 'severity'
 --> a.yaml:1:1
  |
1 | rule: a
  | ^
  |
  = help: add 'severity: …' here

error: a rule needs 'by'
 --> a.yaml:1:1
  |
1 | rule: a
  | ^
  |
  = help: add 'by: …' here

error: a rule needs 'limits'
 --> a.yaml:1:1
  |
1 | rule: a
  | ^
  |
  = help: add 'limits: …' here

",
        );
    }
}
