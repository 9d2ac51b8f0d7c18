//! `jaga replay`: the same engine over recorded input in virtual time.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;

use ipnet::IpNet;
use jaga_rules::config::{self, Config, Records, Store};
use jaga_rules::event::{Name, SECOND, Setup, Stamped};
use jaga_rules::output::Transition;
use jaga_rules::pack;
use jiff::Timestamp;

use super::{FOUND, USAGE};
use crate::replay::Player;
use crate::sensor::pcap::recording::{FileReport, Recording, Summary};
use crate::sensor::pcap::vantage::Vantage;
use crate::setup::{Trouble, config_text, own_rules, rule_files};
use crate::tape::Tape;

/// Seed of the engine for captures: the same capture gives the same alert ids.
const SEED: u64 = 0x6a61_6761;

/// How long the engine runs on in silence after a capture, so that what fired can be resolved. Longer than any quiet.
const RUN_ON: i64 = 24 * 3600 * SECOND;

/// Batches between the thread that reads and the engine.
const BATCHES: usize = 16;

/// Arguments of `jaga replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
    /// Captures, pcap or pcapng, in order of time.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "tape", required_unless_present = "tape")]
    pub pcap: Vec<PathBuf>,
    /// A tape that `jaga run` recorded; it brings its own configuration and rules.
    #[arg(long, value_name = "FILE")]
    pub tape: Option<PathBuf>,
    /// Networks whose hosts count as the sender's own; else `internal` of the configuration.
    #[arg(long, value_name = "NET", num_args = 1..)]
    pub local: Vec<IpNet>,
    /// Directory of rule files beside the shipped packs; else the one of the configuration.
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// One transition a line on standard output, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let played = match &args.tape {
        Some(file) => play_tape(file, args),
        None => play_captures(args),
    };
    match played {
        Ok(status) => status,
        Err(Refused(status, trouble)) => {
            eprintln!("jaga: {}", trouble.trim_end());
            ExitCode::from(status)
        }
    }
}

/// What keeps a replay from starting, and the exit status for it.
struct Refused(u8, String);

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.status(), trouble.to_string())
    }
}

impl Refused {
    /// A file that is wrong.
    fn wrong(file: &Path, trouble: impl Display) -> Self {
        Self(FOUND, format!("'{}': {trouble}", file.display()))
    }

    /// A file that is not there, or not for us.
    fn unreadable(file: &Path, error: io::Error) -> Self {
        Self(USAGE, format!("cannot read '{}': {error}", file.display()))
    }
}

fn play_tape(file: &Path, args: &Args) -> Result<ExitCode, Refused> {
    let opened = File::open(file).map_err(|error| Refused::unreadable(file, error))?;
    let mut tape =
        Tape::open(BufReader::new(opened)).map_err(|trouble| Refused::wrong(file, trouble))?;
    let header = tape.header().clone();
    let mut player = Player::new(header.seed, &header.setup, teller(args.json))
        .map_err(|problems| Refused::wrong(file, problems))?;
    for event in tape.by_ref() {
        player.play(&event);
    }
    if let Some(trouble) = tape.trouble() {
        eprintln!("jaga: '{}': {trouble}", file.display());
        return Ok(ExitCode::from(FOUND));
    }
    Ok(ExitCode::SUCCESS)
}

