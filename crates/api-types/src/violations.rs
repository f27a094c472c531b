//! How often contracts were broken over time, and by what. No value of an event is in it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which violations; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ViolationsQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// RFC 3339; events that were received in this hour or later. The hour counts whole. The 24 hours up to `until`, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; events that were received before. The hour that it is in counts whole. Now, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How much time each number is of; an hour, when left out. Days are those of UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub by: Option<ViolationStep>,
    /// Only events of this source; those of all that one may view, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only events that this domain declares: the name of its folder, `shop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Only events of this type: `track`, `page`, …
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only events of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only this field, as `by_field` has it. Then an event counts for each rule of it that it breaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Only what this release of an app or an SDK has sent, as `by_release` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// How much time a number is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViolationStep {
    #[default]
    Hour,
    Day,
}

/// How often contracts were broken, by time, event, field and release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractViolations {
    /// The beginning of the first hour that is looked at.
    pub from: String,
    /// How many hours are.
    pub hours: u64,
    /// Hours are kept for so many days.
    pub kept_days: u64,
    /// Events that broke a contract in this time, whatever became of them.
    pub events: u64,
    /// Oldest first; an hour or a day without any is left out.
    pub times: Vec<ViolationTime>,
    /// What most events have first, as in the lists below: at most 200 of each.
    pub by_event: Vec<EventViolations>,
    pub by_field: Vec<FieldViolations>,
    pub by_release: Vec<ReleaseViolations>,
    /// Some list has more.
    pub more: bool,
    /// Who asked may not see the events of some source, or not all of their fields: names of events and fields that no contract has, and releases, are left out.
    pub masked: bool,
}

/// How many events there were in an hour or a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViolationTime {
    /// Its beginning.
    pub at: String,
    pub events: u64,
}

/// How often an event broke its contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventViolations {
    /// `track`, `page`, …; empty for what found no room and is counted together.
    #[serde(rename = "type")]
    pub kind: String,
    /// None where it has none, or where names are masked.
    pub name: Option<String>,
    pub events: u64,
    /// The beginning of the hour of the first one.
    pub first_at: String,
    /// Likewise of the last one.
    pub last_at: String,
}

/// How often a field was not as its contract says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldViolations {
    pub source: String,
    /// The type of the event; empty for what found no room.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: Option<String>,
    /// A JSON pointer with a star for each item of a list and each name that a schema leaves open; empty for the event as a whole, and of `undeclaredField` where names are masked; `(others)`
    /// for fields that are not declared and found no room.
    pub field: String,
    /// The keyword of the schema that did not hold, or `undeclaredEvent`, `undeclaredVersion`, `undeclaredField`; `(others)` for what found no room.
    pub rule: String,
    pub events: u64,
    pub first_at: String,
    pub last_at: String,
}

/// How often events of a release of an app or an SDK broke a contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseViolations {
    /// `iOS 4.2`, or `analytics-next 1.70.0`; empty where the events do not say, or where releases are masked.
    pub release: String,
    pub events: u64,
    pub first_at: String,
    pub last_at: String,
}
