//! A part of the log that goes to one sync once more.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Gives a part of the log to a sync once more, in the background. What arrives goes on to it meanwhile.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayEvents {
    pub sync: String,
    /// Events from here on: the time when they were received, such as `2026-01-31T00:00:00Z`, or a position of the log, such as `7` or
    /// `2/7`, or `beginning`.
    pub from: String,
    /// Events before this: a time or a position; now when it is left out. What the sync has not had yet is never part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only events with these names. What has no name of its own is named by its type in brackets, such as `(identify)`.
    #[serde(default)]
    pub events: Vec<String>,
    /// Only events with this `userId` or `anonymousId`. It is kept as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// By which contract and functions of the source: `then` for those that were live when the events came, which is usual, or `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Records a second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub rate: Option<u32>,
    /// Count what would be sent, and send nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Send them also where the destination stores an event once more that it has.
    #[serde(default)]
    pub allow_doubles: bool,
}

impl fmt::Debug for ReplayEvents {
    /// An id is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayEvents").field("sync", &self.sync).finish_non_exhaustive()
    }
}

/// Which events a replay is about, as the server keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplayOrder {
    pub from: ReplayBound,
    pub to: ReplayBound,
    pub events: Vec<String>,
    /// By the contract and the functions of now.
    pub by_rules_of_now: bool,
    pub rate: Option<u32>,
    pub dry_run: bool,
    /// As of [`ShownReplay::warning`].
    pub warning: Option<String>,
}

/// One end of the part of the log. Neither a time nor a position is the end that the log has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplayBound {
    /// Microseconds since the epoch.
    pub time_us: Option<i64>,
    pub position: Option<ReplayPosition>,
}

/// A position of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayPosition {
    pub partition: u16,
    pub offset: u64,
}

/// How far a replay is, and what became of its events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplayReport {
    /// Empty before it begins, then `events`, `pending`, `done`.
    pub step: String,
    /// By partition of the log.
    pub parts: Vec<ReplayPart>,
    pub counts: ReplayCounts,
    /// What passes the filter of the sync, by name.
    pub names: BTreeMap<String, ReplayedName>,
    /// The first events that were refused.
    pub refused: Vec<ReplayRefusal>,
    /// What whoever reads this should know, a sentence each.
    pub notes: Vec<String>,
    /// What its destination said, a sentence each.
    pub notices: Vec<String>,
    /// What it is failing at.
    pub failure: Option<String>,
}

/// One partition of the log in a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplayPart {
    pub partition: u16,
    /// The first offset, and the one behind the last.
    pub from: u64,
    pub to: u64,
    /// Everything below is done.
    pub at: u64,
    /// Records, at most, that are meant and that the log does not have any more.
    pub missing: u64,
}

/// What became of the events of a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplayCounts {
    /// Events that are meant.
    pub came: u64,
    /// Of these, what is about somebody who is suppressed by now, and goes nowhere.
    pub suppressed: u64,
    /// What passes the filter of the sync and what it had before: those that a warehouse knows by their ids.
    pub had_before: u64,
    /// By the filter of the sync.
    pub filtered: u64,
    /// By functions of the sync, on purpose.
    pub dropped: u64,
    /// By functions of the sync, with an error.
    pub stopped: u64,
    /// Handed to the destination: the sum of `delivered`, `refused`, `skipped` and `pending`.
    pub sent: u64,
    /// There now, `duplicates` included.
    pub delivered: u64,
    /// Of these, what was there already, as far as the destination says so.
    pub duplicates: u64,
    /// There by the ledger of the destination: the server was stopped before it heard so. Not part of `sent`.
    pub by_ledger: u64,
    pub refused: u64,
    /// By the plugin, on purpose.
    pub skipped: u64,
    /// What waits for another try.
    pub pending: u64,
    /// What was pending when it was cancelled; part of `sent` as well.
    pub abandoned: u64,
}

/// Events of one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReplayedName {
    pub events: u64,
    /// As JSON text; only of a dry run.
    pub bytes: u64,
}

/// An event that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayRefusal {
    pub position: String,
    pub code: String,
}

/// How a replay is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Replay)]
pub struct ShownReplay {
    pub id: u64,
    /// `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    pub sync: String,
    pub asked_at: String,
    pub asked_by: String,
    /// The name of that user or token.
    pub asked_by_name: Option<String>,
    pub ended_at: Option<String>,
    /// As it is known at the destination: in its ledger, where it has one.
    pub name: String,
    pub from: String,
    pub to: String,
    pub events: Vec<String>,
    /// The first 16 digits of the keyed hash of the user.
    pub user: Option<String>,
    /// `then` or `now`.
    pub rules: String,
    pub rate: Option<u32>,
    pub dry_run: bool,
    /// What becomes of events that the destination has, where it does not know them by their ids.
    pub warning: Option<String>,
    pub report: ReplayReport,
}

/// Replays, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownReplays {
    pub replays: Vec<ShownReplay>,
}
