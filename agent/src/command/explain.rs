//! `jaga explain`: what a rule, a measure, a metric or an alert is, an example, and what to do.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FOUND;

/// Arguments of `jaga explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a rule, a measure, a metric or an alert.
    #[arg(value_name = "RULE|MEASURE|METRIC|ALERT")]
    pub name: String,
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(_args: &Args) -> ExitCode {
    eprintln!("jaga: 'explain' is not built yet");
    ExitCode::from(FOUND)
}
