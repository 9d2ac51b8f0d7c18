//! What outlives a run: one SQLite file with the engine's rows and the alerts that are not taken yet.
//!
//! The engine thread owns [`State`] and writes rows and alerts in one transaction; couriers read and mark through
//! [`Outbox`], a connection of its own, so that a slow receiver never holds up the engine.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jaga_rules::event::{Event, Gap, GapKind, Restore, Row, RowKind, Stamp};
use jaga_rules::output::{AlertState, Transition};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use self::reserve::Reserve;

pub mod cases;
mod file;
pub mod outbox;
mod reserve;
pub mod rung;

pub use outbox::Outbox;

/// Transitions that may wait to be taken. Beyond, the oldest alerts that are already resolved go, counted.
pub const OUTBOX_LIMIT: u64 = 100_000;

/// The engine's end of the state file. Holds a lock: one agent a directory.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    path: PathBuf,
    boot: String,
    run: Option<i64>,
    limit: u64,
    reserve: Reserve,
    _lock: File,
}

/// How much of a commit was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All.
    All,
    /// The disk is full: the transitions, in the room that was kept for them, and no row.
    Alerts,
}

/// Why state could not be read or written.
#[derive(Debug)]
pub struct StateError(String);

impl std::fmt::Display for StateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for StateError {}

