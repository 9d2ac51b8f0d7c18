//! `jaga demo`: a leak on this machine, in a sandbox, from first read to alert.

use std::process::ExitCode;

use super::FOUND;
use crate::demo;

/// Arguments of `jaga demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How fast the copy leaves, MB/s.
    #[arg(long, value_name = "MB/S", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let shown = match demo::why_not_live() {
        None => demo::live(args.rate),
        Some(why) => {
            eprintln!("jaga: no live demo: {why}. Here is a recorded one instead.");
            demo::recorded()
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("jaga: the demo failed: {trouble}");
            ExitCode::from(FOUND)
        }
    }
}
