//! How far records of a source may have been erased, because it keeps events no longer.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::unsigned;

/// Of each source and partition: below `next` nothing is left to be erased, below `reached` records may have been.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS retention (
        source TEXT NOT NULL, log_partition INTEGER NOT NULL, next INTEGER NOT NULL, reached INTEGER NOT NULL,
        erased_to_us INTEGER NOT NULL, PRIMARY KEY (source, log_partition)
    ) WITHOUT ROWID;
";

/// Below this offset records of `source` may have been erased.
pub(super) fn reached(connection: &Connection, source: &str, partition: u16) -> rusqlite::Result<u64> {
    let sql = "SELECT reached FROM retention WHERE source = ?1 AND log_partition = ?2";
    let found: Option<i64> =
        connection.prepare_cached(sql)?.query_row(params![source, partition], |row| row.get(0)).optional()?;
    Ok(found.map_or(0, unsigned))
}
