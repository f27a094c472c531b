//! What there is in the file.

use rusqlite::Connection;
use tidegate_warehouse::table::{Column, Family, is_ours};

use super::encode;
use super::error::{SqliteError, doing};

/// The columns of the table `name` as the file has it. `None` when it is not one that the router could have made:
/// another key, no columns of the family, a view.
pub(super) fn read(connection: &Connection, name: &str, family: Family) -> Result<Option<Vec<Column>>, SqliteError> {
    let (key, columns) = definition_of(connection, name)?;
    Ok(is_ours(family, &key, &columns).then_some(columns))
}

/// The key, in lower case, and the columns of the table `name`.
pub(super) fn definition_of(connection: &Connection, name: &str) -> Result<(Vec<String>, Vec<Column>), SqliteError> {
    let reading = doing("reading the definition of a table");
    let mut statement =
        connection.prepare_cached("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1)").map_err(&reading)?;
    let mut rows = statement.query([name]).map_err(&reading)?;
    let mut columns = Vec::new();
    let mut key = Vec::new();
    while let Some(row) = rows.next().map_err(&reading)? {
        let get = || -> rusqlite::Result<(String, String, i64, i64)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let (column, declared, pk, hidden) = get().map_err(&reading)?;
        if pk > 0 {
            key.push(column.to_ascii_lowercase());
        }
        let (kind, rounds) = encode::meaning(&declared);
        columns.push(Column::found(&column, kind, rounds, hidden == 0));
    }
    Ok((key, columns))
}

/// SQLite's own count of changes to the schema, by whomever.
pub(super) fn schema_version(connection: &Connection) -> Result<i32, SqliteError> {
    connection
        .prepare_cached("PRAGMA schema_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(doing("reading the schema version"))
}
