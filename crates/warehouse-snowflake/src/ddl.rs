//! The statements that make a table what it shall be.
//!
//! Every statement here commits by itself, so all of them run before a batch's transaction begins.

use tidegate_warehouse::table::{Changes, Table};

use super::encode;
use super::rebuild::rebuild;
use super::sql::quoted;

/// The statements that make the table what it shall be, as an operator would run them.
pub(super) fn statements(table: &Table, schema: &str) -> Vec<String> {
    statements_at(&format!("{schema}.{}", quoted(&table.name)), table, &table.changes())
}

/// The same for these changes, of the table `name` as SQL spells it.
pub(super) fn statements_at(name: &str, table: &Table, changes: &Changes) -> Vec<String> {
    let column = |at: usize| {
        let column = &table.columns[at];
        let required = if &*column.name == "id" { " NOT NULL" } else { "" };
        format!("{} {}{required}", quoted(&column.name), encode::declared(column.kind()))
    };
    if changes.create {
        let columns: Vec<String> = (0..table.columns.len()).map(column).collect();
        return vec![format!("CREATE TABLE {name} ({}) COMMENT = 'Kept by Tidegate'", columns.join(", "))];
    }
    let mut statements = Vec::new();
    if !changes.add.is_empty() {
        // A table with rows takes no new column that is required.
        let columns: Vec<String> = changes
            .add
            .iter()
            .map(|at| format!("{} {}", quoted(&table.columns[*at].name), encode::declared(table.columns[*at].kind())))
            .collect();
        statements.push(format!("ALTER TABLE {name} ADD COLUMN {}", columns.join(", ")));
    }
    if !changes.widen.is_empty() {
        statements.extend(rebuild(name, table, &changes.widen));
    }
    statements
}
