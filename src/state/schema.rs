//! Tables of the state file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::Error;

/// Raised when an older build could not read the file any more.
pub(super) const FORMAT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS seen_0 (id BLOB PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS seen_1 (id BLOB PRIMARY KEY, at_us INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS duplicates (log_offset INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS stretches (start INTEGER PRIMARY KEY, end INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS counters (
        scope TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (scope, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS syncs (
        sync TEXT PRIMARY KEY, cursor INTEGER NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,
        duplicates INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0,
        filtered INTEGER NOT NULL DEFAULT 0, delivered_at_us INTEGER, failure TEXT, notice TEXT
    );
    CREATE TABLE IF NOT EXISTS quarantine (
        id INTEGER PRIMARY KEY, log_offset INTEGER NOT NULL, part INTEGER NOT NULL, stage TEXT NOT NULL,
        scope TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, event BLOB NOT NULL, at_us INTEGER NOT NULL,
        UNIQUE (log_offset, part, stage, scope)
    );
";

/// Sets a new or existing file up.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let at = |action| Error::at(action, path);
    connection.busy_timeout(Duration::from_secs(10)).map_err(at("could not set a time limit"))?;
    connection.set_prepared_statement_cache_capacity(64);
    // A lost commit is refined again from the log, so the log's own sync is the only one that an event waits for.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(at("could not set up"))?;
    let new: bool = connection
        .query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
        .map_err(at("could not read"))?;
    if !new {
        check(connection, path)?;
    }
    connection.execute_batch(TABLES).map_err(at("could not make the tables"))?;
    connection.execute_batch(super::functions::TABLES).map_err(at("could not make the tables of functions"))?;
    connection
        .execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('format', ?1)", [FORMAT])
        .map_err(at("could not mark the format"))?;
    Ok(())
}

/// Refuses a file of another format.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found: Option<i64> = connection
        .query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| row.get(0))
        .optional()
        .map_err(Error::at("could not read the format", path))?;
    match found {
        Some(FORMAT) => Ok(()),
        other => Err(Error::Foreign { path: path.to_owned(), found: other.unwrap_or(-1) }),
    }
}
