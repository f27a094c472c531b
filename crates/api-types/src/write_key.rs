use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The write keys of all sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WriteKeys)]
pub struct ShownWriteKeys {
    /// By source and name.
    pub write_keys: Vec<ShownWriteKey>,
}

/// A write key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WriteKey)]
pub struct ShownWriteKey {
    pub source: String,
    /// Unique in its source.
    pub name: String,
    /// When it was made. A key in a file bears no date: when this server first had it, no earlier than it started.
    pub created: String,
    /// From when on it opens nothing.
    pub ends: Option<String>,
    /// Its end has come.
    pub ended: bool,
    /// Events that were accepted under it since the server started.
    pub events: u64,
    /// When somebody last sent under it since the server started, whatever the answer was.
    pub last_used: Option<String>,
}
