//! `jaga demo`: a leak on this machine, in a sandbox, from first read to alert.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FOUND;

/// Arguments of `jaga demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to work in; none = a throw-away one.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
}

/// Runs it.
#[must_use]
pub fn main(_args: &Args) -> ExitCode {
    eprintln!("jaga: 'demo' is not built yet");
    ExitCode::from(FOUND)
}
