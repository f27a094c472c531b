//! What a lake is like, for programs and for the documentation.

use std::time::Duration;

use tidegate_warehouse::capabilities::{Capabilities, Flush, Steps, Undoes};
use tidegate_warehouse::evolve::Type;

use super::ddl;
use super::encode;

/// Parquet files.
pub const CAPABILITIES: Capabilities = Capabilities {
    kind: "lake",
    title: "Parquet lake",
    fit: encode::FIT,
    declared: encode::declared,
    stored: |kind| match kind {
        Type::Boolean => "a bit",
        Type::Integer => "64-bit integer",
        Type::Decimal => "decimal of 38 digits, 18 behind the point; 16 bytes",
        Type::Timestamp => "microseconds since 1970, UTC",
        Type::Json => "text; the manifest says which columns are JSON",
        Type::Text => "text",
    },
    widening: |_, _| "files that have the column are written anew, in the commit of the batch",
    columns_max: 10_000,
    deduplication: "the ledger in the rows' commit, and first of an id within a batch; an id that comes again later is \
                    stored again",
    knows_ids: false,
    atomicity: "the batch, all tables",
    latency: "a minute, less when much arrives",
    flush: Flush { events: 50_000, bytes: 64 << 20, age: Duration::from_secs(60) },
    undoes: Undoes { rows: true, ddl: true },
    steps: Steps::Together,
    statements: ddl::statements,
};
