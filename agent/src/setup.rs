//! Reads everything that decides from disk: the configuration, the user's own rules, and the stores that were found.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jaga_rules::config::{self, Config};
use jaga_rules::event::{RuleText, Setup};
use jaga_rules::pack;
use jaga_rules::problem::{Problem, Problems};
use jaga_rules::rule::Rule;

use crate::command::{CONFIG, FOUND, USAGE};
use crate::discover;

/// What decides, as text for the tape and as the agent's own copy of it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The texts.
    pub setup: Setup,
    /// The configuration.
    pub config: Config,
    /// The rules, shipped and own.
    pub rules: Vec<Rule>,
}

/// Why what decides cannot be used; ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A file or directory cannot be read: which, why, and the next step.
    Unreadable(String),
    /// Every problem of what was read.
    Wrong(String),
}

/// Reads and checks all of it.
///
/// # Errors
/// What cannot be read, or every problem of what was read; ready to be printed.
pub fn read(path: &Path) -> Result<Checked, Trouble> {
    let text = config_text(path)?;
    let typed = config::parse(&path.display().to_string(), &text)?;
    let config = if typed.agent.discover {
        config::with_stores(&text, &discover::stores())
    } else {
        text
    };
    let rules = pack::with_own(own_rules(&typed.agent.rules)?);
    let setup = Setup { config, rules };
    let (config, rules) = jaga_rules::compile(&setup)?;
    Ok(Checked {
        setup,
        config,
        rules,
    })
}

/// Where the configuration says that the user's own rules are.
///
/// # Errors
/// The configuration cannot be read, or its problems.
pub fn rules_directory(config: &Path) -> Result<PathBuf, Trouble> {
    let text = config_text(config)?;
    Ok(config::parse(&config.display().to_string(), &text)?
        .agent
        .rules)
}

/// The shipped rule files and the user's own, unchecked: what is wrong in one does not hide the others.
///
/// # Errors
/// What cannot be read, or the problems of the configuration, which says where the user's own are.
pub fn rule_texts(config: &Path) -> Result<Vec<RuleText>, Trouble> {
    let text = config_text(config)?;
    let typed = config::parse(&config.display().to_string(), &text)?;
    Ok(pack::with_own(own_rules(&typed.agent.rules)?))
}

/// A rule file, or all of a directory.
///
/// # Errors
/// What cannot be read.
pub fn rule_files(path: &Path) -> Result<Vec<RuleText>, Trouble> {
    if path.is_dir() {
        own_rules(path)
    } else {
        Ok(vec![rule_text(path)?])
    }
}

/// A missing file at the default place means the defaults; one that the user named must be there.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn config_text(path: &Path) -> Result<String, Trouble> {
    if is_absent(path) {
        Ok(String::new())
    } else {
        text(path)
    }
}

/// Whether this is the default place, with nothing there.
#[must_use]
pub fn is_absent(path: &Path) -> bool {
    path == Path::new(CONFIG)
        && fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The user's rule files by name; a missing directory holds none.
///
/// # Errors
/// What cannot be read.
pub fn own_rules(directory: &Path) -> Result<Vec<RuleText>, Trouble> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot_read(directory, &error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_rule_file(path))
        .collect();
    paths.sort();
    paths.iter().map(|path| rule_text(path)).collect()
}

fn rule_text(path: &Path) -> Result<RuleText, Trouble> {
    Ok(RuleText {
        file: path.display().to_string(),
        text: text(path)?,
    })
}

/// A file as text. One that is not UTF-8 is a problem with a place, and not one of rights.
fn text(path: &Path) -> Result<String, Trouble> {
    let bytes = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[place];
        // What stands for the wrong bytes comes after what is right: the place stays the same.
        let shown = String::from_utf8_lossy(error.as_bytes());
        let message = format!("the byte {byte:#04x} here is not UTF-8");
        let help = "save the file as UTF-8: 'iconv -f latin1 -t utf-8 OLD >NEW', if it is Latin-1";
        let file = path.display().to_string();
        Problems(vec![Problem::at(
            &file,
            &shown,
            &(place..place + 3),
            message,
            help,
        )])
        .into()
    })
}

fn is_rule_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml")
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Trouble {
    let step = match error.kind() {
        ErrorKind::NotFound => "check the path",
        ErrorKind::PermissionDenied => "run as root, or check its owner",
        ErrorKind::IsADirectory => "name a file in it",
        _ => "check its path and its owner",
    };
    Trouble::Unreadable(format!("cannot read '{}': {error}; {step}", path.display()))
}

impl Trouble {
    /// The exit status that says which.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Unreadable(_) => USAGE,
            Self::Wrong(_) => FOUND,
        }
    }
}

impl From<Problems> for Trouble {
    fn from(problems: Problems) -> Self {
        Self::Wrong(problems.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) | Self::Wrong(why) => out.write_str(why.trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_must_be_there() {
        let error = read(Path::new("/nowhere/jaga.yaml")).expect_err("it is not there");
        assert_eq!(error.status(), USAGE);
        let error = error.to_string();
        assert!(
            error.starts_with("cannot read '/nowhere/jaga.yaml': No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_text_is_told_with_its_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("jaga.yaml");
        fs::write(&config, b"instance: a\nsite: caf\xe9\n").expect("written");
        let error = read(&config).expect_err("wrong");
        assert_eq!(error.status(), FOUND);
        let error = error.to_string();
        assert!(error.contains("the byte 0xe9 here is not UTF-8"), "{error}");
        assert!(error.contains("jaga.yaml:2:10"), "{error}");
        assert!(error.contains("iconv"), "{error}");
    }

    #[test]
    fn all_problems_of_all_files_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let rules = directory.path().join("rules");
        fs::create_dir(&rules).expect("made");
        fs::write(rules.join("b.yaml"), "rule: x\nlimitz: 3\n").expect("written");
        fs::write(rules.join("a.yaml"), "rule: y\nseverity: loud\n").expect("written");
        let config = directory.path().join("jaga.yaml");
        fs::write(&config, format!("stores: []\nrules: {}\n", rules.display())).expect("written");
        let error = read(&config).expect_err("wrong").to_string();
        assert!(
            error.contains("a.yaml:2") && error.contains("b.yaml:2"),
            "{error}"
        );
    }
}
