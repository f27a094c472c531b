//! What has become of single events, and listening to them while they pass.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::fate::EventFate;
use crate::tried::{TriedMessage, TriedRow};

/// Which records of the log; each condition that is there must hold. One of `message_id`, `user` and `event` is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TraceQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// All records with this id, the first 100, in the order of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// A `userId` or an `anonymousId`; the newest records, among events that whoever asks may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of a track, a page or a screen; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// RFC 3339; records that were received then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; records that were received before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// At most so many records, 1 to 100; 10 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u64>,
    /// Look into the archive of the log as well, by `message_id` alone. It fetches the index of each segment, and those that have a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<bool>,
}

/// Records, and what became of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventTraces {
    /// By their ids in the order of the log; else the newest first.
    pub records: Vec<TracedRecord>,
    /// There may be more of them.
    pub more: bool,
    /// What was not looked at, and why; a sentence each.
    pub not_looked_at: Vec<String>,
    /// The search was broken off here: send it as `until` to look at what is older.
    pub continue_until: Option<String>,
    /// Since when the log has records.
    pub log_since: Option<String>,
    /// Who asked may not see the events of some: every value stands for itself by its type.
    pub masked: bool,
}

/// One record of the log, and what became of its event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedRecord {
    /// `7`, or `2/7` in the third partition.
    pub position: String,
    pub source: String,
    pub received_at: String,
    /// None of what is no event.
    pub message_id: Option<String>,
    pub ip: Option<String>,
    /// `context.library` of the event: the SDK that sent it.
    pub library: Option<String>,
    /// Bytes of the event as it came.
    pub bytes: u64,
    /// The event as it came, but for its write key: an object, or the text of what is none.
    #[schema(value_type = Option<Value>)]
    pub original: Option<Value>,
    /// The event as it was decoded: with what the server adds.
    #[schema(value_type = Option<Value>)]
    pub decoded: Option<Value>,
    /// It is an event of the quarantine that was retried.
    pub retry: Option<TracedRetry>,
    /// What became of it before any sync had it; none where it goes on to the syncs.
    pub fate: Option<EventFate>,
    /// Why, in a sentence.
    pub why: Option<String>,
    /// Of a duplicate: the record that it repeats, as far as the log still has it.
    pub duplicate_of: Option<TracedDuplicate>,
    pub contract: Option<TracedVerdict>,
    /// The functions of its source, in order.
    pub functions: Vec<TracedFunction>,
    /// As it goes on to the syncs.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, Value>>)]
    pub passed_on: Vec<Value>,
    /// Its entries of the quarantine.
    pub quarantine: Vec<TracedEntry>,
    pub syncs: Vec<TracedSync>,
    /// What holds of all that: what is known no more, and what is by the rules of now.
    pub notes: Vec<String>,
    /// Who asked may not see its event.
    pub masked: bool,
}

/// Which entry of the quarantine a record is a retry of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TracedRetry {
    /// Where it was quarantined.
    pub position: String,
    pub attempt: u32,
    /// The one sync that it is for; none where it is for all, or for one that whoever asks may not view.
    pub for_sync: Option<String>,
}

/// The record that a duplicate is one of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TracedDuplicate {
    pub position: String,
    pub received_at: String,
    /// Whether both came with the same bytes.
    pub is_same: bool,
}

/// What a contract said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedVerdict {
    /// Of the configuration that judged it; none where that is not known.
    pub revision: Option<u64>,
    pub allowed: bool,
    /// The kind of violation, where it was not allowed.
    pub code: Option<String>,
    /// A sentence each; none where events are masked.
    pub violations: Vec<String>,
    /// What the contract changed.
    pub changes: Vec<TracedChange>,
}

/// One field that is different afterwards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedChange {
    /// A JSON pointer.
    pub path: String,
    /// None where the field was not there.
    #[schema(value_type = Option<Value>)]
    pub before: Option<Value>,
    /// None where the field is gone.
    #[schema(value_type = Option<Value>)]
    pub after: Option<Value>,
}

/// What a function made of an event, when it was run again without any effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedFunction {
    pub name: String,
    /// The sha-256 of its component.
    pub version: String,
    /// `passed`, `dropped` or `quarantined`.
    pub outcome: String,
    /// Of one that did not pass.
    pub why: Option<String>,
    /// Of each event that it made of one, what is different.
    pub made: Vec<TracedChanges>,
}

/// What is different in an event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedChanges {
    pub changes: Vec<TracedChange>,
}

/// An entry of the quarantine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedEntry {
    pub id: u64,
    pub stage: String,
    /// The source, or the sync for what one sync has stopped.
    pub scope: String,
    /// Whether `scope` is a sync; it is not sent.
    #[serde(skip)]
    pub is_of_sync: bool,
    pub code: String,
    pub quarantined_at: String,
    pub attempts: u32,
    /// Why; none where events are masked.
    pub message: Option<String>,
    /// Of a destination its request and the answer; none where events are masked.
    #[schema(value_type = Option<Value>)]
    pub detail: Option<Value>,
}

