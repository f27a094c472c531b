//! How far streams were read whose carriers keep no positions themselves: of each source and upstream partition, the last position that is
//! in the log.
//!
//! It is written after the log has the messages, so it is never ahead of them. Losing the latest of it (a power cut) has messages come again,
//! which are duplicates.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::{State, StateError, sum};

pub(super) const COLUMNS: &str = "source, upstream_partition, position, sum";

/// A row, and whether it is what was stored.
struct ReadPosition {
    source: String,
    partition: String,
    position: String,
    is_right: bool,
}

impl ReadPosition {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (source, partition, position) = (sum::text(row, 0)?, sum::text(row, 1)?, sum::text(row, 2)?);
        let sum = sum::number(row, 3)?;
        let is_right = sum::types_are(row, "ttti")? && sum == checksum(&source, &partition, &position);
        Ok(Self { source, partition, position, is_right })
    }
}

impl State {
    /// How far a source was read, by upstream partition.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn stream_positions(&self, source: &str) -> Result<BTreeMap<String, String>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM stream_positions WHERE source = ?1");
        let read = || -> rusqlite::Result<Vec<ReadPosition>> {
            let mut find = self.connection.prepare_cached(&sql)?;
            find.query_map([source], ReadPosition::of)?.collect()
        };
        let read = read().map_err(self.err("could not read how far streams were read"))?;
        self.right(&read)?;
        Ok(read.into_iter().map(|row| (row.partition, row.position)).collect())
    }

    /// Keeps these positions of a source in the place of those of the same upstream partitions, all of them or none; `None` takes one away.
    ///
    /// # Errors
    /// Nothing was kept.
    pub fn keep_stream_positions(
        &mut self,
        source: &str,
        changed: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StateError> {
        self.in_transaction(false, |connection| {
            changed.iter().try_for_each(|(partition, position)| match position {
                Some(position) => insert(connection, source, partition, position),
                None => {
                    let sql = "DELETE FROM stream_positions WHERE source = ?1 AND upstream_partition = ?2";
                    connection.prepare_cached(sql)?.execute(params![source, partition]).map(drop)
                }
            })
        })
    }

    /// Reads all of them, of all sources.
    pub(super) fn count_stream_positions(&self) -> Result<u64, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM stream_positions");
        let read = || -> rusqlite::Result<Vec<ReadPosition>> {
            let mut find = self.connection.prepare_cached(&sql)?;
            find.query_map([], ReadPosition::of)?.collect()
        };
        let read = read().map_err(self.err("could not read how far streams were read"))?;
        self.right(&read)?;
        Ok(read.len() as u64)
    }

    fn right(&self, read: &[ReadPosition]) -> Result<(), StateError> {
        match read.iter().find(|row| !row.is_right) {
            None => Ok(()),
            Some(row) => {
                let what = format!("how far {} of the source {} was read", row.partition, row.source);
                Err(self.damaged(what))
            }
        }
    }
}

fn insert(connection: &Connection, source: &str, partition: &str, position: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO stream_positions (source, upstream_partition, position, sum)
        VALUES (?1, ?2, ?3, ?4)";
    let sum = checksum(source, partition, position);
    connection.prepare_cached(sql)?.execute(params![source, partition, position, sum]).map(drop)
}

fn checksum(source: &str, partition: &str, position: &str) -> i64 {
    sum::Sum::default().text(source).text(partition).text(position).value()
}

/// Takes a row of a damaged file that is right.
pub(super) fn salvage(new: &Connection, row: &Row<'_>) -> rusqlite::Result<u64> {
    let row = ReadPosition::of(row)?;
    if !row.is_right {
        return Ok(0);
    }
    insert(new, &row.source, &row.partition, &row.position)?;
    Ok(new.changes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(positions: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
        positions.iter().map(|(partition, at)| ((*partition).to_owned(), at.map(str::to_owned))).collect()
    }

    #[test]
    fn positions_are_those_that_were_kept_last_and_each_source_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        state.keep_stream_positions("orders", &moved(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
        state.keep_stream_positions("clicks", &moved(&[("a", Some("9"))])).unwrap();
        state.keep_stream_positions("orders", &moved(&[("a", None), ("b", Some("3"))])).unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert_eq!(state.stream_positions("orders").unwrap(), BTreeMap::from([("b".to_owned(), "3".to_owned())]));
        assert_eq!(state.stream_positions("clicks").unwrap(), BTreeMap::from([("a".to_owned(), "9".to_owned())]));
        assert_eq!(state.count_stream_positions().unwrap(), 2);
        // A position that is another one by itself is told, not read on from.
        state.connection.execute("UPDATE stream_positions SET position = '7' WHERE source = 'orders'", []).unwrap();
        assert!(matches!(state.stream_positions("orders"), Err(StateError::Damaged { .. })));
        assert_eq!(state.stream_positions("clicks").unwrap().len(), 1);
        drop(state);
        // Another file takes what is right of it.
        let mut new = State::open(&dir.path().join("new.db")).unwrap();
        new.salvage(&path).unwrap();
        assert!(new.stream_positions("orders").unwrap().is_empty());
        assert_eq!(new.stream_positions("clicks").unwrap(), BTreeMap::from([("a".to_owned(), "9".to_owned())]));
    }
}
