//! How many partitions the log has that this state is of.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_event::{Position, in_partition};

use super::{State, StateError, cursors, schema, seal, seen, sum};

const KEY: &str = "partitions";

impl State {
    /// How many partitions the log has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn partitions(&self) -> Result<u16, StateError> {
        read(&self.connection)
            .map_err(self.err("could not read"))?
            .ok_or_else(|| self.damaged("how many partitions the log has cannot be read"))
    }

    /// Says, durably, how many partitions the log has, and makes what each needs; those that are no more have held nothing. A
    /// file of several cannot be used by a build that knows one.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn set_partitions(&mut self, partitions: u16) -> Result<(), StateError> {
        let before = self.partitions()?;
        if before == partitions {
            return Ok(());
        }
        self.in_transaction(true, |connection| {
            for partition in partitions..before {
                seen::remove_tables(connection, partition)?;
                connection.execute("DELETE FROM meta WHERE key = ?1", [in_partition("refined_to", partition)])?;
            }
            for partition in before..partitions {
                cursors::set_refined_to(connection, Position::new(partition, 0))?;
            }
            seal::seal(connection)?;
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
            match partitions {
                1 => connection.execute("DELETE FROM meta WHERE key = ?1", [KEY])?,
                _ => connection.execute(sql, params![KEY, sum::sealed(KEY, &partitions.to_string())])?,
            };
            connection.execute(sql, params!["format", schema::format_of(partitions)]).map(drop)
        })
    }
}

/// `None` when it is not what was stored.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<u16>> {
    let sql = "SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1";
    let found: Option<String> = connection.query_row(sql, [KEY], |row| row.get(0)).optional()?;
    Ok(match found {
        Some(text) => sum::unsealed(KEY, &text).and_then(|text| text.parse().ok()),
        None => Some(1),
    })
}
