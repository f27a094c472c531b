//! A checksum of how the tables are made, in the header of the file.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::sum;

pub(super) const NOT_AS_SEALED: &str = "how its tables are made is not what was stored";

/// Keeps a checksum of how all tables are made: to SQLite a flipped bit in a type or a name there is another table, and no
/// damage.
pub(super) fn seal(connection: &Connection) -> rusqlite::Result<()> {
    let sum = checksum(connection)?;
    connection.pragma_update(None, "user_version", sum)
}

/// Whether the tables are made as when the file was sealed. A file of a build that did not do so has no seal.
pub(super) fn is_as_sealed(connection: &Connection) -> rusqlite::Result<bool> {
    // Both at one moment: somebody may be making tables.
    let moment = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let sealed: i32 = moment.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(sealed == 0 || sealed == checksum(&moment)?)
}

fn checksum(connection: &Connection) -> rusqlite::Result<i32> {
    let sql = "SELECT CAST(concat_ws(char(10), type, name, tbl_name, sql) AS BLOB) FROM sqlite_schema ORDER BY 1";
    let mut find = connection.prepare(sql)?;
    let mut rows = find.query([])?;
    let mut sum = sum::Sum::default();
    while let Some(row) = rows.next()? {
        sum = sum.text(sum::bytes(row, 0)?);
    }
    // Nothing but 0 says that there is none.
    Ok(i32::from_le_bytes(sum.bits().to_le_bytes()) | 1)
}
