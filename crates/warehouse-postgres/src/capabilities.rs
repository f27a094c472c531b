//! What PostgreSQL is like, for programs and for the documentation.

use std::time::Duration;

use tidegate_warehouse::capabilities::{Capabilities, Flush, Steps, Undoes};
use tidegate_warehouse::evolve::Type;

use super::ddl;
use super::encode;

/// A PostgreSQL server.
pub const CAPABILITIES: Capabilities = Capabilities {
    kind: "postgres",
    title: "PostgreSQL",
    fit: encode::FIT,
    declared: encode::declared,
    stored: |kind| match kind {
        Type::Boolean => "boolean",
        Type::Integer => "64-bit integer",
        Type::Decimal => "decimal digits, up to 1,000, below 1e40",
        Type::Timestamp => "an instant, to the microsecond",
        Type::Json => {
            "the JSON text as it came, U+0000 spelled for them; `->`, `->>` and `json_array_elements` read it"
        }
        Type::Text => "text; a value with the character U+0000 is in the row's overflow",
    },
    widening: |from, to| match (from, to) {
        (Type::Json, _) => "ALTER COLUMN TYPE; the table is locked, values stay as they are",
        _ => "ALTER COLUMN TYPE; the table is locked and rewritten",
    },
    columns_max: 1_500,
    deduplication: "primary key `id`, and the ledger in the rows' transaction",
    knows_ids: true,
    atomicity: "the batch, all tables",
    latency: "a second, or 4,000 events",
    flush: Flush { events: 4_000, bytes: 16 << 20, age: Duration::from_secs(1) },
    undoes: Undoes { rows: true, ddl: true },
    steps: Steps::AddThenWiden,
    statements: ddl::statements,
};
