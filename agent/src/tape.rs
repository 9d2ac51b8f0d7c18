//! The tape: a recording of stamped events with all that decides, one JSON object a line.

use std::fmt;
use std::io::{self, BufRead, BufWriter, Read, Write};

use jaga_rules::event::{Event, Gap, GapKind, Setup, Stamp, Stamped};
use serde::{Deserialize, Serialize};

/// The format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

/// The longest line that is read, bytes. A reload carries a configuration and every rule file.
const LINE_LIMIT: u64 = 64 << 20;

/// The first line: replay needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Seed of the engine.
    pub seed: u64,
    /// Configuration and rules.
    pub setup: Setup,
}

/// Records.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    to: BufWriter<W>,
}

impl<W: Write> Recorder<W> {
    /// Starts a tape.
    ///
    /// # Errors
    /// Whatever writing brings.
    pub fn start(to: W, seed: u64, setup: &Setup) -> io::Result<Self> {
        let mut recorder = Self {
            to: BufWriter::with_capacity(1 << 16, to),
        };
        recorder.line(&Header {
            format: FORMAT,
            seed,
            setup: setup.clone(),
        })?;
        recorder.flush()?;
        Ok(recorder)
    }

    /// Records one event, buffered.
    ///
    /// # Errors
    /// Whatever writing brings.
    pub fn write(&mut self, event: &Stamped) -> io::Result<()> {
        self.line(event)
    }

    /// Hands everything to the operating system. Call it once a drain: a tape is then cut by a crash at most there.
    ///
    /// # Errors
    /// Whatever writing brings.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        self.to.write_all(b"\n")
    }
}

/// A tape that is read.
#[derive(Debug)]
pub struct Tape<R> {
    from: R,
    header: Header,
    line: Vec<u8>,
    number: u64,
    now: Stamp,
    trouble: Option<Trouble>,
}

/// What is wrong with a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The first line is no header.
    Header(String),
    /// The header names a format that is not read.
    Format(u64),
    /// This line (from 1) is no event, and everything after it is left out.
    Line {
        /// Which.
        number: u64,
        /// Why.
        reason: String,
    },
}

impl<R: BufRead> Tape<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// No header, or one of a format that is not read.
    pub fn open(mut from: R) -> Result<Self, Trouble> {
        let mut line = Vec::new();
        read_line(&mut from, &mut line).map_err(|error| Trouble::Header(error.to_string()))?;
        let header = header(&line)?;
        Ok(Self {
            from,
            header,
            line,
            number: 1,
            now: Stamp(i64::MIN),
            trouble: None,
        })
    }

    /// Seed, configuration and rules of the run that was recorded.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What ended the tape before its end, once it has ended.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    fn read_event(&mut self) -> Result<Option<Stamped>, String> {
        self.number += 1;
        self.line.clear();
        let read = read_line(&mut self.from, &mut self.line).map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(None);
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|error| error.to_string())
    }

    fn gap(&mut self, reason: String) -> Stamped {
        let trouble = Trouble::Line {
            number: self.number,
            reason,
        };
        let why = trouble.to_string().into();
        self.trouble = Some(trouble);
        Stamped {
            at: self.now.max(Stamp(0)),
            event: Event::Gap(Gap {
                sensor: "engine".into(),
                kind: GapKind::Unreadable,
                events: 1,
                bytes: 0,
                why,
            }),
        }
    }
}

/// The events, to the end or to the first line that is none: that line becomes a gap, and the tape ends with it.
impl<R: BufRead> Iterator for Tape<R> {
    type Item = Stamped;

    fn next(&mut self) -> Option<Stamped> {
        if self.trouble.is_some() {
            return None;
        }
        match self.read_event() {
            Ok(event) => {
                self.now = event.as_ref().map_or(self.now, |event| event.at);
                event
            }
            Err(reason) => Some(self.gap(reason)),
        }
    }
}

fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    let read = from.take(LINE_LIMIT).read_until(b'\n', line)?;
    if read as u64 == LINE_LIMIT {
        return Err(io::Error::other(format!("longer than {LINE_LIMIT} bytes")));
    }
    Ok(read)
}

