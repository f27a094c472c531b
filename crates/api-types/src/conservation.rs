//! Whether events are conserved: what was accepted is the sum of the fates.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Of which events; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConservationQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// RFC 3339; events that were received in this hour or later. The hour counts whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; events that were received before. The hour that it is in counts whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<String>,
    /// The name of a track; `(page)`, `(identify)` and so on for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Count the records of the log once more, and compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep: Option<bool>,
}

/// What was accepted, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConservationReport {
    /// Whether every sum is right, and no breach is kept.
    pub holds: bool,
    pub sources: Vec<ConservedSource>,
    pub syncs: Vec<ConservedSync>,
    /// Those that were found before, of what was asked for.
    pub breaches: Vec<ShownBreach>,
    /// Where counts begin, in each partition that has any: `0`, or `2/0` in the third. Events before are not counted.
    pub counted_from: Vec<String>,
    /// Where the log was counted once more.
    pub recount: Option<LogRecount>,
}

/// How many events had which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FateNumbers {
    /// Accepted by the source, or come to the sync.
    pub came: i64,
    /// What functions made beyond what came, less what went to other names.
    pub made: i64,
    pub duplicate: i64,
    pub quarantined: i64,
    pub expired: i64,
    pub suppressed: i64,
    pub dropped: i64,
    pub filtered: i64,
    /// Waits for another try.
    pub pending: i64,
    pub delivered: i64,
    /// At the destination, by its own ledger.
    pub delivered_by_ledger: i64,
    /// From a source to its syncs.
    pub went_on: i64,
}

/// What became of the events of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConservedSource {
    pub source: String,
    pub counts: FateNumbers,
    pub wrong: Option<ConservationGap>,
}

/// What became of the events of a sync.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConservedSync {
    pub sync: String,
    pub source: String,
    /// Events that its source let go on.
    pub went_on: i64,
    /// Of these, events that it has not had yet: they wait in the log.
    pub waiting: i64,
    /// Of these, events from before it began.
    pub not_for_it: i64,
    pub counts: FateNumbers,
    /// Why some of it cannot be told.
    pub unsure: Option<String>,
    pub wrong: Option<ConservationGap>,
}

/// Sums that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConservationGap {
    pub expected: i64,
    pub found: i64,
    pub what: String,
}

/// A place where the sum was wrong when it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FateBreach)]
pub struct ShownBreach {
    pub found_at: String,
    /// The source or the sync.
    pub scope: String,
    pub is_sync: bool,
    /// Where its log ranges begin, and before which position they end; none where it is about hours.
    pub first: Option<String>,
    pub end: Option<String>,
    pub gap: ConservationGap,
}

/// What counting the log once more came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRecount {
    /// Records that were read.
    pub records: u64,
    /// Events received before this are not compared: the log has given up records of then. None where everything is compared.
    pub compared_from: Option<String>,
    /// Hours, sources and names that were compared.
    pub compared: u64,
    /// Where the counts are others, at most a hundred.
    pub differences: Vec<RecountDifference>,
}

/// A place where the log has another number of events than was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecountDifference {
    pub source: String,
    /// The beginning of the hour.
    pub hour: String,
    /// None where all names of the hour are compared at once.
    pub event: Option<String>,
    pub counted: i64,
    pub in_log: i64,
}
