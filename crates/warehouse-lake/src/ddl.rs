//! What changes of a table come to, in words: there is no statement for them. A column is added by a file that has it, and
//! widened by writing the files that have it anew (`rewrite`).

use tidegate_warehouse::table::Table;

use super::encode;

/// What makes the table what it shall be, in words.
pub(super) fn statements(table: &Table, schema: &str) -> Vec<String> {
    let changes = table.changes();
    let name = format!("{schema}/{}", table.name);
    let column = |at: &usize| {
        let column = &table.columns[*at];
        format!("{} {}", column.name, encode::declared(column.kind()))
    };
    if changes.create {
        let columns: Vec<_> = (0..table.columns.len()).map(|at| column(&at)).collect();
        return vec![format!("-- the first files of {name} have the columns {}", columns.join(", "))];
    }
    let added = changes.add.iter().map(|at| format!("-- new files of {name} have the column {}", column(at)));
    let widened = changes.widen.iter().map(|at| {
        format!(
            "-- files of {name} that have the column {} are written anew with it as {}",
            table.columns[*at].name,
            column(at)
        )
    });
    added.chain(widened).collect()
}
