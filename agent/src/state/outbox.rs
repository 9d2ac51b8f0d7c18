//! The couriers' end of the state file: what each output has yet to take.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jaga_rules::output::Transition;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{StateError, at, file};

/// Cheap to clone. Its calls block for as long as a disk does: not for async threads.
#[derive(Debug, Clone)]
pub struct Outbox {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
}

/// A transition on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place in the order; never used twice.
    pub sequence: i64,
    /// What to tell.
    pub transition: Transition,
}

/// How much waits for an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The output.
    pub output: String,
    /// Transitions that it has not taken.
    pub pending: u64,
    /// Wall time of the oldest of them, nanoseconds since the Unix epoch.
    pub oldest: Option<i64>,
}

impl Outbox {
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let connection = file::open_again(path).map_err(|error| at(path, "open", &error))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            path: path.into(),
        })
    }

    /// Says which outputs there are. A new one begins with what still waits for another; one that is gone is
    /// forgotten, and what waited only for it with it.
    ///
    /// # Errors
    /// The disk.
    pub fn register(&self, outputs: &[String]) -> Result<(), StateError> {
        self.write(|transaction| {
            let known: Vec<String> = transaction
                .prepare("SELECT output FROM delivery")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for gone in known.iter().filter(|name| !outputs.contains(name)) {
                unregister(transaction, gone)?;
            }
            for output in outputs {
                transaction.execute(
                    "INSERT OR IGNORE INTO delivery (output, taken) VALUES (?1, coalesce(
                         (SELECT min(sequence) - 1 FROM outbox),
                         (SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0))",
                    [output],
                )?;
            }
            forget_taken(transaction)
        })
    }

    /// At most `limit` transitions that `output` has not taken, in order. One that cannot be read (a newer version
    /// wrote it) is dropped, counted and logged: it must not hold up the rest.
    ///
    /// # Errors
    /// The disk.
    pub fn pending(&self, output: &str, limit: u32) -> Result<Vec<Entry>, StateError> {
        let rows: Vec<(i64, String)> = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT sequence, body FROM outbox
                     WHERE sequence > coalesce((SELECT taken FROM delivery WHERE output = ?1), 0)
                     ORDER BY sequence LIMIT ?2",
                )?
                .query_map(params![output, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let mut entries = Vec::with_capacity(rows.len());
        for (sequence, body) in rows {
            match serde_json::from_str(&body) {
                Ok(transition) => entries.push(Entry {
                    sequence,
                    transition,
                }),
                Err(error) => self.drop_unreadable(sequence, &error)?,
            }
        }
        Ok(entries)
    }

    /// Marks everything up to `sequence` as taken by `output`, and deletes what all have taken. A mark that a loss
    /// of power undoes only means that it is offered again.
    ///
    /// # Errors
    /// The disk.
    pub fn taken(&self, output: &str, sequence: i64) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE delivery SET taken = max(taken, ?2) WHERE output = ?1")?
                .execute(params![output, sequence])?;
            forget_taken(transaction)
        })
    }

    /// Alerts that `output` was told are firing and not yet that they are resolved, as they fired.
    ///
    /// # Errors
    /// The disk.
    pub fn active(&self, output: &str) -> Result<Vec<Transition>, StateError> {
        let bodies: Vec<String> = self.read(|connection| {
            connection
                .prepare(
                    "SELECT body FROM firing, delivery WHERE output = ?1
                     AND fired <= taken AND (resolved IS NULL OR resolved > taken) ORDER BY fired",
                )?
                .query_map([output], |row| row.get(0))?
                .collect()
        })?;
        Ok(bodies
            .iter()
            .filter_map(|body| serde_json::from_str(body).ok())
            .collect())
    }

    /// How much waits for each output.
    ///
    /// # Errors
    /// The disk.
    pub fn backlog(&self) -> Result<Vec<Backlog>, StateError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT output, count(sequence), min(wall) FROM delivery
                     LEFT JOIN outbox ON sequence > taken GROUP BY output ORDER BY output",
                )?
                .query_map([], |row| {
                    Ok(Backlog {
                        output: row.get(0)?,
                        pending: row.get(1)?,
                        oldest: row.get(2)?,
                    })
                })?
                .collect()
        })
    }

    /// Transitions that were given up at the outbox's limit, ever.
    ///
    /// # Errors
    /// The disk.
    pub fn dropped(&self) -> Result<u64, StateError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT value FROM meta WHERE name = 'outbox-dropped'",
                    [],
                    |row| row.get(0),
                )
                .optional()
        })
        .map(Option::unwrap_or_default)
    }

    fn drop_unreadable(&self, sequence: i64, error: &serde_json::Error) -> Result<(), StateError> {
        tracing::error!(sequence, %error, "dropped an alert that this version cannot read from the outbox");
        self.write(|transaction| {
            transaction.execute("DELETE FROM outbox WHERE sequence = ?1", [sequence])?;
            count_dropped(transaction, 1)
        })
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        query(&self.lock()).map_err(|error| at(&self.path, "read", &error))
    }

    fn write(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StateError> {
        let mut connection = self.lock();
        let done = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .and_then(|transaction| {
                change(&transaction)?;
                transaction.commit()
            });
        done.map_err(|error| at(&self.path, "write to", &error))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn unregister(transaction: &Transaction<'_>, output: &str) -> rusqlite::Result<()> {
    let untold: u64 = transaction.query_row(
        "SELECT count(*) FROM outbox, delivery WHERE output = ?1 AND sequence > taken",
        [output],
        |row| row.get(0),
    )?;
    if untold > 0 {
        tracing::warn!(
            output,
            untold,
            "output is not configured any more and never took these alerts"
        );
    }
    transaction.execute("DELETE FROM delivery WHERE output = ?1", [output])?;
    Ok(())
}

fn forget_taken(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    const BY_ALL: &str = "(SELECT min(taken) FROM delivery)";
    transaction
        .prepare_cached(&format!("DELETE FROM outbox WHERE sequence <= {BY_ALL}"))?
        .execute([])?;
    transaction
        .prepare_cached(&format!("DELETE FROM firing WHERE resolved <= {BY_ALL}"))?
        .execute([])?;
    Ok(())
}

/// Keeps at most `limit` entries: first the oldest alerts that are over go, from firing to resolved; if that is not
/// enough the oldest entries. Alerts that still fire stay in `firing`, so Alertmanager hears of them at the next start.
pub(super) fn enforce_limit(transaction: &Transaction<'_>, limit: u64) -> rusqlite::Result<()> {
    let span: i64 = transaction
        .prepare_cached("SELECT coalesce(max(sequence) - min(sequence) + 1, 0) FROM outbox")?
        .query_row([], |row| row.get(0))?;
    if span.cast_unsigned() <= limit {
        return Ok(());
    }
    let count: u64 = transaction.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?;
    let Some(excess) = count.checked_sub(limit).filter(|excess| *excess > 0) else {
        return Ok(());
    };
    let mut dropped = transaction.execute(
        "DELETE FROM outbox WHERE EXISTS (
             SELECT 1 FROM (SELECT alert, sequence AS over FROM outbox WHERE state = 'resolved'
                            ORDER BY sequence LIMIT ?1) AS ended
             WHERE ended.alert = outbox.alert AND outbox.sequence <= ended.over)",
        [excess.div_ceil(2)],
    )? as u64;
    if dropped < excess {
        dropped += transaction.execute(
            "DELETE FROM outbox WHERE sequence IN (SELECT sequence FROM outbox ORDER BY sequence LIMIT ?1)",
            [excess - dropped],
        )? as u64;
    }
    count_dropped(transaction, dropped)
}

fn count_dropped(transaction: &Transaction<'_>, dropped: u64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('outbox-dropped', ?1)
         ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        [dropped],
    )?;
    Ok(())
}
