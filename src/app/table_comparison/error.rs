//! Why two warehouses could not be compared.

use std::fmt;

use tidegate_event::destination::Failure;

/// Whose tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparedSide {
    Ours,
    Theirs,
}

impl ComparedSide {
    /// The error that this side could not be read.
    pub(super) fn failed(self) -> impl Fn(Failure) -> ComparisonError {
        move |source| ComparisonError::Unreadable { side: self, source }
    }
}

impl fmt::Display for ComparedSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "OURS",
            Self::Theirs => "THEIRS",
        })
    }
}

/// Why two warehouses could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    #[error("{side} cannot be read: {source}")]
    Unreadable { side: ComparedSide, source: Failure },
    #[error("table {table} of {side} has no column {column}; name another one with {option}")]
    NoColumn { side: ComparedSide, table: String, column: String, option: &'static str },
    #[error(
        "column {column} of table {table} of {side} is declared {declared} and holds no times; name another one with --time"
    )]
    NoTime { side: ComparedSide, table: String, column: String, declared: String },
    #[error(
        "neither side has the table {table}, which the event {event:?} would have; name the event as it is sent, or its table"
    )]
    NoEvent { event: String, table: String },
    #[error(
        "there was nothing to compare: neither side has rows of the time in a table with the columns {key} and {time}, and no table is on \
         both sides; look at the schema of each side, at --key and at --time"
    )]
    NoTables { key: String, time: String },
    #[error(
        "nothing was compared: neither side has a row of the time from {from} to {to} with a value in the column {key}; name a time with rows, \
         and look at the schema of each side"
    )]
    NoRows { from: String, to: String, key: String },
    #[error("rows of table {table} of {side} do not come in the order of their keys; name another column with --key")]
    Unordered { side: ComparedSide, table: String },
    #[error("--from is not before --to; name a beginning and, after it, an end that is not part of the time")]
    NoRange,
    #[error("{days} days are more than the {most} that are compared at once; name a shorter time with --from and --to")]
    ManyDays { days: i64, most: i64 },
}
