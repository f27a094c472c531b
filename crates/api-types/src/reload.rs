//! What changes while a server runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::workspace::{FieldDifference, ObjectDifference, ObjectRef};

/// Reads the workspace's folder again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Syncs that the folder has no more, or sources with all their syncs: what waits for them is delivered first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drain: Vec<String>,
    /// The same: what waits for them is given up, and counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandon: Vec<String>,
}

/// The configuration that runs now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The number of what runs; it is the one before when nothing has changed.
    pub revision: u64,
    /// What is different in `tidegate.yaml`.
    pub settings: Vec<FieldDifference>,
    pub changed: Vec<ObjectDifference>,
    /// Syncs that do not go on as they were: `start`, `regather` (the same destination goes on), `reopen`,
    /// `replace` (it has ended, and another of its name begins), `pause`, `resume`, `end`.
    pub syncs: BTreeMap<String, String>,
    /// Syncs that go on until everything is delivered that was accepted for them, and then end.
    #[serde(default)]
    pub draining: Vec<String>,
    /// Settings that are different and count from the next start.
    pub needs_restart: Vec<String>,
    /// Objects that do not run as they are wanted: not yet, or for the reason that is named.
    pub behind: Vec<ObjectRunning>,
}

/// What runs now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningNow {
    /// The number of what runs.
    pub revision: u64,
    /// When it was put in place.
    pub since: String,
    /// The revision of the catalog that was put in place last.
    pub catalog_revision: u64,
    /// The newest revision of the catalog. What runs need not be different in it.
    pub newest_catalog_revision: u64,
    /// Settings that are different and count from the next start.
    pub needs_restart: Vec<String>,
    /// Objects that do not run as they are wanted, as far as they may be viewed.
    pub behind: Vec<ObjectRunning>,
}

/// How far one object of the configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObjectRunning {
    #[serde(flatten)]
    pub object: ObjectRef,
    /// The revision in which it was last another one.
    pub wanted: u64,
    /// The revision as which it runs; 0 when it does not run yet.
    pub running: u64,
    /// When it was last put in place.
    pub since: String,
    /// Why it does not run as it is wanted.
    pub error: Option<String>,
}

impl ObjectRunning {
    /// It does not run as it is wanted.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.wanted != self.running || self.error.is_some()
    }
}

/// What is wrong with one place of a workspace's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceProblem {
    pub file: String,
    /// From 1; 0 when it is about the file as a whole.
    pub line: u64,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}
