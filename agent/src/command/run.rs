//! `jaga run`: watches this host.

use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::{FOUND, USAGE};
use crate::run;

/// Arguments of `jaga run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    log();
    // The state and the tape tell who read what: nobody else's to read, whatever the shell's own mask.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("jaga: cannot start: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match runtime.block_on(run::run(&args.config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("jaga: {trouble}");
            ExitCode::from(FOUND)
        }
    }
}

/// To standard error, `JAGA_LOG=debug` for more. The journal stamps lines itself.
fn log() {
    let filter = EnvFilter::try_from_env("JAGA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        format.without_time().with_ansi(false).init();
    } else {
        format
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
    }
}
