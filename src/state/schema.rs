//! Tables of the state file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::Error;

/// Raised when an older build could not read the file any more.
pub(super) const FORMAT: i64 = 2;

/// What makes a file of each format one of the next, from format 1 on.
const STEPS: [&str; 1] = ["ALTER TABLE quarantine ADD COLUMN detail TEXT"];

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
        detail TEXT, UNIQUE (log_offset, part, stage, scope)
    );
    CREATE TABLE IF NOT EXISTS pending (
        sync TEXT NOT NULL, log_offset INTEGER NOT NULL, part INTEGER NOT NULL, user TEXT NOT NULL, event TEXT NOT NULL,
        received_at_us INTEGER NOT NULL, first_tried_at_us INTEGER NOT NULL, attempts INTEGER NOT NULL,
        next_at_us INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY (sync, log_offset, part)
    ) WITHOUT ROWID;
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
        bring_up(connection, path)?;
    }
    connection.execute_batch(TABLES).map_err(at("could not make the tables"))?;
    connection.execute_batch(super::functions::TABLES).map_err(at("could not make the tables of functions"))?;
    connection
        .execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('format', ?1)", [FORMAT])
        .map_err(at("could not mark the format"))?;
    Ok(())
}

/// Carries a file of an earlier format over, step by step; refuses a later one.
fn bring_up(connection: &Connection, path: &Path) -> Result<(), Error> {
    let found = format(connection, path)?;
    let steps = found.and_then(|found| usize::try_from(found).ok()).filter(|found| (1..=STEPS.len()).contains(found));
    if let Some(found) = steps {
        let steps = STEPS.get(found - 1..).unwrap_or_default().join(";");
        let sql = format!("BEGIN IMMEDIATE; {steps}; UPDATE meta SET value = {FORMAT} WHERE key = 'format'; COMMIT");
        connection.execute_batch(&sql).map_err(Error::at("could not carry over from an earlier format", path))?;
    }
    check(connection, path)
}

/// Refuses a file of another format.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    match format(connection, path)? {
        Some(FORMAT) => Ok(()),
        other => Err(Error::Foreign { path: path.to_owned(), found: other.unwrap_or(-1) }),
    }
}

fn format(connection: &Connection, path: &Path) -> Result<Option<i64>, Error> {
    connection
        .query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| row.get(0))
        .optional()
        .map_err(Error::at("could not read the format", path))
}