impl State {
    /// Opens `directory/jaga.db`, making what is missing. `boot` names this boot ([`crate::clock::boot_id`]).
    /// A corrupt file is moved aside; the gap says so and belongs at the head of the engine's queue.
    ///
    /// # Errors
    /// The directory cannot be made or written, another agent uses it, or a newer version wrote it.
    pub fn open(directory: &Path, boot: &str) -> Result<(Self, Option<Gap>), StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| at(directory, "make state directory", &error))?;
        let lock = lock(directory)?;
        let path = directory.join("jaga.db");
        let (connection, moved) = file::open_or_move_aside(&path)?;
        let state = Self {
            connection,
            path,
            boot: boot.to_owned(),
            run: None,
            limit: OUTBOX_LIMIT,
            reserve: Reserve::new(directory),
            _lock: lock,
        };
        Ok((state, moved.map(|why| unreadable(&why))))
    }

    /// A connection for the couriers.
    ///
    /// # Errors
    /// The file cannot be opened a second time.
    pub fn outbox(&self) -> Result<Outbox, StateError> {
        Outbox::open(&self.path)
    }

    /// The seed of hash maps and alert ids: drawn at the first start, the same ever after.
    ///
    /// # Errors
    /// The disk.
    pub fn seed(&self) -> Result<u64, StateError> {
        let fresh: [u8; 8] = ring::rand::generate(&ring::rand::SystemRandom::new())
            .map_err(|_| StateError("the system gives no random numbers".to_owned()))?
            .expose();
        self.connection
            .execute(
                "INSERT OR IGNORE INTO meta (name, value) VALUES ('seed', ?1)",
                params![i64::from_le_bytes(fresh)],
            )
            .and_then(|_| number(&self.connection, "seed"))
            .map(|seed| seed.unwrap_or_default().cast_unsigned())
            .map_err(|error| at(&self.path, "keep the seed in", &error))
    }

    /// Wall time of the last commit of the run before this one, nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// The disk.
    pub fn last_write(&self) -> Result<Option<i64>, StateError> {
        self.connection
            .query_row(
                "SELECT last + wall_offset FROM run ORDER BY id DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| at(&self.path, "read", &error))
    }

    /// Notes that this run ends in order, now.
    ///
    /// # Errors
    /// The disk.
    pub fn ended(&self, at_stamp: Stamp) -> Result<(), StateError> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES ('ended', ?1)",
                params![at_stamp.0],
            )
            .map(|_| ())
            .map_err(|error| at(&self.path, "keep the end in", &error))
    }

    /// When the run before this one ended in order; absent if it did not, or in another boot: of that time no clock can
    /// be believed. The note is taken away: should this run be killed, its end was not in order.
    ///
    /// # Errors
    /// The disk.
    pub fn take_ended(&self) -> Result<Option<Stamp>, StateError> {
        self.try_take_ended()
            .map_err(|error| at(&self.path, "take the end from", &error))
    }

    fn try_take_ended(&self) -> rusqlite::Result<Option<Stamp>> {
        let ended = number(&self.connection, "ended")?;
        self.connection
            .execute("DELETE FROM meta WHERE name = 'ended'", [])?;
        let boot: Option<String> = self
            .connection
            .query_row("SELECT boot FROM run ORDER BY id DESC LIMIT 1", [], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(ended
            .filter(|_| boot.as_ref() == Some(&self.boot))
            .map(Stamp))
    }

    /// Rows of earlier runs as events, in the fixed order of kind and id, to be fed to the engine before anything
    /// else. `wall_offset` is this run's. Within one boot stamps stay what they were, whatever the wall clock did.
    /// A row of a kind that this version does not know becomes a gap.
    ///
    /// # Errors
    /// The disk.
    pub fn restore(&self, wall_offset: i64) -> Result<Vec<Event>, StateError> {
        let mut rows = self
            .rows_of_earlier_runs(wall_offset)
            .map_err(|error| at(&self.path, "read rows from", &error))?;
        rows.sort_by(|(a, _), (b, _)| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        let unknown = self
            .count_unknown_kinds()
            .map_err(|error| at(&self.path, "read rows from", &error))?;
        let restores = rows
            .into_iter()
            .map(|(row, shift)| Event::Restore(Restore { row, shift }));
        Ok(unknown
            .map(|count| Event::Gap(unknown_kinds(count)))
            .into_iter()
            .chain(restores)
            .collect())
    }

    /// Writes changed rows and transitions in one transaction. When this returns, the transitions survive a loss of
    /// power (I11); rows without transitions survive kill -9, and a loss of power up to the last checkpoint.
    ///
    /// # Errors
    /// The disk: nothing of this commit was written, so call again with the same and what has come since.
    pub fn commit(
        &mut self,
        at_stamp: Stamp,
        wall_offset: i64,
        rows: &[Row],
        transitions: &[Transition],
    ) -> Result<Kept, StateError> {
        let written = match self.try_commit(at_stamp, wall_offset, rows, transitions) {
            Ok(()) => {
                self.reserve.keep();
                Ok(Kept::All)
            }
            Err(error) if is_full(&error) && !transitions.is_empty() => {
                self.reserve.give_up();
                let alone = self.try_commit(at_stamp, wall_offset, &[], transitions);
                alone.map(|()| Kept::Alerts)
            }
            Err(error) => Err(error),
        };
        written.map_err(|error| at(&self.path, "write to", &error))
    }

    fn try_commit(
        &mut self,
        at_stamp: Stamp,
        wall_offset: i64,
        rows: &[Row],
        transitions: &[Transition],
    ) -> rusqlite::Result<()> {
        let durable = if transitions.is_empty() {
            "NORMAL"
        } else {
            "FULL"
        };
        self.connection
            .pragma_update(None, "synchronous", durable)?;
        let transaction = self.connection.transaction()?;
        let run = keep_run(&transaction, self.run, &self.boot, at_stamp, wall_offset)?;
        keep_rows(&transaction, run, rows)?;
        for transition in transitions {
            keep_transition(&transaction, transition)?;
        }
        outbox::enforce_limit(&transaction, self.limit)?;
        transaction.commit()?;
        self.run = Some(run);
        Ok(())
    }

    fn rows_of_earlier_runs(&self, wall_offset: i64) -> rusqlite::Result<Vec<(Row, i64)>> {
        let mut statement = self.connection.prepare(
            "SELECT kind, row.id, body, boot, wall_offset FROM row JOIN run ON run.id = row.run",
        )?;
        let rows = statement.query_map([], |row| {
            let boot: String = row.get(3)?;
            let theirs: i64 = row.get(4)?;
            let shift = if boot == self.boot {
                0
            } else {
                theirs.saturating_sub(wall_offset)
            };
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, shift))
        })?;
        let mut known = Vec::new();
        for row in rows {
            let (kind, id, body, shift) = row?;
            if let Some(kind) = kind_named(&kind) {
                known.push((
                    Row {
                        kind,
                        id,
                        body: Some(body),
                    },
                    shift,
                ));
            }
        }
        Ok(known)
    }

    fn count_unknown_kinds(&self) -> rusqlite::Result<Option<u64>> {
        let mut statement = self
            .connection
            .prepare("SELECT kind, count(*) FROM row GROUP BY kind")?;
        let kinds: BTreeMap<String, u64> = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let count = kinds
            .iter()
            .filter(|(kind, _)| kind_named(kind).is_none())
            .map(|(_, count)| count)
            .sum();
        Ok(Some(count).filter(|count| *count > 0))
    }
}

