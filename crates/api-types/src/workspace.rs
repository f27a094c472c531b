//! Objects of a workspace, and what changes of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What an object of a workspace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectRefKind {
    Source,
    Function,
    Lookup,
    Destination,
    Sync,
    Alert,
    /// One file of a contract.
    ContractFile,
}

impl ObjectRefKind {
    /// The kinds whose objects are a file each in a folder of their own.
    pub const OF_FOLDERS: [Self; 6] =
        [Self::Source, Self::Function, Self::Lookup, Self::Destination, Self::Sync, Self::Alert];

    /// The folder of a workspace that holds them.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Function => "functions",
            Self::Lookup => "lookups",
            Self::Destination => "destinations",
            Self::Sync => "syncs",
            Self::Alert => "alerts",
            Self::ContractFile => "events",
        }
    }

    /// The word for one of them.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Function => "function",
            Self::Lookup => "lookup",
            Self::Destination => "destination",
            Self::Sync => "sync",
            Self::Alert => "alert",
            Self::ContractFile => "contract file",
        }
    }
}

/// Names an object of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct ObjectRef {
    pub kind: ObjectRefKind,
    /// Never changes: today the name of its file, of a contract file its path below `events/`.
    pub key: String,
}

impl ObjectRef {
    #[must_use]
    pub fn new(kind: ObjectRefKind, key: impl Into<String>) -> Self {
        Self { kind, key: key.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.one(), self.key)
    }
}

/// One object of a folder as it is written: nothing in it is resolved, and the write keys of sources are left out.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderDocument {
    pub kind: ObjectRefKind,
    /// The name of its file, of a contract file its path below `events/`.
    pub key: String,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub document: Value,
}

impl fmt::Debug for FolderDocument {
    /// The document may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderDocument").field("kind", &self.kind).field("key", &self.key).finish_non_exhaustive()
    }
}

/// What becomes of events that wait for a sync which is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncEnding {
    /// They are delivered first.
    Drain,
    /// They are counted and not delivered.
    Abandon,
}

/// Whether an object comes, goes, or stays and changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectChangeKind {
    Added,
    Changed,
    Removed,
}

/// What is different about one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectDifference {
    #[serde(flatten)]
    pub object: ObjectRef,
    pub change: ObjectChangeKind,
    pub fields: Vec<FieldDifference>,
    /// What it refers to and is different, by name only: `file ca.pem`, `variable PGHOST`, `the version that is live`.
    pub inputs: Vec<String>,
}

/// What is different about one field. Secrets are references, or fingerprints that are good for this answer alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldDifference {
    /// The names of fields from the top, joined by dots.
    pub field: String,
    /// `null` where there was none.
    #[schema(value_type = Value)]
    pub before: Option<Value>,
    /// `null` where there is none any more.
    #[schema(value_type = Value)]
    pub after: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_in_one_way() {
        let object = ObjectRef::new(ObjectRefKind::ContractFile, "domains/shop/domain.yaml");
        assert_eq!(object.to_string(), "contract file domains/shop/domain.yaml");
        let json = serde_json::to_value(&object).unwrap();
        assert_eq!(json, serde_json::json!({"kind": "contract_file", "key": "domains/shop/domain.yaml"}));
    }
}
