//! The statements that make a table what it shall be: it is created and columns are added by ordinary ones, and for widening
//! there is none (`apply`).

use tidegate_warehouse::table::{Changes, Column, Table};

use super::encode;
use super::sql::quoted;

/// The statements that make the table what it shall be. SQLite has none for widening: those are comments.
pub(super) fn statements(table: &Table, _schema: &str) -> Vec<String> {
    statements_of(table, &table.changes())
}

pub(super) fn statements_of(table: &Table, changes: &Changes) -> Vec<String> {
    let widened = changes.widen.iter().map(|at| {
        let column = &table.columns[*at];
        let (name, of, kind) = (quoted(&column.name), quoted(&table.name), encode::declared(column.kind()));
        format!("-- column {name} of {of} becomes {kind}: its definition is edited in place")
    });
    additions(table, changes).into_iter().chain(widened).collect()
}

pub(super) fn additions(table: &Table, changes: &Changes) -> Vec<String> {
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