/// What has become of an event for one sync.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TracedSync {
    pub sync: String,
    pub destination: String,
    /// The kind of the destination: `sqlite`, `plugin`, `kafka`, …
    pub kind: String,
    pub fate: EventFate,
    /// Why, in a sentence; none where events are masked and it may quote them.
    pub why: Option<String>,
    /// Where the cursor of the sync is in the partition; none before it has begun.
    pub cursor: Option<u64>,
    /// The functions of the sync, in order.
    pub functions: Vec<TracedFunction>,
    /// What the mapping changes.
    pub mapped: Vec<TracedChange>,
    /// As the destination gets it.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, Value>>)]
    pub delivered: Vec<Value>,
    /// Of a warehouse: the rows that it becomes by the tables of now.
    pub rows: Vec<TriedRow>,
    /// Of a warehouse that was asked: the rows with the id that are there.
    pub found: Vec<TracedRow>,
    /// Of a warehouse: what to ask it; nothing where events are masked.
    pub sql: Vec<String>,
    /// Of a plugin: the requests that it plans for the event alone, without secrets.
    pub requests: Vec<TracedRequest>,
    /// Of a stream: the messages that it becomes.
    pub messages: Vec<TriedMessage>,
    /// What waits for another try.
    pub pending: Vec<TracedPending>,
    /// None where events are masked, for they may quote them.
    pub notes: Vec<String>,
    /// Who asked may not see the events of this sync.
    pub masked: bool,
}

/// A row that is in a warehouse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TracedRow {
    pub table: String,
    pub columns: Vec<TracedCell>,
}

/// A value of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TracedCell {
    pub name: String,
    /// As the warehouse spells it.
    pub value: String,
}

/// A request that a plugin plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TracedRequest {
    pub method: String,
    /// With placeholders where secrets are put in.
    pub url: String,
    pub headers: Vec<[String; 2]>,
    /// As text.
    pub body: String,
}

/// An event that waits for another try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TracedPending {
    pub attempts: u32,
    pub first_tried_at: String,
    pub next_at: String,
    /// What the last try said; none where events are masked.
    pub error: Option<String>,
}

/// Which steps somebody listens to; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TapQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// As the event reaches the destination of this sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<String>,
    /// The name of a track, a page or a screen, or the kind of any other event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// `track`, `identify`, `page`, `screen`, `group` or `alias`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A `userId` or an `anonymousId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `/properties/plan=pro`: a JSON pointer and the value there, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Steps a second at most, and as many that are quarantined or dropped, 1 to 1,000; 200 when left out. Of more a sample is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub rate: Option<u64>,
    /// Every step: what each function and each sync makes of the events.
    #[serde(default)]
    pub steps: bool,
}

/// What one part of the way made of one event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShownTapStep {
    pub position: String,
    /// 0 for the event itself; more for what functions made of it beside it.
    pub part: u32,
    pub source: String,
    pub received_at: String,
    /// `accepted`, `function` or `sync`.
    pub stage: String,
    /// The function or the sync.
    pub name: Option<String>,
    /// Of a function of a sync.
    pub sync: Option<String>,
    /// `passed`, `duplicate`, `filtered`, `dropped` or `quarantined`.
    pub outcome: String,
    /// Of what does not pass.
    pub why: Option<String>,
    #[schema(value_type = Option<Value>)]
    pub before: Option<Value>,
    /// What goes on, where it is another one.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, Value>>)]
    pub after: Vec<Value>,
    pub masked: bool,
}

/// Steps that a listener has not had, because it reads too slowly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LostTapSteps {
    pub lost: u64,
}

/// How many steps there were of late, where there were more than are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SampledTapSteps {
    /// Steps that go on: how many came.
    pub seen: u64,
    /// How many of them were shown.
    pub shown: u64,
    /// Steps that were quarantined or dropped: how many came.
    pub errors_seen: u64,
    /// How many of them were shown.
    pub errors_shown: u64,
    /// In so many milliseconds.
    pub took_ms: u64,
}

impl SampledTapSteps {
    /// How many came in a second.
    #[must_use]
    pub fn a_second(&self) -> u64 {
        (self.seen + self.errors_seen).saturating_mul(1_000) / self.took_ms.max(1)
    }

    /// One in so many of those that go on is shown.
    #[must_use]
    pub fn one_in(&self) -> u64 {
        self.seen.div_ceil(self.shown.max(1)).max(1)
    }
}

impl TapQuery {
    /// The event of the stream that has a step.
    pub const STEP: &str = "step";
    /// The event that says how many steps were lost.
    pub const LOST: &str = "lost";
    /// The event that says how many steps there were, and how many were shown.
    pub const SAMPLED: &str = "sampled";
    /// Steps a second when nothing is said.
    pub const RATE: u64 = 200;
    pub const RATE_MAX: u64 = 1_000;
}
