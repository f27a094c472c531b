//! Looks whether a SQLite file is whole, without changing it.
//!
//! `quick_check` reads every page and checks the structure: pages, cells, order of keys, NOT NULL. `integrity_check`
//! compares each index with its table as well. Neither sees a flipped bit inside a value: SQLite as it is built here has
//! no page checksums (its checksum VFS is an extension that is not part of the bundled library).

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The structure, up to the first damaged place.
    Quick,
    /// Structure and indexes, up to a hundred damaged places.
    Full,
}

/// Files up to this size are checked before the start; larger ones in the background.
pub const AT_START_BYTES_MAX: u64 = 64 << 20;

/// What is wrong with the file at `path`; nothing when it is whole or not there.
///
/// # Errors
/// The file cannot be read for a reason that says nothing about its content.
pub fn check(path: &Path, depth: Depth) -> rusqlite::Result<Vec<String>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let found = open(path).and_then(|connection| damage(&connection, depth));
    match found {
        Err(error) if is_damage(&error) => Ok(vec![plain(&error)]),
        other => other,
    }
}

/// A connection that cannot write.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")?;
    Ok(connection)
}

/// What is wrong with the file behind `connection`.
///
/// # Errors
/// The check could not be made.
pub fn damage(connection: &Connection, depth: Depth) -> rusqlite::Result<Vec<String>> {
    let sql = match depth {
        Depth::Quick => "PRAGMA quick_check(1)",
        Depth::Full => "PRAGMA integrity_check(100)",
    };
    let mut statement = connection.prepare(sql)?;
    let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").map(|line| line.replace('\n', " ")).collect())
}

/// Whether SQLite says with this error that the content of the file is damaged.
#[must_use]
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        // A value of another type than the table declares, or text that is no UTF-8.
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        )
}

/// The error in words, with its causes.
#[must_use]
pub fn plain(error: &rusqlite::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_passes_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        assert!(check(&path, Depth::Quick).unwrap().is_empty());
        let made = Connection::open(&path).unwrap();
        made.execute_batch("CREATE TABLE t (a); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1), (2), (3)").unwrap();
        drop(made);
        assert!(check(&path, Depth::Full).unwrap().is_empty());
        let whole = std::fs::read(&path).unwrap();
        let mut cut = whole.clone();
        // The second page: the kind of its b-tree.
        cut[4096] ^= 0x40;
        std::fs::write(&path, &cut).unwrap();
        assert!(!check(&path, Depth::Quick).unwrap().is_empty());
        let mut header = whole;
        header[3] ^= 1;
        std::fs::write(&path, &header).unwrap();
        assert!(!check(&path, Depth::Quick).unwrap().is_empty());
    }
}
