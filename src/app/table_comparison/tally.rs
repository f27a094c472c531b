//! What is found in two tables, as it is found: counted all, named some.

use tidegate_warehouse::read_cell::ReadCell;
use tidegate_warehouse::table_reader::{ReadColumn, ReadRow};

use super::column_pairs::{ColumnPair, ColumnPairs};
use super::report::{OneSidedRows, TableReport};
use super::request::ComparisonRequest;

/// The report on two tables while it is made.
pub(super) struct TableTally<'w> {
    pub(super) report: TableReport,
    columns: &'w ColumnPairs,
    request: &'w ComparisonRequest,
}

impl<'w> TableTally<'w> {
    pub(super) fn new(
        (table, their_table): (&str, &str),
        columns: &'w ColumnPairs,
        request: &'w ComparisonRequest,
    ) -> Self {
        let mut report =
            TableReport { table: table.to_owned(), their_table: their_table.to_owned(), ..TableReport::default() };
        for pair in &columns.pairs {
            let (our, their) = (&pair.ours, &pair.theirs);
            if !our.name.eq_ignore_ascii_case(&their.name) {
                report.columns.renamed.push((our.name.clone(), their.name.clone()));
            }
            if !pair.has_one_type(request.dialect) {
                report.columns.types.push((our.name.clone(), [our.declared.clone(), their.declared.clone()]));
            }
        }
        Self { report, columns, request }
    }

    /// Two rows of one day.
    pub(super) fn pair(&mut self, our: &ReadRow, their: &ReadRow) {
        if self.values(our, their, false) {
            self.report.same += 1;
        }
    }

    /// Two rows that are not of one day, or of which one is outside of the time.
    pub(super) fn pair_elsewhere(&mut self, our: &ReadRow, their: &ReadRow) {
        let apart_us = our.at_us.zip(their.at_us).map(|(our, their)| our.abs_diff(their));
        if apart_us.is_some_and(|apart| apart <= self.request.tolerance_us) {
            self.pair(our, their);
            return;
        }
        self.values(our, their, true);
        let moved = &mut self.report.moved;
        moved.count += 1;
        if moved.rows.len() < self.request.rows_max {
            moved.rows.push((our.key.clone(), [our.at_us, their.at_us]));
        }
    }

    pub(super) fn missing(&mut self, key: String) {
        note(&mut self.report.missing, key, self.request.rows_max);
    }

    pub(super) fn extra(&mut self, key: String) {
        note(&mut self.report.extra, key, self.request.rows_max);
    }

    /// Compares the values of two rows; whether all are the same. That their times differ may be known already.
    fn values(&mut self, our: &ReadRow, their: &ReadRow, is_moved: bool) -> bool {
        let mut is_same = true;
        for ((pair, ours), theirs) in self.columns.pairs.iter().zip(&our.cells).zip(&their.cells) {
            if (is_moved && pair.is_time) || self.is_same(pair, ours, theirs) {
                continue;
            }
            is_same = false;
            let found = self.report.values.entry(pair.ours.name.clone()).or_default();
            found.count += 1;
            if found.rows.len() < self.request.rows_max {
                found.rows.push((our.key.clone(), [ours.clone(), theirs.clone()]));
            }
        }
        is_same
    }

    fn is_same(&self, pair: &ColumnPair, ours: &ReadCell, theirs: &ReadCell) -> bool {
        let empty_is_null = self.request.dialect.is_some_and(|dialect| dialect.empty_is_null());
        ours.is_same(theirs, pair.within_us) || (empty_is_null && ours.is_empty() && theirs.is_null())
    }

    /// The columns of one side in which values were.
    pub(super) fn unpaired_values(&mut self, ours: &[u64], theirs: &[u64]) {
        let with_values = |columns: &[ReadColumn], values: &[u64]| {
            let counted = columns.iter().map(|column| column.name.clone()).zip(values.iter().copied());
            counted.filter(|(_, values)| *values > 0).collect::<Vec<_>>()
        };
        self.report.columns.missing = with_values(&self.columns.only_ours, ours);
        self.report.columns.extra = with_values(&self.columns.only_theirs, theirs);
    }
}

fn note(found: &mut OneSidedRows, key: String, rows_max: usize) {
    found.count += 1;
    if found.keys.len() < rows_max {
        found.keys.push(key);
    }
}
