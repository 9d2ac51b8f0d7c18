//! `jaga allow`: writes a contract from an alert, after showing it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jaga_rules::config;
use jaga_rules::proposal::{Proposal, with_contract};
use jaga_rules::units::{DAY, Span};
use jiff::ToSpan;
use jiff::civil::Date;

use super::settle::{agrees, find, line, open};
use super::{FOUND, USAGE};
use crate::clock;

/// Arguments of `jaga allow`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The alert's id, or as much of it as is clear.
    alert: String,
    /// For how long, in whole days.
    #[arg(long = "for", value_name = "TIME", default_value = "90d")]
    lasting: String,
    /// Who answers for it.
    #[arg(long)]
    owner: String,
    /// The contract's name; else one that names the alert.
    #[arg(long)]
    name: Option<String>,
    /// Write it without asking; who calls this from a script has read it before.
    #[arg(long)]
    yes: bool,
    /// The configuration that gets it.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let until = match last_day(&args.lasting) {
        Ok(until) => until,
        Err(why) => {
            eprintln!("jaga: --for {}: {why}", args.lasting);
            return ExitCode::from(USAGE);
        }
    };
    let cases = match open(&args.config) {
        Ok(cases) => cases,
        Err(status) => return status,
    };
    let allowed = find(&cases, &args.alert).and_then(|found| {
        eprintln!("{}", line(&found));
        let evidence = &found.case.evidence;
        let proposal = Proposal::of(evidence)?;
        let key = found.case.id.split('-').next().unwrap_or_default();
        let name = args
            .name
            .clone()
            .unwrap_or_else(|| format!("allowed-{key}"));
        config::label_of(&name)?;
        let contract = proposal.render(&name, &args.owner, Some(until));
        let others = evidence.sessions.len().saturating_sub(1);
        write(args, &contract, others)
    });
    match allowed {
        Ok(status) => status,
        Err(why) => {
            eprintln!("jaga: {why}");
            ExitCode::from(FOUND)
        }
    }
}

/// The longest that a contract may last.
const LONGEST: i64 = 3_660 * DAY;

fn last_day(lasting: &str) -> Result<Date, String> {
    let Span(nanos) = lasting.parse()?;
    if nanos < DAY || nanos % DAY != 0 {
        return Err("a contract lasts whole days; write for instance '90d'".to_owned());
    }
    if nanos > LONGEST {
        return Err("nobody answers for ten years: write less than 3660d".to_owned());
    }
    let end = clock::today().checked_add((nanos / DAY).days());
    end.map_err(|error| error.to_string())
}

fn write(args: &Args, contract: &str, others: usize) -> Result<ExitCode, String> {
    // A link stays one: the file behind it is written.
    let file = fs::canonicalize(&args.config).unwrap_or_else(|_| args.config.clone());
    let shown = file.display();
    println!("contracts:\n  - {contract}");
    if others > 0 {
        eprintln!(
            "{others} more sent as well, and are not in it: a contract is for one; allow them by their own alerts."
        );
    }
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
    };
    let new =
        with_contract(&text, contract).map_err(|why| format!("{shown} stays as it is: {why}"))?;
    if !args.yes && !agrees(&format!("Add it to {shown}?")) {
        eprintln!("Nothing was written: add the lines by hand, or call it again with --yes.");
        return Ok(ExitCode::from(FOUND));
    }
    if fs::read_to_string(&file).unwrap_or_default() != text {
        return Err(format!("{shown} was changed meanwhile: call it again"));
    }
    replace(&file, &new).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "'{shown}.new' is there, of a command that was ended: look at it, and delete it; {shown} is as it was"
        ),
        _ => format!("cannot write {shown}: {error}; it is as it was"),
    })?;
    eprintln!(
        "Written to {shown}; a running agent takes it up at once. Close the case: jaga settle {} --allowed",
        args.alert
    );
    Ok(ExitCode::SUCCESS)
}

/// All of it or nothing, with the owner and the rights that the file has.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let written = (|| {
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&new)?;
        out.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(file) {
            fchown(&out, Some(old.uid()), Some(old.gid()))?;
            out.set_permissions(old.permissions())?;
        }
        out.sync_all()?;
        fs::rename(&new, file)?;
        File::open(folder)?.sync_all()
    })();
    if let Err(error) = &written
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        // It was this command's own.
        let _ = fs::remove_file(&new);
    }
    written
}
