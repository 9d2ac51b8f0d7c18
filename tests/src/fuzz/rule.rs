//! A rule file with its tests inside: read or refused with places that exist, and its tests play in order of time.

use jaga_rules::compile;
use jaga_rules::event::{RuleText, Setup};
use jaga_rules::rule::parse;
use jaga_rules::scenario::Player;

use super::config::told;

/// Events of a test that are looked at.
const EVENTS: usize = 5_000;

/// The file.
pub fn run(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let file = match parse("a.yaml", &text) {
        Ok(file) => file,
        Err(problems) => return told(&problems, &text),
    };
    for test in &file.tests {
        let stamps: Vec<_> = Player::new(&test.given)
            .take(EVENTS)
            .map(|event| event.at)
            .collect();
        assert!(stamps.is_sorted(), "{}", test.given_text);
    }
    let setup = Setup {
        config: String::new(),
        rules: vec![RuleText {
            file: "a.yaml".to_owned(),
            text: text.clone().into_owned(),
        }],
    };
    if let Err(problems) = compile(&setup) {
        told(&problems, &text);
    }
}
