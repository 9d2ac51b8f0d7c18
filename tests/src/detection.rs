//! What is caught, and how much had left by then: leaks beside a day of a hospital, and whole months of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jaga_rules::config::{self, Config};
use jaga_rules::event::{Event, Fact, SECOND, Setup, Stamp};
use jaga_rules::output::{AlertState, Transition};
use jaga_rules::pack;
use jaga_rules::rule::Severity;
use jaga_rules::scenario::{Act, Line, Player, Scenario, run_seeded};
use jaga_rules::units::{Bytes, DAY, HOUR, Span};

use crate::program;
use crate::table::aligned;

/// Leaks begin two hours into the background: on Monday at 10:00.
const LEAK_BEGINS: i64 = 2 * HOUR;

/// Columns of the table of leaks.
const COLUMNS: usize = 7;

/// Heads of the table of leaks.
const HEADS: [&str; COLUMNS] = [
    "leak",
    "left, bytes",
    "records",
    "of the store",
    "after",
    "rule",
    "severity",
];

/// The whole table: a row for each leak, and what was said in a month with each of these seeds.
///
/// # Panics
/// If a leak or the month cannot be read, or the rules cannot be compiled.
#[must_use]
pub fn table(seeds: Range<u64>) -> String {
    let hospital = Hospital::read();
    let leaks = hospital.leaks();
    let rows = side_by_side(&leaks, |leak| hospital.row(leak));
    let seeds: Vec<u64> = seeds.collect();
    let months = side_by_side(&seeds, |seed| hospital.month(*seed));
    let mut text = HEAD.to_owned();
    let heads = HEADS.map(str::to_owned);
    text += &aligned(&[vec![heads], rows].concat());
    text += "\n";
    let heads = ["month", "alerts"].map(str::to_owned);
    let months = seeds.iter().zip(&months).map(|(seed, counts)| {
        let said: Vec<String> = counts
            .iter()
            .rev()
            .map(|((severity, rule), count)| format!("{count} {severity} {rule}"))
            .collect();
        [format!("seed {seed}"), said.join(", ")]
    });
    text += &aligned(&[heads].into_iter().chain(months).collect::<Vec<_>>());
    text
}

const HEAD: &str = "\
# How much had left when the first alert of at least a warning fired, for each leak, beside a Monday of a hospital; and what
# is said in a month of that hospital without a leak. Bytes are those on the line; records and share are of what they hold.
# Made by tests/tests/detection.rs from tests/hospital; JAGA_BLESS=1 writes it anew.
";

/// Does each on one of the processors; in order.
fn side_by_side<T: Sync, U: Send>(all: &[T], work: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let next = AtomicUsize::new(0);
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let one = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = all.get(place) else {
                return done;
            };
            done.push((place, work(item)));
        }
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(one)).collect();
        let done = workers.into_iter().map(|worker| worker.join());
        done.flat_map(|done| done.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, done)| done).collect()
}

/// The hospital: its configuration, and its month.
#[derive(Debug)]
pub struct Hospital {
    setup: Setup,
    config: Config,
    month: Scenario,
}

/// Somebody takes a store.
#[derive(Debug)]
pub struct Leak {
    title: String,
    store: String,
    /// Bytes of the store for each of its records.
    record_bytes: u64,
    /// Bytes of the store in each byte that leaves.
    packed: u64,
    scenario: Scenario,
}

/// What was said of a leak, and what had left until then.
#[derive(Debug)]
struct Caught {
    bytes: u64,
    records: u64,
    /// Of the store.
    share: f64,
    /// Since its first byte left, nanoseconds.
    after: i64,
    by: Option<(String, Severity)>,
}

fn folder() -> PathBuf {
    program::root().join("tests/hospital")
}

impl Hospital {
    /// The one in `tests/hospital`, with the shipped rules.
    ///
    /// # Panics
    /// If it cannot be read: with the place and the next step.
    #[must_use]
    pub fn read() -> Self {
        let text = fs::read_to_string(folder().join("jaga.yaml")).expect("it is there");
        let config = config::parse("jaga.yaml", &text).unwrap_or_else(|wrong| panic!("{wrong}"));
        let month = read(&folder().join("month.txt"), &config).1;
        let setup = Setup {
            config: text,
            rules: pack::with_own(Vec::new()),
        };
        Self {
            setup,
            config,
            month,
        }
    }

    /// The leaks in `tests/hospital/leaks`, by file name.
    ///
    /// # Panics
    /// If one cannot be read.
    #[must_use]
    pub fn leaks(&self) -> Vec<Leak> {
        let files = fs::read_dir(folder().join("leaks")).expect("it is there");
        let mut files: Vec<PathBuf> = files.map(|file| file.expect("listed").path()).collect();
        files.sort();
        files.iter().map(|file| leak(file, &self.config)).collect()
    }

    /// A leak's row of the table.
    ///
    /// # Panics
    /// If the rules cannot be compiled.
    #[must_use]
    pub fn row(&self, leak: &Leak) -> [String; COLUMNS] {
        let mut lines = until(&self.month, DAY);
        lines.extend(later(&leak.scenario, LEAK_BEGINS));
        let told = self.play(&Scenario { lines }, 0);
        let caught = self.caught(leak, &told);
        let (rule, severity) = match caught.by {
            Some((rule, severity)) => (rule, severity.to_string()),
            None => ("not caught".to_owned(), String::new()),
        };
        [
            leak.title.clone(),
            Bytes(caught.bytes).to_string(),
            caught.records.to_string(),
            format!("{:.2} %", caught.share * 100.0),
            Span(caught.after / SECOND * SECOND).to_string(),
            rule,
            severity,
        ]
    }

