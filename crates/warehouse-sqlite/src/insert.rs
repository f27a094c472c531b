//! The statements that write rows: one for each table, kept from batch to batch.

use std::collections::HashMap;

use tidegate_warehouse::row::Group;
use tidegate_warehouse::table::Table;

use super::sql::quoted;

/// The INSERT of one table: columns that recent batches filled, in the order of their parameters.
pub(super) struct Insert {
    columns: Vec<u32>,
    /// By column: its parameter's number, counted from 1; 0 for none.
    pub(super) parameters: Vec<u16>,
    pub(super) sql: String,
}

/// The INSERTs of all tables known.
#[derive(Default)]
pub(super) struct Inserts {
    by_table: HashMap<usize, Insert>,
}

impl Inserts {
    pub(super) fn get(&self, table: usize) -> Option<&Insert> {
        self.by_table.get(&table)
    }

    /// Sees to it that the INSERT of the group's table has all columns that the group fills. It keeps those of
    /// earlier batches, so that optional fields do not make a new statement each time, until they are too many.
    pub(super) fn keep(&mut self, table: &Table, group: &Group<'_>) {
        let kept = self.by_table.get(&group.table);
        if let Some(insert) = kept {
            let has = |column: &u32| insert.parameters.get(*column as usize).is_some_and(|parameter| *parameter > 0);
            if group.columns.iter().all(has) && insert.columns.len() <= 2 * group.columns.len() + 16 {
                return;
            }
        }
        let mut columns = group.columns.clone();
        if let Some(insert) = kept
            && insert.columns.len() <= 2 * group.columns.len() + 16
        {
            columns.extend(&insert.columns);
        }
        columns.sort_unstable();
        columns.dedup();
        let mut parameters = vec![0; table.columns.len()];
        for (parameter, column) in (1_u16..).zip(&columns) {
            parameters[*column as usize] = parameter;
        }
        let names = columns.iter().map(|column| quoted(&table.columns[*column as usize].name)).collect::<Vec<_>>();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING",
            quoted(&table.name),
            names.join(", "),
            vec!["?"; columns.len()].join(", ")
        );
        self.by_table.insert(group.table, Insert { columns, parameters, sql });
    }
}
