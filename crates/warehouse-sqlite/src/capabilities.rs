//! What SQLite is like, for programs and for the documentation.

use std::time::Duration;

use tidegate_warehouse::capabilities::{Capabilities, Flush, Steps, Undoes};
use tidegate_warehouse::evolve::Type;

use super::ddl;
use super::encode;

/// The embedded warehouse.
pub const CAPABILITIES: Capabilities = Capabilities {
    kind: "sqlite",
    title: "SQLite",
    fit: encode::FIT,
    declared: encode::declared,
    stored: |kind| match kind {
        Type::Boolean => "0 or 1",
        Type::Integer => "64-bit integer",
        Type::Decimal => "64-bit floating point, or an integer where the value is whole",
        Type::Timestamp => "text in UTC; it sorts by time, to the millisecond",
        Type::Json => "text; `->`, `->>` and `json_each` read it",
        Type::Text => "text",
    },
    widening: |from, _| match from {
        Type::Boolean | Type::Integer | Type::Decimal => "definition edited; values rewritten if to Text",
        _ => "definition edited; values stay as they are",
    },
    columns_max: 1_900,
    deduplication: "primary key `id`, and the ledger in the rows' transaction",
    knows_ids: true,
    atomicity: "the batch, all tables",
    latency: "as soon as the batch before is done",
    flush: Flush { events: 2048, bytes: 8 << 20, age: Duration::ZERO },
    undoes: Undoes { rows: true, ddl: true },
    steps: Steps::EachColumn,
    statements: ddl::statements,
};
