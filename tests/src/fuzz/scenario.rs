//! Lines of the scenario language: read or refused with a place, and what is read plays in order of time.

use std::fmt::Write;

use super::rule;

/// A rule that may have tests.
const RULE: &str = "rule: a\ntitle: a\nseverity: info\nby: [store]\nlimits: [{ exposed-bytes: 1 GB in 1h }]\n\
    tests:\n  - name: a\n    expect: |\n      1s firing a store=ekg\n    given: |\n";

/// The lines.
pub fn run(lines: &[u8]) {
    let mut text = RULE.to_owned();
    for line in String::from_utf8_lossy(lines).lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "      {line}");
    }
    rule::run(text.as_bytes());
}
