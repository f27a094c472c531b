//! What is to be compared, and how strictly.

use std::collections::BTreeSet;
use std::ops::Range;

use super::dialect::ForeignDialect;
use super::error::ComparisonError;

pub(super) const DAY_US: i64 = 86_400_000_000;
/// Ten years.
const DAYS_MAX: i64 = 3_660;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct ComparisonRequest {
    /// Microseconds since 1970; the end is not part of it.
    pub range: Range<i64>,
    /// Only the table of this event.
    pub event: Option<String>,
    /// How the other side names its tables and columns; `None` for one that was written by the router too.
    pub dialect: Option<ForeignDialect>,
    /// The column by which rows are told apart.
    pub key: String,
    /// The column that says to which day a row belongs.
    pub time: String,
    /// Columns that are not compared, in lower case.
    pub ignored: BTreeSet<String>,
    /// Microseconds by which times of servers' clocks may differ.
    pub tolerance_us: u64,
    /// Rows that are named of each difference of a table.
    pub rows_max: usize,
}

impl ComparisonRequest {
    pub(super) fn check(&self) -> Result<(), ComparisonError> {
        if self.range.is_empty() {
            return Err(ComparisonError::NoRange);
        }
        let days = self.range.end.saturating_sub(self.range.start) / DAY_US;
        if days > DAYS_MAX { Err(ComparisonError::ManyDays { days, most: DAYS_MAX }) } else { Ok(()) }
    }

    /// The days of the time, in UTC; the first and the last may be parts of one.
    pub(super) fn days(&self) -> impl Iterator<Item = Range<i64>> + use<> {
        let Range { start, end } = self.range;
        let next = move |at: &i64| Some((at.div_euclid(DAY_US) + 1) * DAY_US).filter(|next| *next < end);
        std::iter::successors(Some(start), next).map(move |at| at..((at.div_euclid(DAY_US) + 1) * DAY_US).min(end))
    }
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy)]
pub struct ComparisonProgress<'p> {
    pub table: &'p str,
    /// `2026-11-01`.
    pub day: &'p str,
    /// Rows of this table that were read so far, on both sides.
    pub rows: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: Range<i64>) -> ComparisonRequest {
        ComparisonRequest {
            range,
            event: None,
            dialect: None,
            key: "id".to_owned(),
            time: "received_at".to_owned(),
            ignored: BTreeSet::new(),
            tolerance_us: 0,
            rows_max: 10,
        }
    }

    #[test]
    fn days_are_those_of_utc_and_cover_the_time_without_a_gap() {
        let days: Vec<Range<i64>> = of(DAY_US - 5..2 * DAY_US + 7).days().collect();
        assert_eq!(days, [DAY_US - 5..DAY_US, DAY_US..2 * DAY_US, 2 * DAY_US..2 * DAY_US + 7]);
        assert_eq!(of(-3..DAY_US).days().collect::<Vec<_>>(), [-3..0, 0..DAY_US]);
        assert_eq!(of(1..2).days().next(), Some(1..2));
    }

    #[test]
    fn a_time_that_is_none_or_without_end_is_refused() {
        assert!(matches!(of(5..5).check(), Err(ComparisonError::NoRange)));
        assert!(matches!(of(0..4_000 * DAY_US).check(), Err(ComparisonError::ManyDays { days: 4_000, .. })));
        assert!(of(0..1).check().is_ok());
    }
}
