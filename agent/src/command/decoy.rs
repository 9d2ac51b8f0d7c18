//! `jaga decoy plant`: puts a file into a store that nobody has a reason to open.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use jaga_rules::config;
use ring::rand::{SecureRandom, SystemRandom};

use super::{FOUND, USAGE};
use crate::setup;

/// Arguments of `jaga decoy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a decoy into a store, and show the lines that the configuration needs for it.
    Plant(Plant),
}

/// Arguments of `jaga decoy plant`.
#[derive(Debug, clap::Args)]
struct Plant {
    /// The store, as the configuration calls it.
    store: String,
    /// The decoy's name in alerts, and of its file.
    #[arg(long, default_value = "patients-full-export")]
    name: String,
    /// The configuration; a missing file at the default place means the defaults.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
}

/// Runs it.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let Action::Plant(args) = &args.action;
    let checked = match setup::read(&args.config) {
        Ok(checked) => checked,
        Err(trouble) => {
            eprintln!("{trouble}");
            return ExitCode::from(trouble.status());
        }
    };
    let stores = &checked.config.stores;
    let Some(store) = stores.iter().find(|store| *store.name == *args.store) else {
        let names: Vec<&str> = stores.iter().map(|store| &*store.name).collect();
        eprintln!(
            "jaga: no store '{}' in {}: there is {}; `-c` names another configuration",
            args.store,
            args.config.display(),
            list(&names)
        );
        return ExitCode::from(USAGE);
    };
    if store.guessed {
        eprintln!(
            "jaga: store '{}' was found, not configured: name it under `stores:` in {} first",
            store.name,
            args.config.display()
        );
        return ExitCode::from(USAGE);
    }
    let Some(folder) = store.paths.iter().find(|path| path.is_dir()) else {
        eprintln!(
            "jaga: store '{}' has no folder on this host to put it in",
            store.name
        );
        return ExitCode::from(USAGE);
    };
    let name = args.name.trim_end_matches(".csv");
    if let Err(error) = config::label_of(name) {
        eprintln!("jaga: {error}");
        return ExitCode::from(USAGE);
    }
    if name.is_empty() || name.starts_with('.') {
        eprintln!("jaga: '{name}' would be no file that anybody finds; begin it with a letter");
        return ExitCode::from(USAGE);
    }
    let path = folder.join(format!("{name}.csv"));
    match plant(folder, &path) {
        Ok(()) => {
            eprintln!(
                "Planted {}. Add this to {}:",
                path.display(),
                args.config.display()
            );
            println!("decoys:\n  - {{ name: {name}, path: {} }}", path.display());
            eprintln!(
                "Whoever opens it is told by decoy-opened, critical. List backups and scanners under `readers:` first."
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            let next = match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    "; give it another `--name`, or list this one under `decoys:`"
                }
                _ => "",
            };
            eprintln!("jaga: cannot plant {}: {error}{next}", path.display());
            ExitCode::from(FOUND)
        }
    }
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none; name one under `stores:`".to_owned(),
        _ => names.join(", "),
    }
}

/// Rows of the decoy, and how old it looks.
const ROWS: usize = 4_000;
const AGE: Duration = Duration::from_secs(200 * 86_400);

/// Writes it, of the folder's owner and older than it is; never over a file that is there.
fn plant(folder: &Path, path: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let written = fill(&mut file, &owner);
    if written.is_err() {
        // It is new, and nobody's but this command's.
        let _ = fs::remove_file(path);
    }
    written
}

fn fill(file: &mut File, owner: &fs::Metadata) -> io::Result<()> {
    file.write_all(rows()?.as_bytes())?;
    fchown(&*file, Some(owner.uid()), Some(owner.gid()))?;
    let changed = owner.modified()?;
    let old = changed.checked_sub(AGE).unwrap_or(changed);
    file.set_times(FileTimes::new().set_modified(old).set_accessed(old))?;
    file.sync_all()
}

/// Numbers drawn by lot, of the shape of a register: they are nobody's, as far as chance goes.
fn rows() -> io::Result<String> {
    let mut text = "record_no,card_no,birth_date,ward\n".to_owned();
    let mut lot = [0_u8; 16];
    for row in 0..ROWS {
        SystemRandom::new()
            .fill(&mut lot)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let number = u128::from_ne_bytes(lot);
        text += &format!(
            "{:06},{:013},{}-{:02}-{:02},{}\n",
            row * 7 + 100_003,
            number % 10_u128.pow(13),
            1930 + number / 7 % 90,
            1 + number / 11 % 12,
            1 + number / 13 % 28,
            number / 17 % 20
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoy_looks_older_than_it_is_and_takes_no_place_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        plant(folder.path(), &path).unwrap();
        let made = fs::metadata(&path).unwrap();
        let folders = fs::metadata(folder.path()).unwrap();
        assert!(made.modified().unwrap() < folders.modified().unwrap() - AGE / 2);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), ROWS + 1);
        let again = plant(folder.path(), &path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists());
    }
}
