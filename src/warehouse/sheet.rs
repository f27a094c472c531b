//! What each warehouse says about itself, for programs and for the documentation.

use super::evolve::{Fit, Type};
use super::table::Table;

/// One warehouse's facts. The tables of `docs/warehouses.md` are made from these.
#[derive(Debug)]
pub struct Sheet {
    /// As a workspace spells it: `kind: sqlite`.
    pub kind: &'static str,
    /// As people call it.
    pub title: &'static str,
    pub fit: Fit,
    /// The type as a column declares it.
    pub declared: fn(Type) -> &'static str,
    /// What a value of the type is there, for the reader of a table.
    pub stored: fn(Type) -> &'static str,
    /// How a column moves from one type to a wider one.
    pub widening: fn(Type, Type) -> &'static str,
    /// Columns that the warehouse itself can have in a table; an operator's own cap is lower.
    pub columns_max: usize,
    /// How one event is kept from being there twice.
    pub deduplication: &'static str,
    /// What becomes visible at once.
    pub atomicity: &'static str,
    /// From the door to a query, with the defaults.
    pub latency: &'static str,
    /// What a sync gathers before it loads, unless told otherwise.
    pub flush: Flush,
    /// The statements that make the table what it shall be, as an operator would run them.
    pub statements: fn(&Table) -> Vec<String>,
}

/// When a batch is large or old enough to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    pub events: usize,
    pub bytes: usize,
    /// How long the first event of a batch may wait for others.
    pub age: std::time::Duration,
}
