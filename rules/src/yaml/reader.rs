//! Typed readers over the tree: a field is one line, and what is wrong with it is told with place and next step.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use super::{Kind, Node, documents};
use crate::event::Name;
use crate::problem::{Problem, Problems};

/// A file that is being read, and the problems found so far.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Its name, for messages.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
    problems: RefCell<Vec<Problem>>,
    /// Problems beyond the limit.
    untold: Cell<usize>,
}

/// Problems told of one file; more are counted. (Quoting costs time, and nobody reads further.)
const PROBLEM_LIMIT: usize = 100;

impl<'a> Reader<'a> {
    /// Reads the file's documents and gives each to `read`; returns what came of those that could be read.
    ///
    /// # Errors
    /// All problems of the file, in file order.
    pub fn read<T>(
        file: &'a str,
        text: &'a str,
        mut read: impl FnMut(At<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Problems> {
        let (nodes, problems) = documents(file, text);
        let reader = Reader {
            file,
            text,
            problems: RefCell::new(problems),
            untold: Cell::new(0),
        };
        let values = nodes
            .iter()
            .filter_map(|node| {
                read(At {
                    reader: &reader,
                    node,
                })
            })
            .collect();
        let problems = reader.problems.into_inner();
        if problems.is_empty() {
            Ok(values)
        } else {
            Err(in_order(file, problems, reader.untold.get()))
        }
    }

    /// Notes a problem with some bytes of the file.
    pub fn wrong(&self, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEM_LIMIT {
            problems.push(Problem::at(self.file, self.text, span, message, help));
        } else {
            self.untold.set(self.untold.get() + 1);
        }
    }
}

fn in_order(file: &str, mut problems: Vec<Problem>, untold: usize) -> Problems {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if untold > 0 {
        let more = format!("{untold} more problems");
        problems.push(Problem::of_file(file, more, "mend those above first"));
    }
    Problems(problems)
}

/// A node in the file that is being read.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The file.
    pub reader: &'a Reader<'a>,
    /// The node.
    pub node: &'a Node,
}

impl<'a> At<'a> {
    /// Notes a problem with this node. Returns `None`, so that a reader can end with it.
    pub fn wrong<T>(self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.reader.wrong(&self.node.span, message, help);
        None
    }

