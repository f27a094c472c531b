//! Reading the rows of a warehouse, whoever has written them, so that two can be compared.
//!
//! Nouns: a **table reader** (the way to the tables of one schema), the **rows wanted** (of one table and some time, in the order
//! of their keys), a **page** (rows that are read at once), a [cell](crate::read_cell::ReadCell).
//!
//! A reader changes nothing, and holds no more than a page.

use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_event::destination::{Failure, Reply};

use crate::evolve::Type;
use crate::read_cell::ReadCell;

/// Rows of a page, at most.
pub const PAGE_ROWS: usize = 1_000;
/// Keys that are looked up at once, at most.
pub const KEYS_MAX: usize = 250;

/// A column as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadColumn {
    pub name: String,
    /// What its type means here. Of a type that the router would not have chosen: the nearest one.
    pub kind: Type,
    /// As the warehouse spells its type.
    pub declared: String,
    /// Digits behind the second that an instant keeps, at most six.
    pub fraction_digits: u8,
}

/// Which rows, and what of them.
#[derive(Debug, Clone)]
pub struct RowsWanted {
    pub table: String,
    /// By which rows are told apart, and in whose order they come: by the bytes of its text.
    pub key: ReadColumn,
    /// By which a row belongs to a time.
    pub time: ReadColumn,
    /// Microseconds since 1970; the end is not part of it.
    pub range: Range<i64>,
    pub columns: Vec<ReadColumn>,
}

/// One row.
#[derive(Debug, Clone)]
pub struct ReadRow {
    pub key: String,
    /// Microseconds since 1970; `None` where its time is none.
    pub at_us: Option<i64>,
    /// In the order of [`RowsWanted::columns`].
    pub cells: Vec<ReadCell>,
}

/// The way to the tables of one schema. One caller at a time.
pub trait TableReader: Send {
    /// The tables by their names, without views. A schema that is not there has none.
    fn tables(&mut self) -> Reply<'_, BTreeMap<String, Vec<ReadColumn>>>;

    /// Begins to read these rows. Those without a key are left out. What was begun before is over.
    fn begin(&mut self, wanted: RowsWanted) -> Reply<'_, ()>;

    /// The next rows of what was begun last, at most [`PAGE_ROWS`]; none at the end. Rows of one key are in any order.
    fn page(&mut self) -> Reply<'_, Vec<ReadRow>>;

    /// The rows that have these keys, at most [`KEYS_MAX`], in the table of what was begun last, whatever their time; in any order.
    /// May be asked between pages.
    fn look_up<'r>(&'r mut self, keys: &'r [String]) -> Reply<'r, Vec<ReadRow>>;

    /// How many rows of what was begun last have no key.
    fn without_key(&mut self) -> Reply<'_, u64>;
}

/// A failure with another advice, where it has any: whoever reads needs less than whoever writes, and of somebody else's tables
/// nothing is to be moved away.
#[must_use]
pub fn advised(failure: Failure, advice: String) -> Failure {
    match failure {
        Failure::Stop { reason, cause, .. } => Failure::Stop { reason, advice, cause },
        other => other,
    }
}
