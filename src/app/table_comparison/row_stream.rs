//! The rows of one side, one after the other.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;

use tidegate_warehouse::table_reader::{ReadRow, RowsWanted, TableReader};

use super::error::{ComparedSide, ComparisonError};

/// The rows of one side in the order of their keys, each key once.
pub(super) struct RowStream<'r> {
    side: ComparedSide,
    reader: &'r mut dyn TableReader,
    wanted: RowsWanted,
    /// Columns that the other side has too; they come first.
    paired: usize,
    page: VecDeque<ReadRow>,
    is_over: bool,
    last: Option<String>,
    /// Rows of the time that was begun last.
    pub(super) rows: u64,
    /// Rows of a key that was there already, of all times.
    pub(super) repeated: u64,
    /// By column that the other side has not: values of all times that are not NULL.
    pub(super) values: Vec<u64>,
}

impl<'r> RowStream<'r> {
    pub(super) fn new(side: ComparedSide, reader: &'r mut dyn TableReader, wanted: RowsWanted, paired: usize) -> Self {
        let values = vec![0; wanted.columns.len().saturating_sub(paired)];
        let page = VecDeque::new();
        Self { side, reader, wanted, paired, page, is_over: true, last: None, rows: 0, repeated: 0, values }
    }

    /// Begins with the rows of a time.
    pub(super) async fn begin(&mut self, range: &Range<i64>) -> Result<(), ComparisonError> {
        let wanted = RowsWanted { range: range.clone(), ..self.wanted.clone() };
        self.reader.begin(wanted).await.map_err(self.side.failed())?;
        self.page.clear();
        (self.is_over, self.last, self.rows) = (false, None, 0);
        Ok(())
    }

    /// The next row with another key.
    pub(super) async fn row(&mut self) -> Result<Option<ReadRow>, ComparisonError> {
        loop {
            if self.page.is_empty() && !self.is_over {
                self.page = self.reader.page().await.map_err(self.side.failed())?.into();
                self.is_over = self.page.is_empty();
            }
            let Some(row) = self.page.pop_front() else { return Ok(None) };
            self.rows += 1;
            for (count, cell) in self.values.iter_mut().zip(row.cells.iter().skip(self.paired)) {
                *count += u64::from(!cell.is_null());
            }
            match self.last.as_deref().map(|last| row.key.as_str().cmp(last)) {
                Some(Ordering::Less) => {
                    return Err(ComparisonError::Unordered { side: self.side, table: self.wanted.table.clone() });
                }
                Some(Ordering::Equal) => self.repeated += 1,
                Some(Ordering::Greater) | None => {
                    self.last = Some(row.key.clone());
                    return Ok(Some(row));
                }
            }
        }
    }

    /// How many rows there are in a time.
    pub(super) async fn count(mut self, range: &Range<i64>) -> Result<u64, ComparisonError> {
        self.begin(range).await?;
        while self.row().await?.is_some() {}
        Ok(self.rows)
    }

    /// The rows that have these keys, whatever their time.
    pub(super) async fn look_up(&mut self, keys: &[String]) -> Result<Vec<ReadRow>, ComparisonError> {
        self.reader.look_up(keys).await.map_err(self.side.failed())
    }

    /// How many rows of the time that was begun last have no key.
    pub(super) async fn without_key(&mut self) -> Result<u64, ComparisonError> {
        self.reader.without_key().await.map_err(self.side.failed())
    }
}
