//! YAML as a tree in which every node knows its place, so that all problems of a file can be told at once.
//!
//! Serde stops at the first error and infers types before anybody asked; here a scalar stays the text that the
//! user wrote until a reader asks for a size, a date or a name. The events come from the parser under serde-saphyr.

use std::ops::Range;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle};

use crate::problem::Problem;

mod reader;
pub use reader::{At, Fields, Reader, nearest};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the text that it covers. Of a list or map: from its start to its last child's end.
    pub span: Range<usize>,
}

/// What a value can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Nothing was written, or `~`, or `null`.
    Empty,
    /// Text, unquoted and unescaped. A block (`|`) keeps its line breaks.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in file order, repeated keys kept.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// What it is, for a message.
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Empty => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// Larger files are refused: nobody writes one by hand.
const TEXT_LIMIT: usize = 4 << 20;
/// Collections inside each other. Hostile nesting must not use up the stack when the tree is walked or dropped.
const DEPTH_LIMIT: usize = 32;

/// The documents of `text`, and what is wrong with it as YAML. What was read before an error is still returned, so
/// that its problems can be told as well.
#[must_use]
pub fn documents(file: &str, text: &str) -> (Vec<Node>, Vec<Problem>) {
    if text.len() > TEXT_LIMIT {
        let message = format!("file is larger than {} MiB", TEXT_LIMIT >> 20);
        return (
            Vec::new(),
            vec![Problem::of_file(
                file,
                message,
                "split it into several files",
            )],
        );
    }
    let options = granit_parser::options! {
        emit_comments: false,
        block_nesting_limit: DEPTH_LIMIT,
        flow_nesting_limit: DEPTH_LIMIT,
    };
    let mut builder = Builder {
        file,
        text,
        done: Vec::new(),
        open: Vec::new(),
        problems: Vec::new(),
    };
    for item in Parser::new_from_str_with_options(text, options) {
        match item {
            Ok((event, span)) => builder.take(event, span.byte_range().unwrap_or(0..0)),
            Err(error) => {
                let place = error.marker().byte_offset().unwrap_or(text.len());
                match tab_in_indent(text, place) {
                    Some(tab) => builder.wrong(
                        &(tab..tab + 1),
                        "a tab indents this line",
                        "indent with spaces: YAML takes no tabs there",
                    ),
                    None => builder.wrong(
                        &(place..place + 1),
                        error.info().to_lowercase(),
                        "the file must be YAML from here on",
                    ),
                }
                break;
            }
        }
    }
    (builder.done, builder.problems)
}

/// The first tab before the text of the line that holds `place`, in bytes.
fn tab_in_indent(text: &str, place: usize) -> Option<usize> {
    let before = text.get(..place)?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = &text[start..];
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    line[..indent].find('\t').map(|tab| start + tab)
}

/// Builds trees from events.
struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    done: Vec<Node>,
    open: Vec<Open>,
    problems: Vec<Problem>,
}

/// A collection whose end was not seen yet.
struct Open {
    start: usize,
    is_map: bool,
    children: Vec<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) {
        match event {
            Event::Scalar(text, style, _, tag) => {
                if tag.is_some() {
                    self.wrong(
                        &span,
                        "tags are not supported",
                        "remove the '!…' before the value",
                    );
                }
                let empty = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let kind = if empty {
                    Kind::Empty
                } else {
                    Kind::Scalar(text.into_owned())
                };
                self.add(Node { kind, span });
            }
            Event::SequenceStart(..) => self.open(span.start, false),
            Event::MappingStart(..) => self.open(span.start, true),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) => {
                self.wrong(
                    &span,
                    "aliases are not supported",
                    "write the value itself here",
                );
                self.add(Node {
                    kind: Kind::Empty,
                    span,
                });
            }
            Event::DocumentEnd => {
                // An error inside leaves collections open; the parser ends after it, but be sure.
                while !self.open.is_empty() {
                    self.close();
                }
            }
            // The enum is not ours and may grow: what is not data is passed over.
            _ => {}
        }
    }

    fn open(&mut self, start: usize, is_map: bool) {
        self.open.push(Open {
            start,
            is_map,
            children: Vec::new(),
        });
    }

    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let end = open
            .children
            .last()
            .map_or(open.start + 1, |last| last.span.end);
        let kind = if open.is_map {
            Kind::Map(pairs(open.children))
        } else {
            Kind::List(open.children)
        };
        self.add(Node {
            kind,
            span: open.start..end.max(open.start),
        });
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.done.push(node),
        }
    }

    fn wrong(&mut self, span: &Range<usize>, message: impl Into<String>, help: &str) {
        self.problems
            .push(Problem::at(self.file, self.text, span, message, help));
    }
}

fn pairs(children: Vec<Node>) -> Vec<(Node, Node)> {
    let mut children = children.into_iter();
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        pairs.push((key, value));
    }
    pairs
}
