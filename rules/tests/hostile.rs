//! Hostile input: whatever is done to a good file, it is read or refused, never a panic and never for long.

use jaga_rules::event::{RuleText, Setup};
use jaga_rules::scenario::Player;
use jaga_rules::{compile, config, rule};
use proptest::collection::vec;
use proptest::prelude::*;

const CONFIG: &str = include_str!("files/config/design.yaml");
const RULES: &str = include_str!("files/rules/design.yaml");
const VERBS: &str = include_str!("files/events/verbs.yaml");

/// What is put into a file: what YAML, globs and numbers trip over.
const SCRAPS: [&str; 24] = [
    "\n",
    "  ",
    "\t",
    ":",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    ">",
    "&a ",
    "*a",
    "!!",
    "---\n",
    "#",
    "%",
    "\0",
    "99999999999999999999",
    "-1",
    "ü",
    "\u{feff}",
];

/// Cuts a piece out of a text and puts a scrap, or another piece, in its place.
fn mutated(text: &str, edits: &[(usize, usize, usize)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (at, length, scrap) in edits {
        let start = at % (letters.len() + 1);
        let end = (start + length).min(letters.len());
        let piece: Vec<char> = match SCRAPS.get(*scrap) {
            Some(scrap) => scrap.chars().collect(),
            None => letters[scrap % (start + 1)..start].to_vec(),
        };
        letters.splice(start..end, piece);
    }
    letters.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    vec((any::<usize>(), 0_usize..12, 0_usize..40), 1..6)
}

proptest! {
    #[test]
    fn mutated_files_are_read_or_refused(edits in edits()) {
        let setup = Setup {
            config: mutated(CONFIG, &edits),
            rules: vec![RuleText { file: "a.yaml".into(), text: mutated(RULES, &edits) }],
        };
        if let Err(problems) = compile(&setup) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|problem| !problem.help.is_empty()));
        }
    }

    #[test]
    fn mutated_scenarios_are_refused_or_play_in_order(edits in edits()) {
        for test in rule::parse("a.yaml", &mutated(VERBS, &edits)).iter().flat_map(|file| &file.tests) {
            let stamps: Vec<_> = Player::new(&test.given).take(20_000).map(|event| event.at).collect();
            prop_assert!(stamps.is_sorted());
        }
    }

    #[test]
    fn anything_is_read_or_refused(text in any::<String>()) {
        let _ = (config::parse("a", &text), rule::parse("b", &text));
    }
}

#[test]
fn enormous_files_end_soon() {
    for piece in [
        "a: \n",
        "- ",
        "[",
        "{a: ",
        "? ",
        "&a *a ",
        "---\n",
        "x",
        "\"\\u0000\"\n",
        "- a\n",
    ] {
        let text = piece.repeat(400_000);
        let refused = config::parse("a", &text).is_err() || rule::parse("b", &text).is_err();
        assert!(refused || piece == "---\n", "{piece:?} was read");
    }
}
