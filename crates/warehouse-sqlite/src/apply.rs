//! Changes of a table, made.
//!
//! Tables are created and columns added by ordinary statements. SQLite has no statement that changes a declared type,
//! so widening edits the table's definition in `sqlite_schema`, as the SQLite documentation describes for changes
//! that do not touch what is on disk, and then rewrites the values that need it. All of it happens inside the
//! transaction of the batch: a failure leaves the table as it was.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::{Changes, Table};
use tidegate_warehouse::waiting::Refusal;

use super::catalog::schema_version;
use super::ddl::{additions, statements_of};
use super::encode;
use super::error::{SqliteError, doing};
use super::sql::quoted;

mod definition;

/// Registers `tidegate_text`, which rewrites values when a column widens.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("tidegate_text", 2, flags, |context| {
        let was = context.get_raw(1).as_str().unwrap_or_default().to_owned();
        let value = context.get_raw(0);
        Ok(match encode::stored_text(value, &was) {
            Some(text) => rusqlite::types::Value::Text(text),
            None => value.try_into().unwrap_or(rusqlite::types::Value::Null),
        })
    })
}

/// Makes these changes of the file's table, all or none; says so of columns that widened. Something in the way of a change
/// leaves nothing behind.
pub(super) fn apply(
    connection: &Connection,
    table: &Table,
    changes: &Changes,
    notices: &mut Vec<String>,
) -> Result<Option<Refusal<SqliteError>>, SqliteError> {
    if changes.create {
        for sql in additions(table, changes) {
            connection.execute_batch(&sql).map_err(doing("creating a table"))?;
        }
        return Ok(None);
    }
    let going = doing("setting a savepoint");
    connection.execute_batch("SAVEPOINT change").map_err(&going)?;
    let altered = match changes.widen.is_empty() {
        true => additions(table, changes)
            .iter()
            .try_for_each(|sql| connection.execute_batch(sql).map_err(doing("adding a column")))
            .map(|()| Vec::new()),
        false => widen(connection, table, changes),
    };
    match altered {
        Ok(widened) => {
            connection.execute_batch("RELEASE change").map_err(&going)?;
            notices.extend(widened);
            Ok(None)
        }
        Err(error) if error.is_of_alteration() => {
            connection
                .execute_batch("PRAGMA writable_schema = OFF; ROLLBACK TO change; RELEASE change")
                .map_err(&going)?;
            let statement = statements_of(table, changes).join("; ");
            Ok(Some(Refusal { columns: changes.columns().collect(), statement, whole: false, error }))
        }
        Err(error) => Err(error),
    }
}

/// Changes declared types, then rewrites the values that mean something else now.
fn widen(connection: &Connection, table: &Table, changes: &Changes) -> Result<Vec<String>, SqliteError> {
    let widening = doing("widening a column");
    let (stored, mut sql) = connection
        .query_row(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE",
            [&table.name],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
        )
        .map_err(&widening)?;
    let mut notices = Vec::new();
    let mut rewrites = Vec::new();
    let mut values = Vec::new();
    for at in &changes.widen {
        let column = &table.columns[*at];
        let wanted = encode::declared(column.kind());
        let retyped = definition::retyped(&sql, &column.name, wanted).ok_or_else(|| SqliteError::Retype {
            table: table.name.to_string(),
            column: column.name.to_string(),
            wanted,
        })?;
        sql = retyped;
        let was = column.declared.map_or("", encode::declared);
        if column.kind() == Type::Text && matches!(column.declared, Some(Type::Boolean | Type::Integer | Type::Decimal))
        {
            let name = quoted(&column.name);
            rewrites.push(format!("{name} = tidegate_text({name}, '{was}')"));
            values.push(format!("{name} IS NOT NULL"));
        }
        notices.push(table.widened(*at, was, wanted));
    }
    // The definition stays writable until the indexes are rebuilt: their entries were made under the old type, and
    // SQLite would otherwise take an entry that it does not find for corruption.
    connection.execute_batch("PRAGMA writable_schema = ON").map_err(&widening)?;
    connection
        .execute("UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = ?2", [&sql, &stored])
        .map_err(&widening)?;
    let version = schema_version(connection)?;
    connection.execute_batch(&format!("PRAGMA schema_version = {}", version.wrapping_add(1))).map_err(&widening)?;
    if !rewrites.is_empty() {
        let table = quoted(&table.name);
        let sql = format!("UPDATE {table} SET {} WHERE {}; REINDEX {table}", rewrites.join(", "), values.join(" OR "));
        connection.execute_batch(&sql).map_err(&widening)?;
    }
    connection.execute_batch("PRAGMA writable_schema = OFF").map_err(&widening)?;
    confirm(connection, table, changes)?;
    Ok(notices)
}

/// Reads back what the file now says, so that a definition that was misread stops the batch instead of harming it.
fn confirm(connection: &Connection, table: &Table, changes: &Changes) -> Result<(), SqliteError> {
    for at in &changes.widen {
        let column = &table.columns[*at];
        let wanted = encode::declared(column.kind());
        let declared = connection
            .query_row(
                "SELECT type FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE",
                [&table.name, &column.name],
                |row| row.get::<_, String>(0),
            )
            .optional()
            .map_err(doing("reading back a widened column"))?;
        if declared.as_deref() != Some(wanted) {
            let (table, column) = (table.name.to_string(), column.name.to_string());
            return Err(SqliteError::Retype { table, column, wanted });
        }
    }
    Ok(())
}
