//! Turns a set-up's texts into the configuration and the rules, with the problems of all files at once.

use std::collections::BTreeMap;

use crate::config::{self, Config};
use crate::event::{Name, Setup};
use crate::problem::{Problem, Problems};
use crate::rule::{self, Rule};

/// Rules of a host; each costs time at every event that it selects.
const RULE_LIMIT: usize = 256;

/// Reads everything that decides.
///
/// # Errors
/// All problems of all files: the configuration's, then each rule file's, then those between files.
pub fn compile(setup: &Setup) -> Result<(Config, Vec<Rule>), Problems> {
    let mut problems = Vec::new();
    let config = config::parse(config::FILE, &setup.config)
        .map_err(|more| problems.extend(more.0))
        .ok();
    let mut rules: Vec<Rule> = Vec::new();
    let mut files: BTreeMap<Name, &str> = BTreeMap::new();
    for text in &setup.rules {
        match rule::parse(&text.file, &text.text) {
            Ok(file) => {
                for rule in file.rules {
                    problems.extend(between(&rule, &text.file, &files, config.as_ref()));
                    files.insert(rule.name.clone(), &text.file);
                    rules.push(rule);
                }
            }
            Err(more) => problems.extend(more.0),
        }
    }
    if rules.len() > RULE_LIMIT {
        let message = format!("more than {RULE_LIMIT} rules");
        problems.push(Problem::of_file(
            "rules",
            message,
            "remove those that nobody reads",
        ));
    }
    match config {
        Some(config) if problems.is_empty() => Ok((config, rules)),
        Some(_) | None => Err(Problems(problems)),
    }
}

/// What is wrong with a rule only beside the other files.
fn between(
    rule: &Rule,
    file: &str,
    files: &BTreeMap<Name, &str>,
    config: Option<&Config>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(first) = files.get(&rule.name) {
        let message = format!("a second rule '{}', after the one in '{first}'", rule.name);
        problems.push(Problem::of_file(
            file,
            message,
            "rename one of them, or remove it",
        ));
    }
    // Stores that the agent is still to find are not known here.
    if let Some(config) = config.filter(|config| !config.agent.discover) {
        for name in &rule.select.store {
            if !config.stores.iter().any(|store| store.name == *name) {
                let message = format!(
                    "rule '{}' selects store '{name}', which is not configured",
                    rule.name
                );
                problems.push(Problem::of_file(
                    file,
                    message,
                    "add the store to the configuration, or mend the name",
                ));
            }
        }
    }
    problems
}
