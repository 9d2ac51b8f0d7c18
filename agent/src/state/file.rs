//! The SQLite file itself: made, opened, checked, and moved aside when it is corrupt.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{StateError, at};

const FORMAT: i64 = 1;

const SCHEMA: &str = "
    -- What the stamps of a run of the agent mean: wall time = stamp + wall_offset; all nanoseconds.
    CREATE TABLE run (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, started INTEGER NOT NULL,
                      wall_offset INTEGER NOT NULL, last INTEGER NOT NULL);
    -- The engine's state, newest only; stamps in body are those of the run that wrote it.
    CREATE TABLE row (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, run INTEGER NOT NULL,
                      PRIMARY KEY (kind, id)) WITHOUT ROWID;
    -- Transitions that some output has not taken yet, in order. AUTOINCREMENT: a number is never used twice.
    CREATE TABLE outbox (sequence INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL, state TEXT NOT NULL,
                         wall INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX outbox_resolved ON outbox (sequence) WHERE state = 'resolved';
    CREATE INDEX outbox_alert ON outbox (alert);
    -- Alerts as they fired, until every output has taken their end: where Alertmanager's labels come from.
    CREATE TABLE firing (alert TEXT NOT NULL, size INTEGER NOT NULL, fired INTEGER NOT NULL, resolved INTEGER,
                         body TEXT NOT NULL, PRIMARY KEY (alert, size)) WITHOUT ROWID;
    -- How far each output has taken the outbox.
    CREATE TABLE delivery (output TEXT PRIMARY KEY, taken INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

/// What people ask of the agent, and whether it did that. Beside the schema: an older version does without.
pub(super) const REQUESTS: &str = "
    CREATE TABLE IF NOT EXISTS request (number INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL,
                                        verdict TEXT NOT NULL, answer INTEGER);
";

/// The connection, and where a corrupt file went and why.
pub(super) fn open_or_move_aside(path: &Path) -> Result<(Connection, Option<String>), StateError> {
    match open_checked(path) {
        Ok(connection) => Ok((connection, None)),
        Err(Fault::Corrupt(why)) => {
            let aside = move_aside(path)?;
            let told = format!(
                "state file '{}' is corrupt ({why}) and was moved to '{}'; what was held and sent before is forgotten: \
                 look into it with `sqlite3`, check the disk, then delete it",
                path.display(),
                aside.display()
            );
            let connection = open_checked(path).map_err(|fault| fault.error(path))?;
            Ok((connection, Some(told)))
        }
        Err(fault) => Err(fault.error(path)),
    }
}

/// An existing file, for a second connection.
pub(super) fn open_again(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(&connection)?;
    Ok(connection)
}

enum Fault {
    Corrupt(String),
    Newer(i64),
    Other(rusqlite::Error),
}

impl Fault {
    fn error(self, path: &Path) -> StateError {
        match self {
            Self::Corrupt(why) => at(path, "open", &StateError(why)),
            Self::Other(error) => at(path, "open", &error),
            Self::Newer(format) => StateError(format!(
                "state file '{}' has format {format}, this version knows {FORMAT}; run the newer jaga, or move the \
                 file away",
                path.display()
            )),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Other(error),
        }
    }
}

fn open_checked(path: &Path) -> Result<Connection, Fault> {
    let mut connection = Connection::open(path)?;
    set_up(&connection)?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if format > FORMAT {
        return Err(Fault::Newer(format));
    }
    if format == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.commit()?;
    }
    connection.execute_batch(REQUESTS)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Fault::Corrupt(verdict));
    }
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)
}

fn move_aside(path: &Path) -> Result<PathBuf, StateError> {
    let aside = (0..)
        .map(|number| with_suffix(path, &format!(".corrupt-{number}")))
        .find(|aside| !aside.exists())
        .expect("some number is free");
    std::fs::rename(path, &aside).map_err(|error| at(path, "move away the corrupt", &error))?;
    for companion in ["-wal", "-shm"] {
        let from = with_suffix(path, companion);
        if from.exists() {
            std::fs::rename(&from, with_suffix(&aside, companion))
                .map_err(|error| at(&from, "move away the corrupt", &error))?;
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
