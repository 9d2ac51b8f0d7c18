//! The `jaga` command: reads the command line and hands over to the subcommand.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    jaga::command::Cli::parse().main()
}
