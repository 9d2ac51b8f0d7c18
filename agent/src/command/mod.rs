//! The command line: one file a subcommand, each with its arguments and its `main`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

pub mod allow;
pub mod check;
pub mod decoy;
pub mod demo;
pub mod explain;
pub mod learn;
pub mod replay;
pub mod run;
pub mod settle;
pub mod test;

/// Where the configuration is unless the user says otherwise.
pub const CONFIG: &str = "/etc/jaga/jaga.yaml";

/// Exit status 1: the command did its work and found something wrong. Wrong usage is 2, as clap has it.
pub const FOUND: u8 = 1;

/// Exit status 2: it could not do what was asked (wrong usage, a file that is not there).
pub const USAGE: u8 = 2;

/// Watches who reads the stores and what leaves this host, and says who took how much, and where it went.
#[derive(Debug, Parser)]
#[command(name = "jaga", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host.
    Run(run::Args),
    /// Run the same engine over recorded input in virtual time.
    Replay(replay::Args),
    /// Say what will be seen on this host, what will not, and why.
    Check(check::Args),
    /// Run the tests inside rule files.
    Test(test::Args),
    /// Explain a rule, a measure, a metric or an alert: what it is, an example, what to do.
    Explain(explain::Args),
    /// Write a contract from an alert, after showing it.
    Allow(allow::Args),
    /// Say what an alert was and close its case; without an id, list the open cases.
    Settle(settle::Args),
    /// Propose contracts for what a tape saw leave.
    Learn(learn::Args),
    /// Plant files that nobody has a reason to open.
    Decoy(decoy::Args),
    /// Make a leak on this machine, in a sandbox, from first read to alert.
    Demo(demo::Args),
}

impl Cli {
    /// Runs the subcommand.
    #[must_use]
    pub fn main(self) -> ExitCode {
        if self.command.ends_on_a_closed_pipe() {
            restore_sigpipe();
        }
        match self.command {
            Command::Run(args) => run::main(&args),
            Command::Replay(args) => replay::main(&args),
            Command::Check(args) => check::main(&args),
            Command::Test(args) => test::main(&args),
            Command::Explain(args) => explain::main(&args),
            Command::Allow(args) => allow::main(&args),
            Command::Settle(args) => settle::main(&args),
            Command::Learn(args) => learn::main(&args),
            Command::Decoy(args) => decoy::main(&args),
            Command::Demo(args) => demo::main(&args),
        }
    }
}

impl Command {
    /// Whether `| head` may end it. The agent must outlive its readers, the demo cleans up after itself, and a replay
    /// looks at its writes.
    fn ends_on_a_closed_pipe(&self) -> bool {
        match self {
            Self::Check(_) | Self::Test(_) | Self::Explain(_) | Self::Learn(_) => true,
            Self::Run(_) | Self::Replay(_) | Self::Decoy(_) | Self::Demo(_) => false,
            Self::Allow(_) | Self::Settle(_) => false,
        }
    }
}

/// Rust ignores SIGPIPE, and `println!` then panics where other programs end quietly.
fn restore_sigpipe() {
    // SAFETY: the default action is none of our code, and no other thread runs yet.
    let restored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    debug_assert!(restored.is_ok(), "SIGPIPE has a default");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
