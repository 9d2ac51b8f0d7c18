//! Runs a scenario through the engine, and compares what it says with what was expected.

use std::fmt;
use std::fmt::Write;

use super::play::START;
use super::{Player, RuleTest, Scenario};
use crate::engine::Engine;
use crate::event::{Event, RuleText, Setup, Stamp, Stamped};
use crate::output::{Output, Transition};
use crate::problem::Problems;
use crate::units::Span;

/// Why a test failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It could not be run.
    Problems(Problems),
    /// The engine said something else.
    Differs {
        /// What the engine said, in the form of `expect`.
        said: String,
        /// Line by line: `-` expected and not said, `+` said and not expected.
        diff: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(out),
            Self::Differs { diff, .. } => out.write_str(diff),
        }
    }
}

impl std::error::Error for Failure {}

/// The seed of every test: alert ids are the same each time.
const SEED: u64 = 1;
/// Wake-ups after the last event. Enough for every window, label and alert of a scenario to end.
const WAKES: usize = 1_000_000;

/// Runs a test of the rule file `text`; only what its own rule says counts.
///
/// # Errors
/// The file's problems, or the difference from what was expected.
pub fn check(file: &str, text: &str, test: &RuleTest) -> Result<(), Failure> {
    let rules = vec![RuleText {
        file: file.to_owned(),
        text: text.to_owned(),
    }];
    let setup = Setup {
        config: test.config.clone(),
        rules,
    };
    let mut said = run(&setup, &test.given).map_err(Failure::Problems)?;
    said.retain(|transition| transition.rule == test.rule);
    let said = render(&said);
    let (expected, got) = (lines(&test.expect.text), lines(&said));
    if expected == got {
        return Ok(());
    }
    Err(Failure::Differs {
        diff: diff(&expected, &got, &said),
        said,
    })
}

/// Runs a scenario to its end and on until nothing is due.
///
/// # Errors
/// The set-up's problems.
pub fn run(setup: &Setup, scenario: &Scenario) -> Result<Vec<Transition>, Problems> {
    run_seeded(setup, scenario, 0)
}

/// The same, with other chances for each seed.
///
/// # Errors
/// The set-up's problems.
pub fn run_seeded(
    setup: &Setup,
    scenario: &Scenario,
    seed: u64,
) -> Result<Vec<Transition>, Problems> {
    let mut engine = Engine::new(SEED, setup)?;
    let mut output = Output::default();
    for event in Player::seeded(scenario, seed) {
        wake(&mut engine, event.at, &mut output, WAKES);
        engine.step(&event, &mut output);
    }
    wake(&mut engine, Stamp(i64::MAX), &mut output, WAKES);
    Ok(output.transitions)
}

/// Wakes the engine at each of its deadlines before `until`, as the run loop does.
fn wake(engine: &mut Engine, until: Stamp, output: &mut Output, most: usize) {
    for _ in 0..most {
        match engine.next_deadline() {
            Some(at) if at < until => engine.step(
                &Stamped {
                    at,
                    event: Event::Wake,
                },
                output,
            ),
            Some(_) | None => return,
        }
    }
}

/// Transitions in the form of `expect`: `1m05s firing   store-data-leaves store=ekg session=login:alice`, with
/// `size=10` where an alert is raised.
#[must_use]
pub fn render(transitions: &[Transition]) -> String {
    let times: Vec<String> = transitions
        .iter()
        .map(|transition| time(transition.at))
        .collect();
    let width = times.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (transition, time) in transitions.iter().zip(times) {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{time:width$} {:8} {}",
            transition.state, transition.rule
        );
        for (field, value) in &transition.key {
            let _ = write!(text, " {field}={value}");
        }
        if transition.size > 1 {
            let _ = write!(text, " size={}", transition.size);
        }
        text.push('\n');
    }
    text
}

/// Since the scenario's start, cut to milliseconds.
fn time(at: Stamp) -> String {
    const MILLI: i64 = 1_000_000;
    Span(at.since(START) / MILLI * MILLI).to_string()
}

/// Lines that say something, with single spaces: columns are for the eye.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or(line))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect()
}

/// Lines shown of a difference.
const DIFF_LIMIT: usize = 200;

/// The difference line by line (longest common subsequence); what was said is shown in its own columns.
fn diff(expected: &[String], got: &[String], said: &str) -> String {
    let shown: Vec<&str> = said.lines().collect();
    let (expected, got) = (
        &expected[..expected.len().min(DIFF_LIMIT)],
        &got[..got.len().min(DIFF_LIMIT)],
    );
    let mut common = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
    for left in (0..expected.len()).rev() {
        for right in (0..got.len()).rev() {
            common[left][right] = if expected[left] == got[right] {
                common[left + 1][right + 1] + 1
            } else {
                common[left + 1][right].max(common[left][right + 1])
            };
        }
    }
    let (mut left, mut right, mut text) = (0, 0, String::new());
    while left < expected.len() || right < got.len() {
        let same = left < expected.len() && right < got.len() && expected[left] == got[right];
        let drop = right == got.len()
            || (left < expected.len() && common[left + 1][right] >= common[left][right + 1]);
        let (sign, line) = match (same, drop) {
            (true, _) => (' ', shown[right]),
            (false, true) => ('-', expected[left].as_str()),
            (false, false) => ('+', shown[right]),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{sign} {line}");
        left += usize::from(same || drop);
        right += usize::from(same || !drop);
    }
    text
}
