//! The ledger as a table: each row with the format it has and a checksum, because SQLite has none.

use rusqlite::{Connection, OptionalExtension as _};

use super::error::{SqliteError, doing};

/// Raised when an older build could not read the ledger any more.
pub const FORMAT: i64 = 2;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS _tidegate_ledger \
    (sync TEXT PRIMARY KEY NOT NULL, log_offset INTEGER NOT NULL, updated_at TEXT NOT NULL, \
    format INTEGER NOT NULL DEFAULT 1, sum INTEGER)";

/// Makes the table, or carries an earlier one over; refuses a later one before anything is changed.
pub(super) fn prepare(connection: &Connection) -> Result<(), SqliteError> {
    let had = newest(connection)?;
    if let Some(found) = had.filter(|found| *found > FORMAT) {
        return Err(SqliteError::Format { found, known: FORMAT });
    }
    if had == Some(0) {
        let sql = "BEGIN IMMEDIATE; ALTER TABLE _tidegate_ledger ADD COLUMN format INTEGER NOT NULL DEFAULT 1; \
            ALTER TABLE _tidegate_ledger ADD COLUMN sum INTEGER; COMMIT";
        if let Err(error) = connection.execute_batch(sql) {
            let _ = connection.execute_batch("ROLLBACK");
            // Another sync into this file was quicker.
            if newest(connection)? == Some(0) {
                return Err(doing("carrying the ledger over to the format of this build")(error));
            }
        } else {
            tracing::info!(
                from = 1,
                to = FORMAT,
                "the ledger of the warehouse was carried over to the format of this build"
            );
        }
    }
    connection.execute_batch(TABLE).map_err(doing("preparing the file"))
}

/// The highest format in the ledger; 0 for one without formats, none where there is no ledger.
pub fn format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let columns = "SELECT count(*), count(*) FILTER (WHERE name = 'format') FROM pragma_table_info('_tidegate_ledger')";
    let (all, numbers): (i64, i64) = connection.query_row(columns, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match (all, numbers) {
        (0, _) => Ok(None),
        (_, 0) => Ok(Some(0)),
        _ => {
            let sql = "SELECT coalesce(max(format), ?1) FROM _tidegate_ledger";
            connection.query_row(sql, [FORMAT], |row| row.get(0)).map(Some)
        }
    }
}

fn newest(connection: &Connection) -> Result<Option<i64>, SqliteError> {
    format(connection).map_err(doing("reading the ledger"))
}

/// How far the sync has come.
pub(super) fn durable_to(connection: &Connection, sync: &str) -> Result<Option<u64>, SqliteError> {
    let row = connection
        .prepare_cached("SELECT log_offset, format, sum FROM _tidegate_ledger WHERE sync = ?1")
        .and_then(|mut find| find.query_row([sync], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional())
        .map_err(doing("reading the ledger"))?;
    let Some((offset, format, sum)): Option<(i64, i64, Option<i64>)> = row else { return Ok(None) };
    if format > FORMAT {
        return Err(SqliteError::Format { found: format, known: FORMAT });
    }
    // Without a sum it is of a build that had none, or somebody has set it by hand.
    if sum.is_some_and(|sum| sum != sum_of(sync, offset, format)) {
        return Err(SqliteError::Ledger);
    }
    u64::try_from(offset).map(Some).map_err(|_| SqliteError::Ledger)
}

/// Records how far the sync has come, in the transaction of its rows.
pub(super) fn advance(connection: &Connection, sync: &str, next: u64) -> Result<(), SqliteError> {
    let next = i64::try_from(next).map_err(|_| SqliteError::Ledger)?;
    connection
        .prepare_cached(
            "INSERT INTO _tidegate_ledger (sync, log_offset, updated_at, format, sum) \
             VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?3, ?4) \
             ON CONFLICT (sync) DO UPDATE SET log_offset = excluded.log_offset, updated_at = excluded.updated_at, \
             format = excluded.format, sum = excluded.sum",
        )
        .and_then(|mut statement| statement.execute((sync, next, FORMAT, sum_of(sync, next, FORMAT))))
        .map(drop)
        .map_err(doing("writing the ledger"))
}

/// Forgets how far a sync has come, in the transaction in hand.
pub(super) fn remove(connection: &Connection, sync: &str) -> Result<(), SqliteError> {
    let removed = connection.execute("DELETE FROM _tidegate_ledger WHERE sync = ?1", [sync]);
    removed.map(drop).map_err(doing("writing the ledger"))
}

/// The rows of the ledger whose checksum is wrong.
///
/// # Errors
/// The ledger cannot be read.
pub fn damaged(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    if format(connection)? != Some(FORMAT) {
        return Ok(Vec::new());
    }
    let mut find = connection.prepare("SELECT sync, log_offset, format, sum FROM _tidegate_ledger")?;
    let rows = find.query_map([], |row| {
        let (sync, offset, format): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let right = row.get::<_, Option<i64>>(3)?.is_none_or(|sum| sum == sum_of(&sync, offset, format));
        Ok((sync, right))
    })?;
    let rows: Vec<(String, bool)> = rows.collect::<Result<_, _>>()?;
    Ok(rows.into_iter().filter(|(_, right)| !right).map(|(sync, _)| sync).collect())
}

fn sum_of(sync: &str, offset: i64, format: i64) -> i64 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(sync.as_bytes()), &offset.to_le_bytes());
    crc32c::crc32c_append(sum, &format.to_le_bytes()).into()
}
