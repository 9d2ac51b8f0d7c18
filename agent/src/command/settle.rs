//! `jaga settle`: says what an alert was, and closes its case; without an id, lists the open cases.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use jaga_rules::config;
use jaga_rules::event::{Settle, Verdict};
use jiff::Timestamp;

use super::{FOUND, USAGE};
use crate::setup;
use crate::state::cases::{Answer, Cases, Found};

/// Arguments of `jaga settle`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The alert's id, or as much of it as is clear; without it, the open cases are listed.
    #[arg(requires = "verdict")]
    alert: Option<String>,
    #[command(flatten)]
    verdict: Verdicts,
    /// The configuration, which says where the state is.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
#[group(id = "verdict", multiple = false, requires = "alert")]
struct Verdicts {
    /// Data was stolen.
    #[arg(long)]
    theft: bool,
    /// The transfer was meant; `jaga allow` writes a contract for the next one.
    #[arg(long)]
    allowed: bool,
    /// Somebody tried the alarm.
    #[arg(long)]
    test: bool,
}

/// How long an agent that runs may take to answer: it looks once a second.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let cases = match open(&args.config) {
        Ok(cases) => cases,
        Err(status) => return status,
    };
    let done = match (&args.alert, args.verdict.chosen()) {
        (Some(alert), Some(verdict)) => settle(&cases, alert, verdict),
        _ => list(&cases).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|why| {
        eprintln!("jaga: {why}");
        ExitCode::from(FOUND)
    })
}

impl Verdicts {
    fn chosen(&self) -> Option<Verdict> {
        let given = [
            (self.theft, Verdict::Theft),
            (self.allowed, Verdict::Allowed),
            (self.test, Verdict::Test),
        ];
        let chosen = given.into_iter().find(|(given, _)| *given);
        chosen.map(|(_, verdict)| verdict)
    }
}

/// The state that the configuration names.
pub(super) fn open(config: &std::path::Path) -> Result<Cases, ExitCode> {
    let checked = setup::read(config).map_err(|trouble| {
        eprintln!("{trouble}");
        ExitCode::from(trouble.status())
    })?;
    Cases::open(&checked.config.agent.state).map_err(|error| {
        eprintln!("jaga: {error}");
        ExitCode::from(USAGE)
    })
}

/// The one alert whose id begins so.
pub(super) fn find(cases: &Cases, alert: &str) -> Result<Found, String> {
    let all = cases.all().map_err(|error| error.to_string())?;
    let mut matches = all.iter().filter(|found| found.case.id.starts_with(alert));
    match (matches.next(), matches.next()) {
        (Some(found), None) => Ok(found.clone()),
        (Some(one), Some(other)) => Err(format!(
            "'{alert}' begins more than one id, {} and {} among them; write more of it",
            one.case.id, other.case.id
        )),
        (None, _) => Err(format!(
            "no alert '{alert}' is remembered; `jaga settle` lists the open cases"
        )),
    }
}

fn list(cases: &Cases) -> Result<(), String> {
    let all = cases.all().map_err(|error| error.to_string())?;
    let open: Vec<&Found> = all.iter().filter(|found| found.case.is_open).collect();
    if open.is_empty() {
        eprintln!("No case is open.");
    }
    let mut out = io::stdout().lock();
    for found in open {
        // A reader that went away (`| head`) has seen enough.
        let _ = writeln!(out, "{}", line(found));
    }
    Ok(())
}

/// One line: id, time, severity, rule, key, who, where to.
pub(super) fn line(found: &Found) -> String {
    let case = &found.case;
    let at = Timestamp::from_second(found.fired.div_euclid(1_000_000_000)).unwrap_or_default();
    let key: Vec<String> = case
        .key
        .iter()
        .map(|(field, value)| format!("{field}={value}"))
        .collect();
    let mut line = format!(
        "{}  {at}  {:8}  {}  {}",
        case.id,
        case.severity.to_string(),
        case.rule,
        key.join(" ")
    );
    if let Some(to) = case.evidence.destinations.first() {
        line += &format!("  to {to}");
    }
    if case.is_firing {
        line += "  (still firing)";
    }
    // A program may have any name: it must not write a line of its own.
    line.replace(
        |sign: char| sign.is_control() || config::is_format(sign),
        "?",
    )
}

fn settle(cases: &Cases, alert: &str, verdict: Verdict) -> Result<ExitCode, String> {
    let found = find(cases, alert)?;
    let id = found.case.id.clone();
    if !found.case.is_open {
        return Err(format!(
            "the case of {id} is not open: it was settled before"
        ));
    }
    let settle = Settle {
        id: id.clone(),
        verdict,
    };
    let request = cases.ask(&settle).map_err(|error| error.to_string())?;
    let mut waited = Duration::ZERO;
    loop {
        match cases.answer(request).map_err(|error| error.to_string())? {
            Answer::Settled => {
                println!("{}", line(&found));
                eprintln!(
                    "Settled. What it told stays told; a new alert of this kind needs the whole limit again."
                );
                return Ok(ExitCode::SUCCESS);
            }
            Answer::Gone => return Err(format!("the case of {id} was closed meanwhile")),
            Answer::Waits if waited >= PATIENCE => {
                eprintln!(
                    "The agent does not run, or is busy: the case will be closed when it looks."
                );
                return Ok(ExitCode::SUCCESS);
            }
            Answer::Waits => {
                thread::sleep(LOOK);
                waited += LOOK;
            }
        }
    }
}

/// Asks a person; without a terminal nobody is there to answer.
pub(super) fn agrees(question: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
