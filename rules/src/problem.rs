//! What is wrong with a file that the user wrote: every problem at once, each with its place and the next step.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

/// All problems of one or several files; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as the user knows it.
    pub file: String,
    /// 1-based; 0 if the problem is with the whole file.
    pub line: usize,
    /// 1-based, in characters; 0 if the problem is with the whole line or file.
    pub column: usize,
    /// What is wrong, lower case, with the value quoted.
    pub message: String,
    /// The next step.
    pub help: String,
    /// The rendered message with the quoted source lines.
    pub rendered: String,
}

/// A quoted line longer than this many bytes is cut: a file may be one line of megabytes.
const QUOTED: usize = 200;

impl Problem {
    /// A problem with the bytes `span` of `text`. A span outside the text, or cutting a character, is drawn in.
    #[must_use]
    pub fn at(
        file: &str,
        text: &str,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let start = boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let end = boundary(text, span.end).clamp(start, line_end);
        let line = 1 + text[..line_start]
            .bytes()
            .filter(|byte| *byte == b'\n')
            .count();
        let column = 1 + text[line_start..start].chars().count();
        let (message, help) = (message.into(), help.into());
        let quoted = Quoted {
            text,
            line_start,
            line_end,
            start,
            end,
        };
        let rendered = quoted.render(file, line, column, &message, &help);
        Self {
            file: file.to_owned(),
            line,
            column,
            message,
            help,
            rendered,
        }
    }

    /// A problem with a file as a whole.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        let rendered = format!("error: {message}\n --> {file}\n  = help: {help}");
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
            help,
            rendered,
        }
    }
}

/// One line of a text, and what of it is wrong; all in bytes of the text.
struct Quoted<'a> {
    text: &'a str,
    line_start: usize,
    line_end: usize,
    start: usize,
    end: usize,
}

impl Quoted<'_> {
    fn render(&self, file: &str, line: usize, column: usize, message: &str, help: &str) -> String {
        let from = boundary(
            self.text,
            self.line_start.max(self.start.saturating_sub(QUOTED / 2)),
        );
        let to = boundary(self.text, self.line_end.min(from + QUOTED)).max(from);
        let source = self.text[from..to].trim_end_matches('\r');
        let clip = |place: usize| place.clamp(from, from + source.len()) - from;
        let snippet = Snippet::source(source)
            .line_start(line)
            .annotation(AnnotationKind::Primary.span(clip(self.start)..clip(self.end)));
        let title = Level::ERROR.primary_title(message);
        let help = Level::HELP.message(help);
        // The renderer counts columns in what it is given: of a piece of a line they would be wrong.
        let report = if from == self.line_start {
            [title.element(snippet.path(file)).element(help)]
        } else {
            let place = Origin::path(file).line(line).char_column(column);
            [title.element(place).element(snippet).element(help)]
        };
        Renderer::plain().render(&report)
    }
}

/// The nearest character boundary at or before `place`.
fn boundary(text: &str, place: usize) -> usize {
    let mut place = place.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            let gap = if place > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", problem.rendered)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line() {
        let problem = Problem::at(
            "a.yaml",
            "one: 1\ntwö: 2\n",
            &(7..11),
            "wrong 'twö'",
            "mend it",
        );
        assert_eq!((problem.line, problem.column), (2, 1));
        let expected = "\
error: wrong 'twö'
 --> a.yaml:2:1
  |
2 | twö: 2
  | ^^^
  |
  = help: mend it";
        assert_eq!(problem.rendered, expected);
    }

    #[test]
    fn any_span_of_any_text_is_shown() {
        for text in ["", "\n", "ä", "\r\n\tx\0", "x"] {
            for start in 0..6 {
                for end in 0..6 {
                    let span = start..end;
                    let _ = Problem::at("f", text, &span, "m", "h");
                }
            }
        }
        let long = "ü".repeat(100_000);
        assert!(
            Problem::at("f", &long, &(70_001..70_010), "m", "h")
                .rendered
                .len()
                < 1_000
        );
    }
}
