//! `jaga run`: watches this host.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FOUND;

/// Arguments of `jaga run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(_args: &Args) -> ExitCode {
    eprintln!("jaga: 'run' is not built yet");
    ExitCode::from(FOUND)
}
