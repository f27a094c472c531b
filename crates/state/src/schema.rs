//! Tables of the state file, and the steps from one format to the next.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{StateError, seal, seen, sum};

/// Raised when an older build could not read the file any more.
pub(super) const FORMAT: i64 = 10;
/// Added to the number of a log with several partitions: a build that knows one must not go on from it.
const PARTITIONED: i64 = 100;
/// The first format that knows of partitions.
const FIRST_PARTITIONED: i64 = 4;

/// The number that a file of this build has.
pub(super) const fn format_of(partitions: u16) -> i64 {
    if partitions > 1 { PARTITIONED + FORMAT } else { FORMAT }
}

/// The format without what it says of partitions.
pub(super) const fn version(format: i64) -> i64 {
    if format >= PARTITIONED { format - PARTITIONED } else { format }
}

/// Whether this build can read a file of this format.
pub(super) const fn is_known(format: i64) -> bool {
    let version = version(format);
    version <= FORMAT && (format < PARTITIONED || version >= FIRST_PARTITIONED)
}

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS duplicates (log_offset INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS stretches (
        start INTEGER PRIMARY KEY, end INTEGER NOT NULL, sum INTEGER NOT NULL DEFAULT 0,
        revision INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS counters (
        scope TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (scope, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS syncs (
        sync TEXT PRIMARY KEY, cursor INTEGER NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,
        duplicates INTEGER NOT NULL DEFAULT 0, rejected INTEGER NOT NULL DEFAULT 0,
        filtered INTEGER NOT NULL DEFAULT 0, delivered_at_us INTEGER, failure TEXT, notice TEXT,
        sum INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS quarantine (
        id INTEGER PRIMARY KEY, log_offset INTEGER NOT NULL, part INTEGER NOT NULL, stage TEXT NOT NULL,
        scope TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, event BLOB NOT NULL, at_us INTEGER NOT NULL,
        detail TEXT, sum INTEGER NOT NULL DEFAULT 0, kept_at_us INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0, revision INTEGER NOT NULL DEFAULT 0, for_sync TEXT,
        message_hash INTEGER, UNIQUE (log_offset, part, stage, scope)
    );
    CREATE TABLE IF NOT EXISTS pending (
        sync TEXT NOT NULL, log_offset INTEGER NOT NULL, part INTEGER NOT NULL, user TEXT NOT NULL, event TEXT NOT NULL,
        received_at_us INTEGER NOT NULL, first_tried_at_us INTEGER NOT NULL, attempts INTEGER NOT NULL,
        next_at_us INTEGER NOT NULL, error TEXT NOT NULL, sum INTEGER NOT NULL DEFAULT 0,
        next_sum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (sync, log_offset, part)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS key_uses (
        source TEXT NOT NULL, name TEXT NOT NULL, events INTEGER NOT NULL, first_at_us INTEGER NOT NULL,
        last_at_us INTEGER NOT NULL, PRIMARY KEY (source, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS endings (
        sync TEXT PRIMARY KEY, end INTEGER NOT NULL, how TEXT NOT NULL, sum INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS ended_syncs (
        id INTEGER PRIMARY KEY, sync TEXT NOT NULL, ended_at_us INTEGER NOT NULL, delivered INTEGER NOT NULL,
        duplicates INTEGER NOT NULL, rejected INTEGER NOT NULL, filtered INTEGER NOT NULL, abandoned INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS stream_positions (
        source TEXT NOT NULL, upstream_partition TEXT NOT NULL, position TEXT NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (source, upstream_partition)
    ) WITHOUT ROWID;
";

/// All tables of a new file, or none.
pub(super) fn make(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let make = || -> rusqlite::Result<()> {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        // Somebody else may have been quicker.
        if format(&transaction).is_ok_and(|found| found.is_some()) {
            return Ok(());
        }
        tables(&transaction)?;
        let set = "INSERT INTO meta (key, value) VALUES (?1, ?2)";
        transaction.execute(set, rusqlite::params!["format", FORMAT])?;
        transaction.execute(set, ["refined_to", &sum::sealed("refined_to", "0")])?;
        seen::make(&transaction)?;
        seal::seal(&transaction)?;
        transaction.commit()
    };
    make().map_err(StateError::at("could not make the tables", path))
}

/// Makes the tables that are not there.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(super::quarantine::TABLES)?;
    connection.execute_batch(super::message_ids::TABLES)?;
    connection.execute_batch(super::quarantine_jobs::TABLES)?;
    connection.execute_batch(super::retried::TABLES)?;
    connection.execute_batch(super::retry_outcomes::TABLES)?;
    connection.execute_batch(super::fates::TABLES)?;
    connection.execute_batch(super::fate_ranges::TABLES)?;
    connection.execute_batch(super::fate_syncs::TABLES)?;
    connection.execute_batch(super::fate_breaches::TABLES)?;
    connection.execute_batch(super::violation_hours::TABLES)?;
    connection.execute_batch(super::subjects::TABLES)?;
    connection.execute_batch(super::forget_jobs::TABLES)?;
    connection.execute_batch(super::replay_jobs::TABLES)?;
    connection.execute_batch(super::alerts::TABLES)?;
    connection.execute_batch(super::rebuild_jobs::TABLES)?;
    connection.execute_batch(super::erased_offsets::TABLES)?;
    connection.execute_batch(super::consents::TABLES)?;
    connection.execute_batch(super::revisions::TABLES)?;
    connection.execute_batch(super::starts::TABLES)?;
    connection.execute_batch(super::functions::TABLES)
}

/// Refuses a file of another format.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StateError> {
    match known_format(connection, path)? {
        found if !is_known(found) => Err(StateError::Newer { path: path.to_owned(), found }),
        found if version(found) == FORMAT => {
            match seal::is_as_sealed(connection).map_err(StateError::at("could not read the tables", path))? {
                true => Ok(()),
                false => Err(sum::damaged(path, seal::NOT_AS_SEALED)),
            }
        }
        found => Err(StateError::Older { path: path.to_owned(), found }),
    }
}

pub(super) fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), StateError> {
    match known_format(connection, path)? {
        found if !is_known(found) => Err(StateError::Newer { path: path.to_owned(), found }),
        _ => Ok(()),
    }
}

/// The format of a file that has one.
pub(super) fn known_format(connection: &Connection, path: &Path) -> Result<i64, StateError> {
    let found = format(connection).map_err(StateError::at("could not read the format", path))?;
    found.filter(|found| *found > 0).ok_or_else(|| sum::damaged(path, "it does not say which format it has"))
}

fn format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| row.get(0)).optional()
}

pub(super) fn is_new(connection: &Connection, path: &Path) -> Result<bool, StateError> {
    connection
        .query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
        .map_err(StateError::at("could not read", path))
}