    /// Alerts that fired in a month, by rule, with the severity of each.
    ///
    /// # Panics
    /// If the rules cannot be compiled.
    #[must_use]
    pub fn month(&self, seed: u64) -> BTreeMap<(Severity, String), u64> {
        let mut counts = BTreeMap::new();
        for told in self
            .play(&self.month, seed)
            .iter()
            .filter(|told| is_new(told))
        {
            let rule = (told.severity, told.rule.to_string());
            *counts.entry(rule).or_default() += 1;
        }
        counts
    }

    fn play(&self, scenario: &Scenario, seed: u64) -> Vec<Transition> {
        run_seeded(&self.setup, scenario, seed).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// The first that wakes somebody counts.
    fn caught(&self, leak: &Leak, told: &[Transition]) -> Caught {
        let first = told
            .iter()
            .find(|told| is_new(told) && told.severity > Severity::Info);
        let end = first.map_or(Stamp(i64::MAX), |told| told.at);
        let lines = later(&leak.scenario, LEAK_BEGINS);
        let alone = Scenario { lines };
        let mut media = BTreeSet::new();
        let sent: Vec<(Stamp, u64)> = Player::new(&alone)
            .filter_map(|stamped| match stamped.event {
                Event::Sent(sent) => Some((stamped.at, sent.bytes)),
                Event::Fact(Fact::Medium { fs, .. }) => {
                    media.insert(fs);
                    None
                }
                Event::Wrote(wrote) if media.contains(&wrote.file.fs) => {
                    Some((stamped.at, wrote.bytes))
                }
                _ => None,
            })
            .collect();
        let gone = sent.iter().take_while(|(at, _)| *at <= end);
        let bytes: u64 = gone.map(|(_, bytes)| bytes).sum();
        let taken = bytes * leak.packed;
        let (start, last) = (sent[0].0, sent[sent.len() - 1].0);
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let share = taken as f64 / self.size(&leak.store) as f64;
        Caught {
            bytes,
            records: taken / leak.record_bytes,
            share,
            // It may come before anything has left.
            after: end.min(last).since(start).max(0),
            by: first.map(|told| (told.rule.to_string(), told.severity)),
        }
    }

    /// Bytes in a store, as the month says at its start.
    fn size(&self, name: &str) -> u64 {
        let acts = self.month.lines.iter().map(|line| &line.act);
        let mut sizes = acts.filter_map(|act| match act {
            Act::Size { store, bytes, .. } if **store == *name => Some(*bytes),
            _ => None,
        });
        sizes.next().expect("the month says what each store holds")
    }
}

fn is_new(told: &Transition) -> bool {
    told.state == AlertState::Firing && told.size == 1
}

/// A scenario's text and what it says.
fn read(file: &Path, config: &Config) -> (String, Scenario) {
    let text = fs::read_to_string(file).expect("it is there");
    let scenario = Scenario::read(&file.display().to_string(), &text, config);
    let scenario = scenario.unwrap_or_else(|wrong| panic!("{wrong}"));
    (text, scenario)
}

/// A leak begins with two lines of comment: its title, and `takes STORE, SIZE a record, packed N:1`.
fn leak(file: &Path, config: &Config) -> Leak {
    let (text, scenario) = read(file, config);
    let mut lines = text.lines().map(|line| line.trim_start_matches("# "));
    let title = lines.next().unwrap_or_default().to_owned();
    let mut takes = || {
        let mut words = lines.next()?.strip_prefix("takes ")?.split(", ");
        let store = words.next()?.to_owned();
        let Bytes(record_bytes) = words.next()?.strip_suffix(" a record")?.parse().ok()?;
        let packed = words.next()?.strip_prefix("packed ")?;
        let packed = packed.strip_suffix(":1")?.parse().ok()?;
        Some((store, record_bytes, packed))
    };
    let (store, record_bytes, packed) = takes().unwrap_or_else(|| {
        panic!(
            "{}: write as its second line '# takes STORE, SIZE a record, packed N:1'",
            file.display()
        )
    });
    Leak {
        title,
        store,
        record_bytes,
        packed,
        scenario,
    }
}

/// What begins before `end`, nanoseconds from the start.
fn until(scenario: &Scenario, end: i64) -> Vec<Line> {
    let lines = scenario.lines.iter().filter(|line| line.at < end);
    let cut = lines.cloned().map(|line| {
        let room = (end - line.at - 1).checked_div(line.every).unwrap_or(0);
        let times = u32::try_from(room + 1).unwrap_or(u32::MAX);
        Line {
            times: line.times.min(times),
            ..line
        }
    });
    cut.collect()
}

fn later(scenario: &Scenario, by: i64) -> Vec<Line> {
    let lines = scenario.lines.iter().cloned();
    let moved = lines.map(|line| Line {
        at: line.at + by,
        ..line
    });
    moved.collect()
}
