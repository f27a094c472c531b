//! What was found.

use std::collections::BTreeMap;

use tidegate_warehouse::read_cell::ReadCell;

/// What two warehouses differ in.
#[derive(Debug, Default)]
pub struct ComparisonReport {
    /// Tables that both have.
    pub tables: Vec<TableReport>,
    /// Tables that only we have, with rows of the time.
    pub missing: Vec<UnpairedTable>,
    /// Tables that only they have, with rows of the time.
    pub extra: Vec<UnpairedTable>,
    /// Tables of theirs that hold no events.
    pub not_compared: Vec<String>,
}

impl ComparisonReport {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.tables.iter().all(TableReport::is_equal)
    }
}

/// A table of one side.
#[derive(Debug)]
pub struct UnpairedTable {
    pub table: String,
    pub rows: u64,
}

/// Two tables that mean the same. Of two numbers the first is ours.
#[derive(Debug, Default)]
pub struct TableReport {
    pub table: String,
    pub their_table: String,
    /// Rows by day: `2026-11-01`.
    pub days: BTreeMap<String, [u64; 2]>,
    /// Rows that are there on both sides and differ in nothing.
    pub same: u64,
    /// Rows that only we have.
    pub missing: OneSidedRows,
    /// Rows that only they have.
    pub extra: OneSidedRows,
    pub moved: MovedRows,
    /// Rows with a key that the same side has already.
    pub repeated: [u64; 2],
    /// Rows without a key, which are not compared.
    pub without_key: [u64; 2],
    pub columns: ColumnsReport,
    /// By our column.
    pub values: BTreeMap<String, ValueReport>,
}

impl TableReport {
    #[must_use]
    pub fn is_equal(&self) -> bool {
        let rows = self.missing.count + self.extra.count + self.moved.count + self.repeated[0] + self.repeated[1];
        rows == 0 && self.without_key[0] == self.without_key[1] && self.columns.is_equal() && self.values.is_empty()
    }
}

/// Rows that are only on one side.
#[derive(Debug, Default)]
pub struct OneSidedRows {
    pub count: u64,
    /// Some of their keys.
    pub keys: Vec<String>,
}

/// Rows that both have, at times that differ.
#[derive(Debug, Default)]
pub struct MovedRows {
    pub count: u64,
    /// Some of them: the key, and the two times in microseconds since 1970.
    pub rows: Vec<(String, [Option<i64>; 2])>,
}

/// How the columns of two tables differ.
#[derive(Debug, Default)]
pub struct ColumnsReport {
    /// Columns that only we have, and how many values of the time are in them.
    pub missing: Vec<(String, u64)>,
    /// Columns that only they have.
    pub extra: Vec<(String, u64)>,
    /// Names that differ and mean the same: no difference.
    pub renamed: Vec<(String, String)>,
    /// Our column, and how each side declares it.
    pub types: Vec<(String, [String; 2])>,
}

impl ColumnsReport {
    fn is_equal(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.types.is_empty()
    }
}

/// Values of a column that differ.
#[derive(Debug, Default)]
pub struct ValueReport {
    pub count: u64,
    /// Some of them: the key of the row, and the two values.
    pub rows: Vec<(String, [ReadCell; 2])>,
}
