//! Tables of embedded warehouses, read by SQL.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One statement that reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryDestination {
    /// `SELECT`, `WITH` or `VALUES`, of 16 KiB at most. It stands in the audit log as it is.
    pub sql: String,
}

/// What a statement found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueriedRows {
    pub destination: String,
    pub columns: Vec<String>,
    /// A cell is a number, a text or null; of bytes it says how many there are. At most 1,000 rows, of 4 MiB together.
    pub rows: Vec<Vec<Value>>,
    /// There are more rows than these.
    pub more: bool,
    /// Cells that have more than 4,096 characters; they end with `…`.
    pub cut: u64,
    pub took_ms: u64,
}

/// Which tables may be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueriedTables {
    pub destination: String,
    /// By name.
    pub tables: Vec<QueriedTable>,
}

/// A table or a view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueriedTable {
    pub name: String,
    pub columns: Vec<String>,
}
