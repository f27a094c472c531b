//! Each warehouse with a place of its own, for the tests that serve it. What a warehouse must do by itself is in its crate's
//! own tests; the suite of all is `crates/warehouse-suite`.

pub use tidegate_warehouse_suite::{Act, Rig, Subject, TablesSeen, events, run, skipped};

mod capabilities;
#[path = "../../crates/warehouse-clickhouse/tests/it/rig/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's own tests, which use more of it")]
pub mod clickhouse;
#[path = "../../crates/warehouse-lake/tests/it/rig/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's own tests, which use more of it")]
pub mod lake;
#[path = "../../crates/warehouse-postgres/tests/it/rig/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's own tests, which use more of it")]
pub mod postgres;
mod opening;
mod rights;
#[path = "../../crates/warehouse-snowflake/tests/it/rig/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's own tests, which use more of it")]
pub mod snowflake;
#[path = "../../crates/warehouse-sqlite/tests/it/rig/mod.rs"]
#[allow(dead_code, reason = "shared with the crate's own tests, which use more of it")]
pub mod sqlite;