fn play_captures(args: &Args) -> Result<ExitCode, Refused> {
    let (setup, config) = setup(args)?;
    let internal = Vantage::new(&config.internal);
    let vantage = if args.local.is_empty() {
        internal.clone()
    } else {
        Vantage::new(&args.local)
    };
    let mut player = Player::new(SEED, &setup, teller(args.json))
        .map_err(|problems| Refused(FOUND, problems.to_string()))?;
    let (reports, summary) = thread::scope(|scope| {
        let (feed, batches) = sync_channel::<Vec<Stamped>>(BATCHES);
        let reader = scope.spawn(move || {
            let mut recording = Recording::new(vantage, internal);
            let mut sink = |batch| feed.send(batch).is_ok();
            let read = |file: &PathBuf| recording.read(file, &mut sink);
            let reports: Vec<FileReport> = args.pcap.iter().map(read).collect();
            (reports, recording.finish(&mut sink))
        });
        for event in batches.into_iter().flatten() {
            player.play(&event);
        }
        reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    player.run_on(RUN_ON);
    Ok(conclude(&reports, &summary))
}

/// Says on standard error what was read and what was not. The status is 2 if nothing was, 1 if something was not.
fn conclude(reports: &[FileReport], summary: &Summary) -> ExitCode {
    for report in reports {
        let file = report.file.display();
        match &report.trouble {
            Some(trouble) => eprintln!("jaga: '{file}': {trouble}"),
            None if report.packets == 0 => {
                eprintln!("jaga: '{file}': holds no packet; capture again, or give another file");
            }
            None => {}
        }
    }
    if reports.iter().all(|report| report.packets == 0) {
        return ExitCode::from(USAGE);
    }
    let frames = summary.frames;
    eprintln!(
        "jaga: {} packets over {} s: {} sent by local hosts ({} bytes of payload, {} flows), {} to them, {} between \
         others, {} without IP, {} unreadable",
        frames.all,
        summary.length / SECOND,
        frames.outbound,
        summary.flows.bytes,
        summary.flows.flows,
        frames.inbound,
        frames.foreign,
        frames.not_ip,
        frames.unreadable,
    );
    if frames.foreign > 0 && frames.outbound == 0 {
        eprintln!(
            "jaga: no packet was sent by a local host; say which hosts are local with --local NET"
        );
    }
    if reports.iter().any(|report| report.trouble.is_some()) {
        return ExitCode::from(FOUND);
    }
    ExitCode::SUCCESS
}

fn teller(json: bool) -> impl FnMut(&Transition) {
    let mut out = BufWriter::new(io::stdout());
    move |transition| {
        let line = if json {
            transition.to_line()
        } else {
            readable(transition)
        };
        // A reader that went away (`| head`) is no fault of the replay.
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        if written.is_err() {
            std::process::exit(0);
        }
    }
}

/// One line for a human: time, state, severity, rule, and the sentence of the alert.
fn readable(transition: &Transition) -> String {
    let at = Timestamp::from_millisecond(transition.wall.div_euclid(1_000_000)).unwrap_or_default();
    format!(
        "{at:.3}  {:8}  {:8}  {}: {}",
        transition.state.to_string(),
        transition.severity.to_string(),
        transition.rule,
        transition.summary
    )
}

/// All that decides, and the configuration in it.
fn setup(args: &Args) -> Result<(Setup, Config), Refused> {
    let text = config_text(&args.config)?;
    let file = args.config.display().to_string();
    let parse = |text: &str| {
        config::parse(&file, text).map_err(|problems| Refused(FOUND, problems.to_string()))
    };
    let config = parse(&text)?;
    let text = if config.agent.discover {
        config::with_stores(&text, &stand_ins(&config))
    } else {
        text
    };
    let rules = match &args.rules {
        Some(path) => rule_files(path)?,
        None => own_rules(&config.agent.rules)?,
    };
    let config = parse(&text)?;
    let setup = Setup {
        config: text,
        rules: pack::with_own(rules),
    };
    Ok((setup, config))
}

/// A recording has no files to discover stores among: every local host is taken to have data to protect, in a store
/// `recording`, and in those that `serves` names.
fn stand_ins(config: &Config) -> Vec<Store> {
    let served = config.serves.iter().map(|serves| serves.store.clone());
    let names: BTreeSet<Name> = served.chain(["recording".into()]).collect();
    names
        .into_iter()
        .map(|name| Store {
            paths: vec![Path::new("/recording").join(&*name)],
            from: Vec::new(),
            name,
            records: Records::PerFile(1.0),
            guessed: true,
        })
        .collect()
}
