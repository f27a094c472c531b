//! How much comes, what becomes of it, and how far everything is.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::conservation::FateNumbers;

/// Of which environment, and how far back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The hour that is running and so many before, 1 to 168 altogether; 24 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 168)]
    pub hours: Option<u64>,
}

/// How much comes and what becomes of it: of the sources and syncs that whoever asks may view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Activity)]
pub struct ShownActivity {
    /// Where clients send events to.
    pub events_url: String,
    /// When this was read.
    pub at: String,
    /// The beginning of the first hour.
    pub from: String,
    /// How many hours there are, that of `at` among them.
    pub hours: u64,
    /// By name.
    pub sources: Vec<SourceActivity>,
    /// By name.
    pub syncs: Vec<SyncActivity>,
    /// None where it cannot be told.
    pub disk: Option<DiskActivity>,
}

/// What became of the events that were received in one hour, as far as that has been decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HourActivity {
    /// The beginning of the hour.
    pub hour: String,
    pub counts: FateNumbers,
}

/// Events since counting began, whenever they were received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventTotals {
    /// That came to a source, however they came.
    pub accepted: u64,
    /// By a sync.
    pub delivered: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    /// Left out by a sync: by its filter, or by a function.
    pub filtered: u64,
    /// By functions of a source.
    pub dropped: u64,
    pub suppressed: u64,
}

/// The events of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceActivity {
    pub source: String,
    /// Events that broke their contract, whatever became of them, since counting began.
    pub violations: u64,
    #[serde(default)]
    pub totals: EventTotals,
    /// Oldest first; an hour without events is left out.
    pub hours: Vec<HourActivity>,
}

/// The events of a sync, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncActivity {
    pub sync: String,
    pub source: String,
    #[serde(default)]
    pub totals: EventTotals,
    /// Oldest first; an hour without events is left out.
    pub hours: Vec<HourActivity>,
    /// Events that wait for it in the log.
    pub waiting: u64,
    /// When the oldest record was received that it has not come to; none when there is none.
    #[serde(default)]
    pub waiting_since: Option<String>,
    /// Events that wait for another try.
    pub pending: u64,
    /// Of the pending event that has waited longest: when it was tried first.
    pub pending_since: Option<String>,
    /// The last delivery.
    pub delivered_at: Option<String>,
    /// It delivers nothing for now: it is paused, or its destination is.
    #[serde(default)]
    pub paused: bool,
    /// It is trying again what has failed, or what its destination does not take; not while it is paused.
    pub failing: bool,
    /// What has failed; none where events are masked, for it may quote them.
    pub failure: Option<String>,
    /// What its destination wanted somebody to know, the newest last; likewise.
    pub notices: Vec<String>,
}

/// The disk of the data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiskActivity {
    pub free_bytes: u64,
    pub bytes: u64,
}
