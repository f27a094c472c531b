//! The tables of a sync, made anew beside the old ones.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::replay::{ReplayCounts, ReplayPart, ReplayRefusal};

/// Makes the tables of a sync anew in a schema beside the old ones, in the background. The sync goes on in the old ones meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RebuildSync {
    /// Events from here on: the time when they were received, such as `2026-01-31T00:00:00Z`, or `beginning`.
    pub from: String,
    /// Where the new tables are until they are swapped; a name with the time when it is left out. Nothing may be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Swap them by itself once the new ones are as far as the old ones, and nothing that was asked for is missing.
    #[serde(default)]
    pub swap: bool,
    /// Count what would be written, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a rebuild is about, as the server keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RebuildOrder {
    /// Microseconds since the epoch; from the beginning where there is none.
    pub from_us: Option<i64>,
    /// The new schema as somebody has named it.
    pub schema: Option<String>,
    pub swap: bool,
    pub dry_run: bool,
}

/// How far a rebuild is, and what became of events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RebuildReport {
    /// Empty before it begins, then `events`; `ready` once the new tables are as far as the old ones; `done`.
    pub step: String,
    /// The destination that it writes to.
    pub destination: String,
    /// Where the tables are that are read; empty where they have no schema.
    pub schema: String,
    /// Where the new ones are until they are swapped.
    pub rebuilt: String,
    /// Where the old ones are from then on.
    pub before: String,
    /// By partition of the log. `to` is how far the sync was when it was last looked.
    pub parts: Vec<ReplayPart>,
    pub counts: ReplayCounts,
    /// The first events that were refused.
    pub refused: Vec<ReplayRefusal>,
    /// What whoever reads this should know, a sentence each.
    pub notes: Vec<String>,
    /// What its destination said, a sentence each.
    pub notices: Vec<String>,
    /// Why it does not swap by itself though it was asked to.
    pub waits_for: Option<String>,
    /// What it is failing at.
    pub failure: Option<String>,
}

/// How a rebuild is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Rebuild)]
pub struct ShownRebuild {
    pub id: u64,
    /// `running`, `swapping`, `done`, `failed` or `cancelled`.
    pub state: String,
    pub sync: String,
    pub asked_at: String,
    pub asked_by: String,
    /// The name of that user or token.
    pub asked_by_name: Option<String>,
    pub ended_at: Option<String>,
    /// As the ledger beside the new tables knows it.
    pub name: String,
    pub from: String,
    /// Whether it swaps the tables once it can.
    pub swap: bool,
    pub dry_run: bool,
    pub report: RebuildReport,
}

/// Rebuilds, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownRebuilds {
    pub rebuilds: Vec<ShownRebuild>,
}
