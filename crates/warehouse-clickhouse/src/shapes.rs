//! What is known of columns that are not as the router declares them.

use std::collections::HashMap;

use super::encode::ColumnShape;

/// Columns that are not as the router declares them, by table and column.
#[derive(Debug, Default)]
pub struct ColumnShapes(HashMap<String, HashMap<String, ColumnShape>>);

impl ColumnShapes {
    pub(super) fn of(&self, table: &str, column: &str) -> ColumnShape {
        self.0.get(table).and_then(|columns| columns.get(column)).copied().unwrap_or(ColumnShape::Own)
    }

    pub(super) fn unfinished(&self, table: &str) -> Vec<&str> {
        let columns = self.0.get(table).into_iter().flatten();
        columns.filter(|(_, shape)| **shape == ColumnShape::Unfinished).map(|(column, _)| &**column).collect()
    }

    pub(super) fn note(&mut self, table: String, column: String, shape: ColumnShape) {
        self.0.entry(table).or_default().insert(column, shape);
    }

    /// The column is now as the router declares it.
    pub(super) fn settle(&mut self, table: &str, column: &str, now: ColumnShape) {
        if let Some(shape) = self.0.get_mut(table).and_then(|columns| columns.get_mut(column)) {
            *shape = now;
        }
    }
}
