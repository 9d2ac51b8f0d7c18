//! Lines of text inside a YAML file, which know their place in it.

use std::ops::Range;

use crate::yaml::{At, Kind};

/// Lines of text, and where each begins in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// The text.
    pub text: String,
    /// Bytes of the file that the value covers.
    pub span: Range<usize>,
    /// Of each line of the text, where it begins in the file, in bytes. Empty if the value is folded or quoted.
    starts: Vec<usize>,
}

/// Reads lines of text. They may be missing: perhaps nothing is expected.
pub(super) fn block(at: At<'_>) -> Option<Block> {
    let span = at.node.span.clone();
    let text = match &at.node.kind {
        Kind::Scalar(text) => text.clone(),
        Kind::Empty => String::new(),
        Kind::List(_) | Kind::Map(_) => {
            return at.wrong(
                "expected lines of text",
                "write '|' after the key and the lines below it",
            );
        }
    };
    let starts = starts(at.reader.text, span.start, &text);
    Some(Block { text, span, starts })
}

/// Finds the text's lines in the file, from the line on that holds `from`: each must stand there behind spaces.
fn starts(file: &str, from: usize, text: &str) -> Vec<usize> {
    let first = file[..from.min(file.len())]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let mut begins = first;
    let mut lines = file[first..].split_inclusive('\n').map(|line| {
        let start = begins;
        begins += line.len();
        (start, line.trim_end_matches(['\n', '\r']))
    });
    let mut found = Vec::new();
    for wanted in text.lines() {
        // Before the first line stands the key with its '|', perhaps with comments.
        let hit = if found.is_empty() {
            lines
                .by_ref()
                .take(3)
                .find(|(_, line)| indented(line, wanted))
        } else {
            lines.next().filter(|(_, line)| indented(line, wanted))
        };
        let Some((start, line)) = hit else {
            return Vec::new();
        };
        found.push(start + line.len() - wanted.len().min(line.len()));
    }
    found
}

fn indented(line: &str, wanted: &str) -> bool {
    match line.strip_suffix(wanted) {
        Some(indent) => indent.bytes().all(|byte| byte == b' '),
        None => wanted.trim().is_empty() && line.trim().is_empty(),
    }
}

impl Block {
    /// Notes a problem with some bytes of the text at their place in the file.
    pub(super) fn wrong(
        &self,
        at: At<'_>,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        at.reader.wrong(&self.in_file(span), message, help);
    }

    fn in_file(&self, span: Range<usize>) -> Range<usize> {
        let before = &self.text[..span.start.min(self.text.len())];
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        match self.starts.get(line) {
            Some(start) => start + column..start + column + span.len(),
            None => self.span.clone(),
        }
    }

    /// Bytes of the text at a line and column, both 1-based, the column in characters: one word.
    pub(super) fn offset(&self, line: usize, column: usize) -> Range<usize> {
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = &self.text[start.min(self.text.len())..];
        let skip: usize = rest
            .chars()
            .take(column.saturating_sub(1))
            .map(char::len_utf8)
            .sum();
        let word = rest[skip..]
            .find(char::is_whitespace)
            .unwrap_or(rest.len() - skip);
        start + skip..start + skip + word
    }
}
