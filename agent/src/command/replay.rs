//! `jaga replay`: the same engine over recorded input in virtual time.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ipnet::IpNet;
use jaga_rules::output::Transition;
use jiff::Timestamp;

use super::{FOUND, USAGE};
use crate::replay::Player;
use crate::setup::Trouble;
use crate::tape::Tape;

#[cfg(feature = "pcap")]
mod captures;

#[cfg(not(feature = "pcap"))]
mod captures {
    use super::*;

    pub(super) fn play(_: &Args) -> Result<ExitCode, Refused> {
        let why = "this program is built without the feature 'pcap': it plays tapes alone (--tape)";
        Err(Refused(USAGE, why.to_owned()))
    }
}

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
        None => captures::play(args),
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
