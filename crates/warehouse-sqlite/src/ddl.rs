//! What the file's tables are, and how they are made to change.
//!
//! Tables are created and columns added by ordinary statements. SQLite has no statement that changes a declared type,
//! so widening edits the table's definition in `sqlite_schema`, as the SQLite documentation describes for changes
//! that do not touch what is on disk, and then rewrites the values that need it. All of it happens inside the
//! transaction of the batch: a failure leaves the table as it was.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::{Changes, Column, Family, Table, is_ours};
use tidegate_warehouse::waiting::Refusal;

use super::encode;
use super::error::{SqliteError, doing};

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

/// A name as SQL spells it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

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

/// The statements that make the table what it shall be. SQLite has none for widening: those are comments.
pub(super) fn statements(table: &Table, _schema: &str) -> Vec<String> {
    statements_of(table, &table.changes())
}

fn statements_of(table: &Table, changes: &Changes) -> Vec<String> {
    let widened = changes.widen.iter().map(|at| {
        let column = &table.columns[*at];
        let (name, of, kind) = (quoted(&column.name), quoted(&table.name), encode::declared(column.kind()));
        format!("-- column {name} of {of} becomes {kind}: its definition is edited in place")
    });
    additions(table, changes).into_iter().chain(widened).collect()
}

fn additions(table: &Table, changes: &Changes) -> Vec<String> {
    let name = quoted(&table.name);
    if changes.create {
        let columns = table.columns.iter().map(defined).collect::<Vec<_>>();
        return vec![format!("CREATE TABLE {name} ({})", columns.join(", "))];
    }
    changes.add.iter().map(|at| format!("ALTER TABLE {name} ADD COLUMN {}", defined(&table.columns[*at]))).collect()
}

fn defined(column: &Column) -> String {
    let key = if &*column.name == "id" { " PRIMARY KEY NOT NULL" } else { "" };
    format!("{} {}{key}", quoted(&column.name), encode::declared(column.kind()))
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

/// SQLite's own count of changes to the schema, by whomever.
pub(super) fn schema_version(connection: &Connection) -> Result<i32, SqliteError> {
    connection
        .prepare_cached("PRAGMA schema_version")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(doing("reading the schema version"))
}