fn header(line: &[u8]) -> Result<Header, Trouble> {
    #[derive(Deserialize)]
    struct Version {
        format: u64,
    }
    let wrong = |error: serde_json::Error| Trouble::Header(error.to_string());
    let version: Version = serde_json::from_slice(line).map_err(wrong)?;
    if version.format != u64::from(FORMAT) {
        return Err(Trouble::Format(version.format));
    }
    serde_json::from_slice(line).map_err(wrong)
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(reason) => write!(
                out,
                "line 1: no header of a tape: {reason}; give a file that 'jaga run' recorded"
            ),
            Self::Format(format) => write!(
                out,
                "line 1: tape format '{format}' is not read here (only {FORMAT}); replay it with the version of jaga \
                 that recorded it"
            ),
            Self::Line { number, reason } => write!(
                out,
                "line {number}: {reason}; what came before it was replayed, the rest was left out"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup {
            config: "site: test\n".to_owned(),
            rules: Vec::new(),
        }
    }

    fn events() -> Vec<Stamped> {
        let at = |nanos, event| Stamped {
            at: Stamp(nanos),
            event,
        };
        vec![
            at(-5, Event::Clock { wall_offset: 7 }),
            at(1, Event::Wake),
            at(2, Event::Reload(Box::new(setup()))),
        ]
    }

    fn recorded() -> Vec<u8> {
        let mut tape = Vec::new();
        let mut recorder = Recorder::start(&mut tape, 42, &setup()).unwrap();
        for event in events() {
            recorder.write(&event).unwrap();
        }
        recorder.flush().unwrap();
        drop(recorder);
        tape
    }

    fn open_error(text: &str) -> String {
        Tape::open(text.as_bytes())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_recorded_is_read() {
        let bytes = recorded();
        let mut tape = Tape::open(bytes.as_slice()).unwrap();
        assert_eq!((tape.header().seed, &tape.header().setup), (42, &setup()));
        assert_eq!(tape.by_ref().collect::<Vec<_>>(), events());
        assert_eq!(tape.trouble(), None);
    }

    /// A crash can cut a tape anywhere: everything before the cut is played, the cut itself is a gap.
    #[test]
    fn a_tape_cut_anywhere_gives_what_it_holds() {
        let bytes = recorded();
        let header_bytes = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in header_bytes..bytes.len() {
            let mut tape = Tape::open(&bytes[..cut]).unwrap();
            let read: Vec<Stamped> = tape.by_ref().collect();
            let whole = bytes[header_bytes..cut]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            let rest_is_an_event = bytes[cut] == b'\n';
            let at_line_end = bytes[cut - 1] == b'\n';
            let wanted = whole + usize::from(rest_is_an_event);
            assert_eq!(read[..wanted], events()[..wanted], "cut at {cut}");
            if !rest_is_an_event && !at_line_end {
                assert!(matches!(read[wanted].event, Event::Gap(_)), "cut at {cut}");
                assert!(tape.trouble().is_some());
            }
        }
    }

    #[test]
    fn a_line_of_nonsense_ends_the_tape_with_a_gap() {
        let mut bytes = recorded();
        bytes.extend_from_slice(b"\xff\xfe\n{\"at\":9,\"event\":\"wake\"}\n");
        let mut tape = Tape::open(bytes.as_slice()).unwrap();
        let last = tape.by_ref().last().unwrap();
        assert!(matches!(last.event, Event::Gap(_)));
        assert_eq!(last.at, Stamp(2));
        let told = tape.trouble().unwrap().to_string();
        assert!(told.starts_with("line 5: "), "{told}");
    }

    #[test]
    fn what_is_no_tape_is_refused_with_the_next_step() {
        assert!(open_error("").contains("line 1: no header of a tape"));
        assert!(open_error("\u{1}\u{2}\n").contains("'jaga run' recorded"));
        assert!(open_error("{\"format\":2,\"seed\":1}\n").contains("format '2' is not read"));
        assert!(open_error("{\"format\":1,\"seed\":1}\n").contains("setup"));
    }
}
