//! Reads everything that decides from disk: the configuration, the user's own rules, and the stores that were found.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jaga_rules::config::{self, Config};
use jaga_rules::event::{RuleText, Setup};
use jaga_rules::pack;
use jaga_rules::rule::Rule;

use crate::command::CONFIG;
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

/// Reads and checks all of it.
///
/// # Errors
/// What cannot be read, or every problem of what was read; ready to be printed.
pub fn read(path: &Path) -> Result<Checked, String> {
    let text = config_text(path)?;
    let typed = config::parse(&path.display().to_string(), &text)
        .map_err(|problems| problems.to_string())?;
    let config = if typed.agent.discover {
        config::with_stores(&text, &discover::stores())
    } else {
        text
    };
    let rules = pack::with_own(own_rules(&typed.agent.rules)?);
    let setup = Setup { config, rules };
    let (config, rules) = jaga_rules::compile(&setup).map_err(|problems| problems.to_string())?;
    Ok(Checked {
        setup,
        config,
        rules,
    })
}

/// The shipped rule files and the user's own, unchecked: what is wrong in one does not hide the others.
///
/// # Errors
/// What cannot be read, or the problems of the configuration, which says where the user's own are.
pub fn rule_texts(config: &Path) -> Result<Vec<RuleText>, String> {
    let text = config_text(config)?;
    let typed = config::parse(&config.display().to_string(), &text)
        .map_err(|problems| problems.to_string())?;
    Ok(pack::with_own(own_rules(&typed.agent.rules)?))
}

/// A rule file, or all of a directory.
///
/// # Errors
/// What cannot be read.
pub fn rule_files(path: &Path) -> Result<Vec<RuleText>, String> {
    if path.is_dir() {
        return own_rules(path);
    }
    let text = fs::read_to_string(path).map_err(|error| cannot_read(path, &error))?;
    let file = path.display().to_string();
    Ok(vec![RuleText { file, text }])
}

/// A missing file at the default place means the defaults; one that the user named must be there.
fn config_text(path: &Path) -> Result<String, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound && path == Path::new(CONFIG) => {
            Ok(String::new())
        }
        Err(error) => Err(cannot_read(path, &error)),
    }
}

/// The user's rule files by name; a missing directory holds none.
///
/// # Errors
/// What cannot be read.
pub fn own_rules(directory: &Path) -> Result<Vec<RuleText>, String> {
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
    let text = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| cannot_read(path, &error))?;
        Ok(RuleText {
            file: path.display().to_string(),
            text,
        })
    };
    paths.iter().map(text).collect()
}

fn is_rule_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml")
}

fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    format!(
        "cannot read '{}': {error}; check its path and its owner",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_must_be_there() {
        let error = read(Path::new("/nowhere/jaga.yaml")).expect_err("it is not there");
        assert!(
            error.starts_with("cannot read '/nowhere/jaga.yaml': No such file"),
            "{error}"
        );
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
        let error = read(&config).expect_err("wrong");
        assert!(
            error.contains("a.yaml:2") && error.contains("b.yaml:2"),
            "{error}"
        );
    }
}
