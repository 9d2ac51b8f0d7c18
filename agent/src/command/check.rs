//! `jaga check`: says what will be seen on this host, what will not, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FOUND;

/// Arguments of `jaga check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(_args: &Args) -> ExitCode {
    eprintln!("jaga: 'check' is not built yet");
    ExitCode::from(FOUND)
}
