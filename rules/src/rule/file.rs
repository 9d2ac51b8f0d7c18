//! Turns the text of a rule file into rules and their tests; what makes no sense is refused with place and next step.

use std::collections::BTreeSet;
use std::fmt;

use globset::GlobMatcher;

use super::limit::{limit, needs};
use super::words::{APP_PROTOCOLS, FIRSTS, GAP_KINDS, KEY_FIELDS, SCOPES, SEVERITIES};
use super::{KeyField, Limit, Rule, Where};
use crate::config::glob::{name_glob, path_glob};
use crate::event::{Name, SECOND};
use crate::problem::Problems;
use crate::scenario::{RuleTest, test};
use crate::units::{DAY, Span};
use crate::yaml::{At, Kind, Reader};

/// What a rule file holds.
#[derive(Debug, Clone, Default)]
pub struct RuleFile {
    /// Its rules, in file order.
    pub rules: Vec<Rule>,
    /// Their tests, in file order.
    pub tests: Vec<RuleTest>,
}

/// Reads a rule file: one YAML document a rule.
///
/// # Errors
/// All problems of the file at once.
pub fn parse(file: &str, text: &str) -> Result<RuleFile, Problems> {
    let mut names = BTreeSet::new();
    let read = Reader::read(file, text, |at| {
        if at.node.kind == Kind::Empty {
            return None;
        }
        let (rule, tests) = rule(at)?;
        if !names.insert(rule.name.clone()) {
            return at.wrong(
                format!("a second rule '{}'", rule.name),
                "give it a name of its own",
            );
        }
        Some((rule, tests))
    })?;
    let mut result = RuleFile::default();
    for (rule, tests) in read {
        result.rules.push(rule);
        result.tests.extend(tests);
    }
    Ok(result)
}

/// Key fields of a rule: more make a table that nobody reads.
const KEY_LIMIT: usize = 3;
/// Limits of a rule.
const LIMITS_LIMIT: usize = 16;
/// Default for `quiet`.
const QUIET: i64 = 15 * 60 * SECOND;

