//! What ClickHouse is like, for programs and for the documentation.

use std::time::Duration;

use tidegate_warehouse::capabilities::{Capabilities, Flush, Steps, Undoes};
use tidegate_warehouse::evolve::Type;

use super::{ddl, encode};

/// ClickHouse over HTTP.
pub const CAPABILITIES: Capabilities = Capabilities {
    kind: "clickhouse",
    title: "ClickHouse",
    fit: encode::FIT,
    declared: encode::declared,
    stored: |kind| match kind {
        Type::Boolean => "true or false",
        Type::Integer => "64-bit integer",
        Type::Decimal => "up to 38 digits on either side of the point, exact",
        Type::Timestamp => "microseconds, in UTC",
        Type::Json => "text; `JSONExtract` and its kin read it",
        Type::Text => "text",
    },
    widening: |from, _| match from {
        Type::Json => "comment taken away; values stay as they are",
        Type::Timestamp => "column rewritten twice, as text and then as the events spelled it",
        _ => "column rewritten by a mutation",
    },
    columns_max: 1_900,
    deduplication: "ids that a table has are not sent to it again; `ReplacingMergeTree` ordered by `id`",
    knows_ids: true,
    atomicity: "one table of a batch; events' own tables first, `tracks` and its like after them, the ledger last",
    latency: "2 s, or 50,000 events",
    flush: Flush { events: 50_000, bytes: 48 << 20, age: Duration::from_secs(2) },
    undoes: Undoes { rows: false, ddl: false },
    steps: Steps::Together,
    statements: ddl::statements,
};
