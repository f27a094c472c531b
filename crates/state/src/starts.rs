//! From which offset on each sync takes events: written once, when a server first runs the sync.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_event::{in_partition, partition_of};

use super::{State, StateError, signed, sum, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS starts (
        sync TEXT PRIMARY KEY, log_offset INTEGER NOT NULL, sum INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// A file of a build that knew no starts: its syncs are older than what it says of them.
pub(super) const UNKNOWN: &str = "INSERT INTO meta (key, value) VALUES ('starts', 'unknown')";

impl State {
    /// The first offset of each sync that a server has run.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was stored.
    pub fn starts(&self) -> Result<BTreeMap<String, u64>, StateError> {
        self.starts_in(self.partition)
    }

    /// The same in a partition.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was stored.
    pub fn starts_in(&self, partition: u16) -> Result<BTreeMap<String, u64>, StateError> {
        let read = || -> rusqlite::Result<Vec<(String, u64, i64)>> {
            let mut find = self.connection.prepare("SELECT sync, log_offset, sum FROM starts")?;
            find.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?), row.get(2)?)))?.collect()
        };
        let rows = read().map_err(self.err("could not read where syncs start"))?;
        let checked = |(sync, offset, sum): (String, u64, i64)| {
            let right = sum::named(&sync, offset).value() == sum;
            right.then_some((sync, offset)).ok_or_else(|| self.damaged("where a sync starts is not what was stored"))
        };
        let mut starts = BTreeMap::new();
        for row in rows {
            let (key, offset) = checked(row)?;
            if let (sync, of) = partition_of(&key)
                && of == partition
            {
                starts.insert(sync.to_owned(), offset);
            }
        }
        Ok(starts)
    }

    /// Whether a sync that [`State::starts`] does not name may all the same have run, under an earlier build.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn starts_are_unknown(&self) -> Result<bool, StateError> {
        let sql = "SELECT count(*) > 0 FROM meta WHERE key = 'starts'";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(self.err("could not read where syncs start"))
    }

    /// Says, durably, where syncs start. One that has started stays where it did.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn record_starts(&mut self, starts: &[(&str, u64)]) -> Result<(), StateError> {
        let partition = self.partition;
        self.in_transaction(true, |connection| {
            let insert = |(sync, offset): &(&str, u64)| insert(connection, &in_partition(sync, partition), *offset);
            starts.iter().try_for_each(insert)?;
            connection.execute("DELETE FROM meta WHERE key = 'starts'", []).map(drop)
        })
    }
}

/// `sync` is the key of a sync in a partition.
pub(super) fn insert(connection: &Connection, sync: &str, offset: u64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO starts (sync, log_offset, sum) VALUES (?1, ?2, ?3)";
    connection.execute(sql, params![sync, signed(offset), sum::named(sync, offset).value()]).map(drop)
}

/// Where a sync starts, under its key; 0 where that is not known.
pub(super) fn of(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT log_offset FROM starts WHERE sync = ?1";
    let found = connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?;
    Ok(unsigned(found.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_starts_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        state.record_starts(&[("crm", 7), ("lake", 0)]).unwrap();
        state.record_starts(&[("crm", 9), ("ads", 9)]).unwrap();
        let starts: Vec<_> = state.starts().unwrap().into_iter().collect();
        assert_eq!(starts, [("ads".to_owned(), 9), ("crm".to_owned(), 7), ("lake".to_owned(), 0)]);
        assert!(!state.starts_are_unknown().unwrap());
        state.connection.execute_batch(UNKNOWN).unwrap();
        assert!(state.starts_are_unknown().unwrap());
        state.connection.execute("UPDATE starts SET log_offset = 8 WHERE sync = 'crm'", []).unwrap();
        assert!(matches!(state.starts(), Err(StateError::Damaged { .. })));
    }
}