fn rule(at: At<'_>) -> Option<(Rule, Vec<RuleTest>)> {
    let fields = at.fields("a rule")?;
    let name = fields.required("rule", rule_name);
    let title = fields.required("title", At::name);
    let severity = fields.required("severity", |at| at.word("severity", &SEVERITIES));
    let attack = fields.optional("attack", |at| at.list(technique));
    let select = fields.optional("where", select);
    let by = fields.required("by", by);
    let limits = fields.required("limits", limits);
    let hold = fields.optional("hold", |at| span(at, 0, DAY));
    let quiet = fields.optional("quiet", |at| span(at, SECOND, 7 * DAY));
    let advice = fields.optional("advice", At::name);
    let named = name.clone().unwrap_or_default();
    let tests = fields.optional("tests", |at| at.list(|at| test(at, &named)));
    if let (Some(by), Some(limits)) = (&by, &limits) {
        let empty = Where::default();
        let chosen = select.as_ref().unwrap_or(&empty);
        let written: Vec<(At<'_>, &Limit)> = fields
            .field("limits")
            .map(At::items)
            .into_iter()
            .flatten()
            .zip(limits)
            .collect();
        needs(&fields, chosen, by, &written);
    }
    fields.end();
    let rule = Rule {
        name: name?,
        title: title?,
        severity: severity?,
        attack: attack.unwrap_or_default(),
        select: select.unwrap_or_default(),
        by: by?,
        limits: limits?,
        hold: hold.unwrap_or(0),
        quiet: quiet.unwrap_or(QUIET),
        advice: advice.unwrap_or_default(),
    };
    Some((rule, tests.unwrap_or_default()))
}

/// Kebab-case: it becomes a label and, in CamelCase, an alert's name.
fn rule_name(at: At<'_>) -> Option<Name> {
    let text = at.text()?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let whole = !text.starts_with(|first: char| !first.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--");
    if whole && text.len() <= 48 && text.bytes().all(fits) {
        Some(text.into())
    } else {
        at.wrong(
            format!("'{text}' cannot be a rule's name"),
            "use lower-case words joined by '-', at most 48 letters, for instance 'store-data-leaves'",
        )
    }
}

/// A MITRE ATT&CK technique id: `T1048`, `T1048.003`.
fn technique(at: At<'_>) -> Option<Name> {
    let text = at.text()?;
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let body = text.strip_prefix('T').unwrap_or("");
    let fits = match body.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(body, 4),
    };
    if fits {
        Some(text.into())
    } else {
        at.wrong(
            format!("'{text}' is no ATT&CK technique"),
            "write for instance 'T1048' or 'T1048.003'",
        )
    }
}

fn answer(at: At<'_>) -> Option<bool> {
    at.word("answer", &[("yes", true), ("no", false)])
}

fn select(at: At<'_>) -> Option<Where> {
    let fields = at.fields("'where'")?;
    let names = |at: At<'_>| name_glob(at);
    let select = Where {
        scope: list(fields.optional("scope", |at| at.list(|at| at.word("scope", &SCOPES)))),
        store: list(fields.optional("store", |at| at.list(At::name))),
        session: list(fields.optional("session", |at| at.list(names))),
        exe: list(fields.optional("exe", |at| at.list(path_glob))),
        user: list(fields.optional("user", |at| at.list(names))),
        destination: list(fields.optional("destination", |at| at.list(At::parse))),
        gap: list(fields.optional("gap", |at| at.list(|at| at.word("kind of gap", &GAP_KINDS)))),
        sensor: list(fields.optional("sensor", |at| at.list(At::name))),
        serves: fields.optional("serves", answer),
        below: fields.optional("below", answer),
        reader: fields.optional("reader", answer),
        app_protocol: list(fields.optional("app-protocol", |at| {
            at.list(|at| at.word("protocol", &APP_PROTOCOLS))
        })),
        ae_title: list(fields.optional("ae-title", |at| at.list(names))),
        ae_named: fields.optional("ae-named", answer),
        first: list(fields.optional("first", |at| at.list(|at| at.word("first", &FIRSTS)))),
        new_destination: fields.optional("new-destination", answer),
        on_store_host: fields
            .optional("stores", |at| at.word("choice", &[("any", ())]))
            .is_some(),
    };
    fields.end();
    Some(select)
}

impl fmt::Display for Where {
    /// As it is written in a rule file, without the braces; empty if everything counts.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let globs = |globs: &[GlobMatcher]| joined(globs.iter().map(|glob| glob.glob()));
        let lists = [
            ("scope", joined(&self.scope)),
            ("store", joined(&self.store)),
            ("session", globs(&self.session)),
            ("exe", globs(&self.exe)),
            ("user", globs(&self.user)),
            ("destination", joined(&self.destination)),
            ("gap", joined(&self.gap)),
            ("sensor", joined(&self.sensor)),
            ("app-protocol", joined(&self.app_protocol)),
            ("ae-title", globs(&self.ae_title)),
            ("first", joined(&self.first)),
        ];
        let lists = lists.iter().filter(|(_, values)| !values.is_empty());
        let mut written: Vec<String> = lists
            .map(|(name, values)| format!("{name}: [{values}]"))
            .collect();
        let answers = [
            ("serves", self.serves),
            ("below", self.below),
            ("reader", self.reader),
            ("ae-named", self.ae_named),
            ("new-destination", self.new_destination),
        ];
        let answers = answers
            .iter()
            .filter_map(|(name, answer)| Some((name, (*answer)?)));
        written.extend(
            answers.map(|(name, yes)| format!("{name}: {}", if yes { "yes" } else { "no" })),
        );
        written.extend(self.on_store_host.then(|| "stores: any".to_owned()));
        out.write_str(&written.join(", "))
    }
}

fn joined<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values
        .into_iter()
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn list<T>(list: Option<Vec<T>>) -> Vec<T> {
    list.unwrap_or_default()
}

fn by(at: At<'_>) -> Option<Vec<KeyField>> {
    let words: Vec<(&str, KeyField)> = KEY_FIELDS
        .iter()
        .map(|(name, field, _)| (*name, *field))
        .collect();
    let by = at.list(|at| at.word("key", &words))?;
    if by.len() > KEY_LIMIT {
        return at.wrong(
            format!("'by' has more than {KEY_LIMIT} keys"),
            "keep those that a person would name",
        );
    }
    if by
        .iter()
        .enumerate()
        .any(|(place, field)| by[..place].contains(field))
    {
        return at.wrong("'by' names a key twice", "keep one of them");
    }
    if by.is_empty() && at.items().is_empty() {
        return at.wrong(
            "'by' is empty",
            "write '[host]' to count everything together",
        );
    }
    Some(by)
}

fn limits(at: At<'_>) -> Option<Vec<Limit>> {
    let limits = at.list(limit)?;
    if at.items().is_empty() {
        return at.wrong(
            "a rule needs a limit",
            "write for instance '- sent-bytes: 1 GB in 1h'",
        );
    }
    if limits.len() > LIMITS_LIMIT {
        return at.wrong(
            format!("more than {LIMITS_LIMIT} limits"),
            "make a second rule",
        );
    }
    // Fewer than written: one could not be read, and has its problem.
    (limits.len() == at.items().len()).then_some(limits)
}

fn span(at: At<'_>, least: i64, most: i64) -> Option<i64> {
    let Span(nanos) = at.parse()?;
    if (least..=most).contains(&nanos) {
        Some(nanos)
    } else {
        at.wrong(
            format!("'{}' is out of range", Span(nanos)),
            format!("write something between {} and {}", Span(least), Span(most)),
        )
    }
}
