//! `jaga replay`: the same engine over recorded input in virtual time.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;

use ipnet::IpNet;
use jaga_rules::event::{RuleText, SECOND, Setup, Stamped};
use jaga_rules::output::Transition;
use jaga_rules::pack::PACKS;

use super::{FOUND, USAGE};
use crate::replay::Player;
use crate::sensor::pcap::recording::{FileReport, Recording, Summary};
use crate::sensor::pcap::vantage::Vantage;
use crate::tape::Tape;

/// Seed of the engine for captures: the same capture gives the same alert ids.
const SEED: u64 = 0x6a61_6761;

/// How long the engine runs on in silence after a capture, so that what fired can be resolved. Longer than any quiet.
const RUN_ON: i64 = 24 * 3600 * SECOND;

/// Batches between the thread that reads and the engine.
const BATCHES: usize = 16;

/// A recording has no configuration of its own host: every local host is taken to have data to protect.
const RECORDING_STORE: &str =
    "\nstores:\n  - { name: recording, paths: [/recording], records: { per-file: 1 } }\n";

/// Arguments of `jaga replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
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
        Err(trouble) => {
            eprintln!("jaga: {trouble}");
            ExitCode::from(USAGE)
        }
    }
}

/// What keeps a replay from starting.
type Refused = String;

fn play_tape(file: &Path, args: &Args) -> Result<ExitCode, Refused> {
    let named =
        |trouble: &dyn std::fmt::Display| format!("cannot replay '{}': {trouble}", file.display());
    let opened = File::open(file).map_err(|error| named(&error))?;
    let mut tape = Tape::open(BufReader::new(opened)).map_err(|trouble| named(&trouble))?;
    let header = tape.header().clone();
    let mut player = Player::new(header.seed, &header.setup, teller(args.json))
        .map_err(|problems| named(&problems))?;
    for event in tape.by_ref() {
        player.play(&event);
    }
    if let Some(trouble) = tape.trouble() {
        eprintln!("jaga: '{}': {trouble}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn play_captures(args: &Args) -> Result<ExitCode, Refused> {
    let setup = setup(args)?;
    let vantage = Vantage::new(&local(args));
    let mut player =
        Player::new(SEED, &setup, teller(args.json)).map_err(|problems| problems.to_string())?;
    let (reports, summary) = thread::scope(|scope| {
        let (feed, batches) = sync_channel::<Vec<Stamped>>(BATCHES);
        let reader = scope.spawn(move || {
            let mut recording = Recording::new(vantage);
            let mut sink = |batch| feed.send(batch).is_ok();
            let reports: Vec<FileReport> = args
                .pcap
                .iter()
                .map(|file| recording.read(file, &mut sink))
                .collect();
            (reports, recording.finish(&mut sink))
        });
        for event in batches.into_iter().flatten() {
            player.play(&event);
        }
        reader
            .join()
            .map_err(|_| "the reader of the captures failed".to_owned())
    })?;
    player.run_on(RUN_ON);
    drop(player);
    Ok(conclude(&reports, &summary))
}

/// Says on standard error what was read and what was not.
fn conclude(reports: &[FileReport], summary: &Summary) -> ExitCode {
    for report in reports {
        if let Some(trouble) = &report.trouble {
            eprintln!("jaga: '{}': {trouble}", report.file.display());
        }
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
    let nothing_read = reports.iter().all(|report| report.packets == 0);
    if nothing_read {
        eprintln!("jaga: no packet could be read");
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

fn readable(transition: &Transition) -> String {
    format!("{transition:?}")
}

fn local(args: &Args) -> Vec<IpNet> {
    if !args.local.is_empty() {
        return args.local.clone();
    }
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]
        .iter()
        .filter_map(|net| net.parse().ok())
        .collect()
}

fn setup(args: &Args) -> Result<Setup, Refused> {
    let mut rules: Vec<RuleText> = PACKS
        .iter()
        .map(|(file, text)| RuleText {
            file: (*file).to_owned(),
            text: (*text).to_owned(),
        })
        .collect();
    if let Some(directory) = &args.rules {
        rules.extend(rule_files(directory)?);
    }
    Ok(Setup {
        config: config(&args.config)?,
        rules,
    })
}

fn config(file: &Path) -> Result<String, Refused> {
    match fs::read_to_string(file) {
        Ok(text) if text.lines().any(|line| line.starts_with("stores:")) => Ok(text),
        Ok(text) => Ok(text + RECORDING_STORE),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && file == Path::new(super::CONFIG) =>
        {
            Ok(RECORDING_STORE.trim_start().to_owned())
        }
        Err(error) => Err(format!("cannot read '{}': {error}", file.display())),
    }
}

/// The rule files of a directory, by name.
fn rule_files(directory: &Path) -> Result<Vec<RuleText>, Refused> {
    let named =
        |file: &Path, error: io::Error| format!("cannot read '{}': {error}", file.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| named(directory, error))? {
        files.push(entry.map_err(|error| named(directory, error))?.path());
    }
    files.retain(|file| {
        file.extension()
            .is_some_and(|end| end == "yaml" || end == "yml")
    });
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).map_err(|error| named(file, error))?;
            Ok(RuleText {
                file: file.display().to_string(),
                text,
            })
        })
        .collect()
}
