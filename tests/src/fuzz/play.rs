//! A tape through the engine: whatever the events say, the same tape gives the same transitions, and in order.

use jaga::replay::Player;
use jaga::tape::Tape;
use jaga_rules::event::{RuleText, Setup, Stamped};
use jaga_rules::output::Transition;
use jaga_rules::pack;

/// Events that are played; a longer tape shows nothing that a shorter one does not.
const EVENTS: usize = 2_000;

/// How long the silence after a tape is: longer than the longest shipped window, nanoseconds.
const SILENCE: i64 = 40 * 24 * 3_600 * 1_000_000_000;

/// A tape without its header: the setup is always the same.
pub fn run(lines: &[u8]) {
    let setup = setup();
    let header = jaga::tape::Header {
        format: jaga::tape::FORMAT,
        seed: 1,
        setup: Setup::default(),
    };
    let header = serde_json::to_vec(&header).unwrap();
    let tape = [header.as_slice(), b"\n", lines].concat();
    let events: Vec<Stamped> = Tape::open(tape.as_slice())
        .expect("the header is ours")
        .take(EVENTS)
        .collect();
    let told = play(&setup, &events);
    assert!(told.is_sorted_by_key(|transition| transition.at));
    // Most inputs tell nothing; building a second engine for them would be half of the time.
    if !told.is_empty() {
        assert_eq!(told, play(&setup, &events), "two plays differ");
    }
}

fn play(setup: &Setup, events: &[Stamped]) -> Vec<Transition> {
    let mut told = Vec::new();
    let mut player = Player::new(1, setup, |transition| told.push(transition.clone()))
        .expect("the shipped rules are good");
    for event in events {
        player.play(event);
    }
    player.run_on(SILENCE);
    drop(player);
    told
}

/// The shipped rules over the stores of the scenario language. Without the tests inside: they cost most of the time.
fn setup() -> Setup {
    let rule = |(file, text): &(&str, &str)| RuleText {
        file: (*file).to_owned(),
        text: text.split("\ntests:").next().unwrap_or_default().to_owned(),
    };
    Setup {
        config: jaga_rules::scenario::CONFIG.to_owned(),
        rules: pack::PACKS.iter().map(rule).collect(),
    }
}