    /// The text as the user wrote it, not empty.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar(text) if !text.trim().is_empty() => Some(text),
            Kind::Scalar(_) | Kind::Empty => {
                self.wrong("value is missing", "write a value after the key")
            }
            Kind::List(_) | Kind::Map(_) => self.wrong(
                format!("expected a single value, found {}", self.node.noun()),
                "write one value",
            ),
        }
    }

    /// The text as a name.
    #[must_use]
    pub fn name(self) -> Option<Name> {
        self.text().map(Name::from)
    }

    /// The text as a value whose error tells the next step after a semicolon.
    pub fn parse<T: FromStr<Err = String>>(self) -> Option<T> {
        let read = self.text()?.parse();
        read.map_or_else(
            |error: String| self.refuse(&error, "write another value"),
            Some,
        )
    }

    /// A problem here, from an error that tells the next step after a semicolon; `otherwise` where it tells none.
    pub fn refuse<T>(self, error: &str, otherwise: &str) -> Option<T> {
        let (message, help) = error.split_once("; ").unwrap_or((error, otherwise));
        self.wrong(message, help)
    }

    /// The text as one of some words.
    pub fn word<T: Copy>(self, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong::<()>(format!("unknown {what} '{text}'"), suggestion(text, &known));
        }
        found.map(|(_, value)| *value)
    }

    /// The items of a list as they are written; a single value counts as a list of one.
    #[must_use]
    pub fn items(self) -> Vec<Self> {
        match &self.node.kind {
            Kind::List(nodes) => nodes.iter().map(|node| At { node, ..self }).collect(),
            Kind::Scalar(_) | Kind::Map(_) => vec![self],
            Kind::Empty => Vec::new(),
        }
    }

    /// The items, read. What cannot be read is left out.
    pub fn list<T>(self, read: impl Fn(At<'a>) -> Option<T>) -> Option<Vec<T>> {
        if self.node.kind == Kind::Empty {
            return self.wrong("list is missing", "write it, or '[]' for an empty one");
        }
        Some(self.items().into_iter().filter_map(read).collect())
    }

    /// The fields of a map; `what` names it in messages, such as `a store`.
    #[must_use]
    pub fn fields(self, what: &'static str) -> Option<Fields<'a>> {
        let Kind::Map(entries) = &self.node.kind else {
            return self.wrong(
                format!("expected {what}, found {}", self.node.noun()),
                "write it as 'key: value' lines",
            );
        };
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (key, _) in entries {
            match &key.kind {
                Kind::Scalar(name) if !seen.insert(name) => {
                    self.reader.wrong(
                        &key.span,
                        format!("'{name}' is given twice"),
                        "keep one of them",
                    );
                }
                Kind::Scalar(_) => {}
                Kind::Empty | Kind::List(_) | Kind::Map(_) => {
                    self.reader
                        .wrong(&key.span, "this is no key", "a key is a word before ':'");
                }
            }
        }
        Some(Fields {
            at: self,
            what,
            entries,
            known: RefCell::default(),
        })
    }

    /// The only field of a map, such as `exposed-bytes: 100 MB in 10m` in a list: key and value.
    #[must_use]
    pub fn only_field(self, what: &'static str) -> Option<(At<'a>, At<'a>)> {
        match &self.node.kind {
            Kind::Map(entries) if entries.len() == 1 => {
                let (key, value) = &entries[0];
                Some((
                    At { node: key, ..self },
                    At {
                        node: value,
                        ..self
                    },
                ))
            }
            Kind::Empty | Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => self.wrong(
                format!("expected one 'name: value' for {what}"),
                "write one list item for each",
            ),
        }
    }
}

/// The fields of a map. Each that is asked for becomes known; `end` tells of the others.
#[derive(Debug)]
pub struct Fields<'a> {
    /// The map.
    pub at: At<'a>,
    what: &'static str,
    entries: &'a [(Node, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The field's value, if it is written.
    #[must_use]
    pub fn field(&self, name: &'static str) -> Option<At<'a>> {
        self.know(name);
        self.entry(name).map(|(_, node)| At { node, ..self.at })
    }

    fn entry(&self, name: &str) -> Option<&'a (Node, Node)> {
        self.entries
            .iter()
            .find(|(key, _)| matches!(&key.kind, Kind::Scalar(text) if text == name))
    }

    fn know(&self, name: &'static str) {
        let mut known = self.known.borrow_mut();
        if !known.contains(&name) {
            known.push(name);
        }
    }

    /// The field, read, if it is written.
    pub fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(At<'a>) -> Option<T>,
    ) -> Option<T> {
        self.field(name).and_then(read)
    }

    /// The field, read; a problem if it is missing.
    pub fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(At<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.field(name) {
            Some(at) => read(at),
            None => self.missing(name),
        }
    }

    /// Notes that the field is missing.
    pub fn missing<T>(&self, name: &'static str) -> Option<T> {
        let first = self.at.node.span.start;
        self.at.reader.wrong(
            &(first..first + 1),
            format!("{} needs '{name}'", self.what),
            format!("add '{name}: …' here"),
        );
        None
    }

    /// A field that the design has and this version has not.
    pub fn not_built(&self, name: &'static str, instead: &str) {
        if let Some((key, _)) = self.entry(name) {
            self.know(name);
            let message = format!("'{name}' is not built yet");
            self.at.reader.wrong(&key.span, message, instead);
        }
    }

    /// Tells of every field that nobody asked for.
    pub fn end(self) {
        let known = self.known.into_inner();
        for (key, _) in self.entries {
            if let Kind::Scalar(name) = &key.kind
                && !known.contains(&name.as_str())
            {
                let message = format!("unknown key '{name}' in {}", self.what);
                self.at
                    .reader
                    .wrong(&key.span, message, suggestion(name, &known));
            }
        }
    }
}

/// `did you mean …`, or all that there is.
fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("use one of: {}", known.join(", ")),
    }
}

/// The known word that differs least from `word`, if it is close: at most a third of its letters are wrong.
#[must_use]
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.chars().count() > 40 {
        return None;
    }
    known
        .iter()
        .map(|candidate| {
            (
                distance(&word.to_lowercase(), &candidate.to_lowercase()),
                *candidate,
            )
        })
        .min()
        .filter(|(far, candidate)| *far <= candidate.chars().count().max(3) / 3)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, delete or replace to get from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let known = ["paths", "records", "name", "exposed-bytes"];
        assert_eq!(nearest("pathes", &known), Some("paths"));
        assert_eq!(nearest("Record", &known), Some("records"));
        assert_eq!(nearest("exposed_bytes", &known), Some("exposed-bytes"));
        assert_eq!(nearest("quiet", &known), None);
    }
}
