//! Which data directory a state file belongs to, and how often it was opened.
//!
//! The same two values stand in a file beside it. A state file of another directory is told by its id; an older copy of
//! the right one, put back from a backup, by a generation below that of the file beside.

use rusqlite::{OptionalExtension as _, params};

use super::{State, StateError, sum};

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, made with the data directory.
    pub id: String,
    /// Grows by one at each start and each orderly stop.
    pub generation: u64,
}

const KEY: &str = "data_id";

impl State {
    /// Whose state it is; `None` for one that was made just now or by a build without identities.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        let sql = "SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1";
        let found: Option<String> = self
            .connection
            .query_row(sql, [KEY], |row| row.get(0))
            .optional()
            .map_err(self.err("could not read whose state it is"))?;
        let Some(found) = found else { return Ok(None) };
        let identity = sum::unsealed(KEY, &found).and_then(|text| text.split_once(' ')).and_then(|(id, generation)| {
            generation.parse().ok().map(|generation| Identity { id: id.to_owned(), generation })
        });
        identity.map(Some).ok_or_else(|| self.damaged("whose state it is cannot be read"))
    }

    /// Says whose state it is, durably.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn set_identity(&mut self, identity: &Identity) -> Result<(), StateError> {
        let text = sum::sealed(KEY, &format!("{} {}", identity.id, identity.generation));
        self.in_transaction(true, |connection| {
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
            connection.execute(sql, params![KEY, text]).map(drop)
        })
    }
}