/// One row a run of the agent: what its stamps mean.
fn keep_run(
    transaction: &Transaction<'_>,
    run: Option<i64>,
    boot: &str,
    at_stamp: Stamp,
    wall_offset: i64,
) -> rusqlite::Result<i64> {
    if let Some(run) = run {
        transaction
            .prepare_cached("UPDATE run SET wall_offset = ?2, last = ?3 WHERE id = ?1")?
            .execute(params![run, wall_offset, at_stamp.0])?;
        return Ok(run);
    }
    transaction.execute("DELETE FROM run WHERE id NOT IN (SELECT run FROM row)", [])?;
    transaction.execute(
        "INSERT INTO run (boot, started, wall_offset, last) VALUES (?1, ?2, ?3, ?4)",
        params![
            boot,
            at_stamp.0.saturating_add(wall_offset),
            wall_offset,
            at_stamp.0
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn keep_rows(transaction: &Transaction<'_>, run: i64, rows: &[Row]) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO row (kind, id, body, run) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body, run = excluded.run",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM row WHERE kind = ?1 AND id = ?2")?;
    for row in rows {
        match &row.body {
            Some(body) => put.execute(params![kind_name(row.kind), row.id, body, run])?,
            None => remove.execute(params![kind_name(row.kind), row.id])?,
        };
    }
    Ok(())
}

fn keep_transition(transaction: &Transaction<'_>, transition: &Transition) -> rusqlite::Result<()> {
    let body = serde_json::to_string(transition).expect("a transition always serialises");
    transaction
        .prepare_cached("INSERT INTO outbox (alert, state, wall, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            transition.id,
            state_name(transition.state),
            transition.wall,
            body
        ])?;
    let sequence = transaction.last_insert_rowid();
    match transition.state {
        AlertState::Pending => 0,
        AlertState::Firing => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO firing (alert, size, fired, body) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![transition.id, transition.size, sequence, body])?,
        AlertState::Resolved => transaction
            .prepare_cached(
                "UPDATE firing SET resolved = ?2 WHERE alert = ?1 AND resolved IS NULL",
            )?
            .execute(params![transition.id, sequence])?,
    };
    Ok(())
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
}

const fn kind_name(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Clock => "clock",
        RowKind::Contract => "contract",
        RowKind::Held => "held",
        RowKind::Seen => "seen",
        RowKind::Label => "label",
        RowKind::Window => "window",
        RowKind::Alert => "alert",
    }
}

fn kind_named(name: &str) -> Option<RowKind> {
    [
        RowKind::Clock,
        RowKind::Contract,
        RowKind::Held,
        RowKind::Label,
        RowKind::Window,
        RowKind::Alert,
        RowKind::Seen,
    ]
    .into_iter()
    .find(|kind| kind_name(*kind) == name)
}

const fn state_name(state: AlertState) -> &'static str {
    match state {
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    }
}

/// A lock that goes with the process, so that a kill -9 leaves nothing behind.
fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(|error| at(&path, "write", &error))?;
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => StateError(format!(
            "state directory '{}' is used by another jaga; stop it, or set another `state:`",
            directory.display()
        )),
        std::fs::TryLockError::Error(error) => at(&path, "lock", &error),
    })?;
    Ok(file)
}

fn unreadable(why: &str) -> Gap {
    Gap {
        sensor: "engine".into(),
        kind: GapKind::Unreadable,
        events: 0,
        bytes: 0,
        why: why.into(),
    }
}

fn unknown_kinds(count: u64) -> Gap {
    Gap {
        events: count,
        ..unreadable(
            "state holds rows of kinds that this version does not know; run the version that wrote them",
        )
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn at(path: &Path, what: &str, error: &dyn std::error::Error) -> StateError {
    StateError(format!(
        "cannot {what} '{}': {error}; see that the disk has room and `state:` is right",
        path.display()
    ))
}

/// For callers whose own errors are of another kind.
impl From<StateError> for io::Error {
    fn from(error: StateError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests;
