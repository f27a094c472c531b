//! What Snowflake is like, for programs and for the documentation.

use std::time::Duration;

use tidegate_warehouse::capabilities::{Capabilities, Flush, Steps, Undoes};
use tidegate_warehouse::evolve::Type;

use super::ddl;
use super::encode;

/// Snowflake, loaded by files.
pub const CAPABILITIES: Capabilities = Capabilities {
    kind: "snowflake",
    title: "Snowflake",
    fit: encode::FIT,
    declared: encode::declared,
    stored: |kind| match kind {
        Type::Boolean => "TRUE or FALSE",
        Type::Integer => "64-bit integer",
        Type::Decimal => "exact, 20 digits before the point and 18 behind it",
        Type::Timestamp => "UTC, microseconds",
        Type::Json => "VARIANT; a string inside it where VARIANT would round a number",
        Type::Text => "text",
    },
    widening: |_, _| "column rebuilt beside itself and renamed; the table's rows are rewritten",
    columns_max: 2_000,
    deduplication: "anti-join on `id`, and the ledger in the rows' transaction",
    knows_ids: true,
    atomicity: "the batch, all tables",
    latency: "about a minute",
    flush: FLUSH_STAGED,
    undoes: Undoes { rows: true, ddl: false },
    steps: Steps::AddThenWiden,
    statements: ddl::statements,
};

const FLUSH_STAGED: Flush = Flush { events: 50_000, bytes: 64 << 20, age: Duration::from_secs(60) };
const FLUSH_STREAMING: Flush = Flush { events: 10_000, bytes: 8 << 20, age: Duration::from_secs(2) };

/// Snowflake, loaded by Snowpipe Streaming.
pub const CAPABILITIES_STREAMING: Capabilities = Capabilities {
    title: "Snowflake, streaming",
    deduplication: "offsets of channels; a `messageId` that comes again is there again",
    knows_ids: false,
    atomicity: "each table by itself",
    latency: "about ten seconds",
    flush: FLUSH_STREAMING,
    undoes: Undoes { rows: false, ddl: false },
    ..CAPABILITIES
};
