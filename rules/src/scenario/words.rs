//! The words of a scenario line, taken one after the other; what does not fit is told with its place.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::str::FromStr;

use crate::event::Name;
use crate::units::{Bytes, DAY, Span};
use crate::yaml::nearest;

/// What is wrong with some bytes of the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
}

/// What was read, or what is wrong with it.
pub type Read<T> = Result<T, Mistake>;

/// The longest scenario.
pub const LONGEST: i64 = 400 * DAY;

/// The words of a line, one after the other.
pub struct Words<'a> {
    pub words: Vec<(usize, &'a str)>,
    pub next: usize,
    end: usize,
    pub stores: &'a [Name],
}

impl<'a> Words<'a> {
    /// `start` = where the line begins in the scenario, bytes.
    pub fn new(line: &'a str, start: usize, stores: &'a [Name]) -> Self {
        let place = |word: &str| start + word.as_ptr() as usize - line.as_ptr() as usize;
        let words: Vec<(usize, &str)> = line
            .split_whitespace()
            .map(|word| (place(word), word))
            .collect();
        let end = words.last().map_or(start, |(at, word)| at + word.len());
        Self {
            words,
            next: 0,
            end,
            stores,
        }
    }

    pub fn path(&mut self) -> Read<String> {
        let word = self.word("a path")?;
        if word.starts_with('/') {
            return Ok(word.to_owned());
        }
        self.next -= 1;
        self.wrong(format!("'{word}' is no path"), "begin it with '/'")
    }

    pub fn address(&mut self, what: &str) -> Read<IpAddr> {
        let word = self.word(what)?;
        word.parse().or_else(|_| {
            self.next -= 1;
            self.wrong(
                format!("'{word}' is no address"),
                "write for instance '203.0.113.9'",
            )
        })
    }

    pub fn socket(&mut self) -> Read<SocketAddr> {
        let word = self.word("an address with a port")?;
        word.parse().or_else(|_| {
            self.next -= 1;
            self.wrong(
                format!("'{word}' is no address with a port"),
                "write for instance '203.0.113.9:443'",
            )
        })
    }

    pub fn span(&mut self, what: &str) -> Read<i64> {
        self.parse::<Span>(what).and_then(|Span(nanos)| {
            if nanos <= LONGEST {
                return Ok(nanos);
            }
            self.next -= 1;
            self.wrong("that is too long", "stay within 400d")
        })
    }

    pub fn size(&mut self, what: &str) -> Read<u64> {
        let place = self.next;
        let text = self.amount(what)?;
        self.at(place, &text).map(|Bytes(bytes)| bytes)
    }

    /// A number and the word after it: `900 KB`, `40 MB/s`; or one word: `900KB`.
    pub fn amount(&mut self, what: &str) -> Read<String> {
        let mut text = self.word(what)?.to_owned();
        while text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b". ".contains(&byte))
            && self.next < self.words.len()
        {
            text = format!("{text} {}", self.word(what)?);
        }
        Ok(text)
    }

    pub fn parse<T: FromStr<Err = String>>(&mut self, what: &str) -> Read<T> {
        let word = self.word(what)?;
        self.at(self.next - 1, word)
    }

    /// Reads `text`, which began at word `place`.
    pub fn at<T: FromStr<Err = String>>(&mut self, place: usize, text: &str) -> Read<T> {
        text.parse().or_else(|error: String| {
            let until = self.next;
            self.next = place;
            let mut refused = self.refuse(&error);
            if let (Err(mistake), Some((at, word))) = (&mut refused, self.words.get(until - 1)) {
                mistake.span.end = at + word.len();
            }
            refused
        })
    }

    pub fn keyword(&mut self, word: &str) -> Read<()> {
        self.one_of(&format!("'{word}'"), &[word]).map(|_| ())
    }

    pub fn take(&mut self, word: &str) -> bool {
        let hit = self
            .words
            .get(self.next)
            .is_some_and(|(_, next)| *next == word);
        self.next += usize::from(hit);
        hit
    }

    pub fn one_of(&mut self, what: &str, words: &[&str]) -> Read<&'a str> {
        let word = self.word(what)?;
        if words.contains(&word) {
            return Ok(word);
        }
        self.next -= 1;
        let help = match nearest(word, words) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("write {}", words.join(", ")),
        };
        self.wrong(format!("expected {what}, found '{word}'"), help)
    }

    pub fn word(&mut self, what: &str) -> Read<&'a str> {
        match self.words.get(self.next) {
            Some((_, word)) => {
                self.next += 1;
                Ok(word)
            }
            None => self.wrong(
                format!("the line ends where {what} should be"),
                "write it at the end",
            ),
        }
    }

    /// A mistake at the next word, from an error that tells the next step after a semicolon.
    pub fn refuse<T>(&self, error: &str) -> Read<T> {
        let (message, help) = error
            .split_once("; ")
            .unwrap_or((error, "write another value"));
        self.wrong(message, help)
    }

    /// A mistake at the next word.
    pub fn wrong<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Read<T> {
        let span = match self.words.get(self.next) {
            Some((at, word)) => *at..at + word.len(),
            None => self.end..self.end + 1,
        };
        Err(Mistake {
            span,
            message: message.into(),
            help: help.into(),
        })
    }
}
