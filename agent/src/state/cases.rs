//! What people ask of the state file, and of the agent through it: cases, and that they are settled.

use std::collections::BTreeSet;
use std::path::Path;

use jaga_rules::case::Case;
use jaga_rules::event::{Settle, Verdict};
use rusqlite::{Connection, OptionalExtension, params};

use super::{StateError, at, file};

/// Requests that wait for the agent at the most: a person makes a few.
const REQUESTS_LIMIT: i64 = 1_000;

/// The state file as a person's command sees it; the agent may run beside.
#[derive(Debug)]
pub struct Cases {
    connection: Connection,
    path: std::path::PathBuf,
}

/// A case, and when it fired.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The case.
    pub case: Case,
    /// Wall time at which it fired, nanoseconds since the Unix epoch.
    pub fired: i64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The agent has not taken it yet.
    Waits,
    /// The case is closed.
    Settled,
    /// There was no such open case any more.
    Gone,
}

impl Cases {
    /// Opens the state in a directory in which an agent has run.
    ///
    /// # Errors
    /// None has, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join("jaga.db");
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => {
                return Err(StateError(format!(
                    "no state in '{}': `jaga run` has not run with this configuration; `-c` names another one",
                    directory.display()
                )));
            }
            Err(error) => {
                return Err(StateError(format!(
                    "cannot look into '{}': {error}; run it as root",
                    directory.display()
                )));
            }
        }
        let connection = file::open_again(&path)
            .and_then(|connection| {
                // An older agent has not made it; then nobody answers, which is said.
                connection.execute_batch(file::REQUESTS)?;
                Ok(connection)
            })
            .map_err(|error| at(&path, "open", &error))?;
        Ok(Self { connection, path })
    }

    /// All alerts that fired and are remembered, the newest last.
    ///
    /// # Errors
    /// The disk.
    pub fn all(&self) -> Result<Vec<Found>, StateError> {
        let mut found = self
            .read_all()
            .map_err(|error| at(&self.path, "read alerts from", &error))?;
        found.sort_by(|one, other| (one.fired, &one.case.id).cmp(&(other.fired, &other.case.id)));
        Ok(found)
    }

    fn read_all(&self) -> rusqlite::Result<Vec<Found>> {
        let mut rows = self.connection.prepare(
            "SELECT body, wall_offset FROM row JOIN run ON run.id = row.run WHERE kind = 'alert'",
        )?;
        let rows = rows.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (body, wall_offset) = row?;
            // What this version cannot read it tells where the agent starts.
            if let Ok(Some(case)) = Case::read(&body) {
                let fired = case.fired.0.saturating_add(wall_offset);
                found.push(Found { case, fired });
            }
        }
        Ok(found)
    }

    /// DICOM titles that were seen, in order.
    ///
    /// # Errors
    /// The disk.
    pub fn ae_titles(&self) -> Result<Vec<String>, StateError> {
        let read = || {
            let mut ids = self.connection.prepare(
                "SELECT id FROM row WHERE kind = 'seen' AND id GLOB 'ae-[tp]* *' ORDER BY id",
            )?;
            let ids = ids.query_map([], |row| row.get::<_, String>(0))?;
            let title = |id: String| id.split_once(' ').map(|(_, title)| title.to_owned());
            let titles: rusqlite::Result<BTreeSet<String>> =
                ids.filter_map(|id| id.map(title).transpose()).collect();
            titles.map(|titles| titles.into_iter().collect())
        };
        read().map_err(|error| at(&self.path, "read titles from", &error))
    }

    /// Asks the agent to settle a case; the request's number.
    ///
    /// # Errors
    /// The disk, or too many requests that nobody takes.
    pub fn ask(&self, settle: &Settle) -> Result<i64, StateError> {
        let waiting: rusqlite::Result<i64> = self.connection.query_row(
            "SELECT count(*) FROM request WHERE answer IS NULL",
            [],
            |row| row.get(0),
        );
        let waiting = waiting.map_err(|error| at(&self.path, "read", &error))?;
        if waiting >= REQUESTS_LIMIT {
            return Err(StateError(format!(
                "{waiting} requests wait already: start the agent, which takes them"
            )));
        }
        self.connection
            .execute(
                "INSERT INTO request (alert, verdict) VALUES (?1, ?2)",
                params![settle.id, verdict_name(settle.verdict)],
            )
            .map_err(|error| at(&self.path, "ask through", &error))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// What became of it.
    ///
    /// # Errors
    /// The disk.
    pub fn answer(&self, request: i64) -> Result<Answer, StateError> {
        let answer: rusqlite::Result<Option<Option<bool>>> = self
            .connection
            .query_row(
                "SELECT answer FROM request WHERE number = ?1",
                [request],
                |row| row.get(0),
            )
            .optional();
        match answer.map_err(|error| at(&self.path, "read", &error))? {
            Some(None) => Ok(Answer::Waits),
            Some(Some(true)) => Ok(Answer::Settled),
            Some(Some(false)) | None => Ok(Answer::Gone),
        }
    }
}

impl super::State {
    /// Requests that nobody has answered, with their numbers.
    ///
    /// # Errors
    /// The disk.
    pub fn requests(&self) -> Result<Vec<(i64, Settle)>, StateError> {
        let read = || {
            let mut rows = self.connection.prepare_cached(
                "SELECT number, alert, verdict FROM request WHERE answer IS NULL ORDER BY number",
            )?;
            let rows = rows.query_map([], |row| {
                let verdict: String = row.get(2)?;
                Ok((row.get(0)?, row.get(1)?, verdict_named(&verdict)))
            })?;
            rows.collect::<rusqlite::Result<Vec<(i64, String, Verdict)>>>()
        };
        let requests = read().map_err(|error| at(&self.path, "read requests from", &error))?;
        Ok(requests
            .into_iter()
            .map(|(number, id, verdict)| (number, Settle { id, verdict }))
            .collect())
    }

    /// Answers a request. Answered ones are kept: they say who was asked what.
    ///
    /// # Errors
    /// The disk.
    pub fn answer(&self, number: i64, settled: bool) -> Result<(), StateError> {
        self.connection
            .execute(
                "UPDATE request SET answer = ?2 WHERE number = ?1",
                params![number, settled],
            )
            .map(|_| ())
            .map_err(|error| at(&self.path, "answer in", &error))
    }
}

/// What users type, and what is kept.
pub const VERDICTS: [(&str, Verdict); 3] = [
    ("theft", Verdict::Theft),
    ("allowed", Verdict::Allowed),
    ("test", Verdict::Test),
];

fn verdict_name(verdict: Verdict) -> &'static str {
    let found = VERDICTS.iter().find(|(_, of)| *of == verdict);
    found.map_or("", |(name, _)| name)
}

fn verdict_named(name: &str) -> Verdict {
    let found = VERDICTS.iter().find(|(of, _)| *of == name);
    found.map_or(Verdict::Test, |(_, verdict)| *verdict)
}
