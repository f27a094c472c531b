//! Two tables, day after day: both sides in the order of their keys, as a merge of two sorted lists.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_event::time;
use tidegate_warehouse::table_reader::{KEYS_MAX, ReadRow, RowsWanted, TableReader};

use super::column_pairs::ColumnPairs;
use super::error::{ComparedSide, ComparisonError};
use super::report::TableReport;
use super::request::{ComparisonProgress, ComparisonRequest};
use super::row_stream::RowStream;
use super::tally::TableTally;

/// Rows between two words about how far it is.
const TOLD_ROWS: u64 = 1_000;

/// A walk through two tables.
pub(super) struct TableWalk<'w> {
    ours: RowStream<'w>,
    theirs: RowStream<'w>,
    tally: TableTally<'w>,
    request: &'w ComparisonRequest,
    /// Rows that the day in hand has on one side alone, to be looked up on the other.
    only_ours: Vec<ReadRow>,
    only_theirs: Vec<ReadRow>,
    /// Rows of the days before, on both sides.
    rows: u64,
}

impl<'w> TableWalk<'w> {
    pub(super) fn new(
        [ours, theirs]: [&'w mut dyn TableReader; 2],
        [our, their]: [RowsWanted; 2],
        (columns, request): (&'w ColumnPairs, &'w ComparisonRequest),
    ) -> Self {
        let tally = TableTally::new((our.table.as_str(), their.table.as_str()), columns, request);
        let paired = columns.pairs.len();
        Self {
            ours: RowStream::new(ComparedSide::Ours, ours, our, paired),
            theirs: RowStream::new(ComparedSide::Theirs, theirs, their, paired),
            tally,
            request,
            only_ours: Vec::new(),
            only_theirs: Vec::new(),
            rows: 0,
        }
    }

    /// Walks all days.
    pub(super) async fn walk(
        mut self,
        told: &mut dyn FnMut(ComparisonProgress<'_>),
    ) -> Result<TableReport, ComparisonError> {
        for range in self.request.days() {
            let day: String = time::format(range.start).chars().take(10).collect();
            self.day(&range, &day, told).await?;
            self.rows += self.ours.rows + self.theirs.rows;
            self.tally.report.without_key[0] += self.ours.without_key().await?;
            self.tally.report.without_key[1] += self.theirs.without_key().await?;
            if self.ours.rows + self.theirs.rows > 0 {
                self.tally.report.days.insert(day, [self.ours.rows, self.theirs.rows]);
            }
        }
        self.tally.report.repeated[0] += self.ours.repeated;
        self.tally.report.repeated[1] += self.theirs.repeated;
        self.tally.unpaired_values(&self.ours.values, &self.theirs.values);
        Ok(self.tally.report)
    }

    async fn day(
        &mut self,
        range: &Range<i64>,
        day: &str,
        told: &mut dyn FnMut(ComparisonProgress<'_>),
    ) -> Result<(), ComparisonError> {
        self.ours.begin(range).await?;
        self.theirs.begin(range).await?;
        let (mut our, mut their) = (self.ours.row().await?, self.theirs.row().await?);
        let mut steps = 0_u64;
        loop {
            if steps.is_multiple_of(TOLD_ROWS) {
                let rows = self.rows + self.ours.rows + self.theirs.rows;
                told(ComparisonProgress { table: &self.tally.report.table, day, rows });
            }
            steps += 1;
            let order = match (&our, &their) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(our), Some(their)) => our.key.cmp(&their.key),
            };
            match order {
                Ordering::Less => self.only_ours.extend(our.take()),
                Ordering::Greater => self.only_theirs.extend(their.take()),
                Ordering::Equal => {
                    if let (Some(our), Some(their)) = (&our, &their) {
                        self.tally.pair(our, their);
                    }
                }
            }
            if order.is_le() {
                our = self.ours.row().await?;
            }
            if order.is_ge() {
                their = self.theirs.row().await?;
            }
            if self.only_ours.len() >= KEYS_MAX {
                self.settle_ours().await?;
            }
            if self.only_theirs.len() >= KEYS_MAX {
                self.settle_theirs().await?;
            }
        }
        self.settle_ours().await?;
        self.settle_theirs().await
    }

    /// Looks up on their side what only we have on this day.
    async fn settle_ours(&mut self) -> Result<(), ComparisonError> {
        let rows = std::mem::take(&mut self.only_ours);
        let (elsewhere, own) = found(&rows, &mut self.theirs, &mut self.ours).await?;
        for row in rows {
            match elsewhere.get(&row.key).and_then(|found| found.first()) {
                None => self.tally.missing(row.key),
                // One of ours is the other's, and this is one more.
                Some(_) if count(&own, &row.key) > 1 => self.tally.report.repeated[0] += 1,
                Some(other) => self.tally.pair_elsewhere(&row, other),
            }
        }
        Ok(())
    }

    /// Looks up on our side what only they have on this day.
    async fn settle_theirs(&mut self) -> Result<(), ComparisonError> {
        let rows = std::mem::take(&mut self.only_theirs);
        let (elsewhere, own) = found(&rows, &mut self.ours, &mut self.theirs).await?;
        for row in rows {
            match elsewhere.get(&row.key).and_then(|found| found.first()) {
                None => self.tally.extra(row.key),
                Some(_) if count(&own, &row.key) > 1 => self.tally.report.repeated[1] += 1,
                // It is told on the day of ours.
                Some(other) if other.at_us.is_some_and(|at| self.request.range.contains(&at)) => {}
                Some(other) => self.tally.pair_elsewhere(other, &row),
            }
        }
        Ok(())
    }
}

type RowsByKey = BTreeMap<String, Vec<ReadRow>>;

fn count(rows: &RowsByKey, key: &str) -> usize {
    rows.get(key).map_or(0, Vec::len)
}

/// The rows of the other side that have these keys, and the rows of their own side that have the keys of those.
async fn found(
    rows: &[ReadRow],
    other: &mut RowStream<'_>,
    own: &mut RowStream<'_>,
) -> Result<(RowsByKey, RowsByKey), ComparisonError> {
    let (mut elsewhere, mut own_rows) = (RowsByKey::new(), RowsByKey::new());
    for chunk in rows.chunks(KEYS_MAX) {
        let keys: Vec<String> = chunk.iter().map(|row| row.key.clone()).collect();
        let found = by_key(other.look_up(&keys).await?);
        if !found.is_empty() {
            let keys: Vec<String> = found.keys().cloned().collect();
            own_rows.extend(by_key(own.look_up(&keys).await?));
        }
        elsewhere.extend(found);
    }
    Ok((elsewhere, own_rows))
}

fn by_key(rows: Vec<ReadRow>) -> RowsByKey {
    let mut found = RowsByKey::new();
    for row in rows {
        found.entry(row.key.clone()).or_default().push(row);
    }
    found
}
