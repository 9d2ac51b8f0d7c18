//! `jaga replay`: the same engine over recorded input in virtual time.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FOUND;

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
    pub local: Vec<ipnet::IpNet>,
    /// Directory of rule files beside the shipped packs; else the one of the configuration.
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// One transition a line on standard output, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
#[must_use]
pub fn main(_args: &Args) -> ExitCode {
    eprintln!("jaga: 'replay' is not built yet");
    ExitCode::from(FOUND)
}
