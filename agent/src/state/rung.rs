//! The best rung that each subject has stood on, on this host: who sees less after an update of the kernel must say so.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{State, StateError, at, file};

/// The best rung by subject.
pub type Rungs = BTreeMap<String, u8>;

/// How a row of `meta` begins that holds a rung.
const PREFIX: &str = "rung:";

/// Where rungs are kept: a connection of its own, for when the engine has the state.
#[derive(Debug)]
pub struct Keeper(Connection, std::path::PathBuf);

impl State {
    /// Where rungs are kept.
    ///
    /// # Errors
    /// The file cannot be opened a second time.
    pub fn rungs(&self) -> Result<Keeper, StateError> {
        let connection = file::open_again(&self.path);
        let connection = connection.map_err(|error| at(&self.path, "open", &error))?;
        Ok(Keeper(connection, self.path.clone()))
    }
}

impl Keeper {
    /// The best of earlier runs.
    ///
    /// # Errors
    /// The disk.
    pub fn best(&self) -> Result<Rungs, StateError> {
        self.read()
            .map_err(|error| at(&self.1, "read rungs from", &error))
    }

    /// Keeps those that are better than what is kept, or new. 0 is none.
    ///
    /// # Errors
    /// The disk.
    pub fn keep<'a>(&self, now: impl IntoIterator<Item = (&'a str, u8)>) -> Result<(), StateError> {
        for (subject, rung) in now.into_iter().filter(|(_, rung)| *rung > 0) {
            self.0
                .execute(
                    "INSERT INTO meta (name, value) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET value = MIN(value, excluded.value)",
                    params![format!("{PREFIX}{subject}"), rung],
                )
                .map_err(|error| at(&self.1, "keep a rung in", &error))?;
        }
        Ok(())
    }

    fn read(&self) -> rusqlite::Result<Rungs> {
        let mut statement = self
            .0
            .prepare("SELECT substr(name, ?1), value FROM meta WHERE name LIKE 'rung:%'")?;
        let rows = statement.query_map([PREFIX.len() + 1], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_kept_and_nothing_is_no_rung() {
        let directory = tempfile::tempdir().unwrap();
        let (state, _) = State::open(directory.path(), "boot").unwrap();
        let keeper = state.rungs().unwrap();
        assert_eq!(keeper.best().unwrap(), Rungs::new());
        keeper.keep([("files", 2), ("sockets", 0)]).unwrap();
        keeper.keep([("files", 3)]).unwrap();
        assert_eq!(keeper.best().unwrap(), Rungs::from([("files".into(), 2)]));
        keeper.keep([("files", 1)]).unwrap();
        assert_eq!(keeper.best().unwrap()["files"], 1);
    }
}
