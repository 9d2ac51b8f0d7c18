//! `jaga test`: runs the tests inside rule files.

use std::path::PathBuf;
use std::process::ExitCode;

use super::FOUND;

/// Arguments of `jaga test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files or directories of them; none = the shipped packs and the rules directory.
    #[arg(value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(_args: &Args) -> ExitCode {
    eprintln!("jaga: 'test' is not built yet");
    ExitCode::from(FOUND)
}
