//! What arrives, held against the contracts: read from the newest records of the log. Nothing is changed by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Which events are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrafficQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Only events of this source; those of all that one may view, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// At most so many of the newest records of the log, 1 to 50,000; 10,000 when left out. They are of all sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 50000)]
    pub records: Option<u64>,
    /// Propose a schema for each event that may be seen.
    #[serde(default)]
    pub infer: bool,
}

/// What the events are held against.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareTraffic {
    /// Contracts as they would be: each part takes the place of the object of its name, or is new. What they would do otherwise is in `differences`.
    #[serde(default)]
    pub proposed: Vec<ProposedPart>,
}

/// A domain, an event or a component as it would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposedPart {
    /// `domains/shop/order-completed.yaml`.
    pub name: String,
    /// `null` takes it away.
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    pub spec: Value,
}

/// What arrived, by source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContractTraffic {
    /// By name: those that one may view.
    pub sources: Vec<SourceTraffic>,
}

/// What arrived at a source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceTraffic {
    pub source: String,
    /// Some domain that one may view applies to it.
    pub has_contract: bool,
    /// Why its contract judges nothing here, a sentence.
    pub problem: Option<String>,
    /// Events of it that were looked at.
    pub read: u64,
    /// Records of it that are no events.
    pub unreadable: u64,
    /// The oldest event that was looked at.
    pub oldest_at: Option<String>,
    /// Who asked may not see its events, or not all of their fields: names that no contract has, versions and samples are left out.
    pub masked: bool,
    /// What most came of first.
    pub events: Vec<EventTraffic>,
    /// All that was counted since counting began, by name; what no track is has the name of its kind, `(page)`.
    pub history: Vec<EventHistory>,
    /// Events and findings for which there was no room.
    pub uncounted: u64,
    /// What the proposed contracts do otherwise: how many events by `newly-blocked`, `newly-let-through`, `newly-found` and `no-longer-found`.
    /// None where events are masked.
    pub outcomes: BTreeMap<String, u64>,
    /// The same in detail. None where events are masked.
    pub differences: Vec<TrafficDifference>,
}

/// An event by its type and name, among those that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventTraffic {
    /// `track`, `page`, …; empty for all of which the names are masked.
    #[serde(rename = "type")]
    pub kind: String,
    pub name: Option<String>,
    pub seen: u64,
    /// A contract declares it.
    pub declared: bool,
    /// Of these, how many break the contract, whatever becomes of them.
    pub violating: u64,
    /// Of these, how many go no further.
    pub blocked: u64,
    /// Of how many fields are left out.
    pub omitted: u64,
    /// Among those that were looked at.
    pub first_at: String,
    pub last_at: String,
    /// Who sent them, by how many.
    pub senders: Vec<TrafficSender>,
    /// What most events have first.
    pub findings: Vec<TrafficFinding>,
    /// A schema that takes all of them, where one was asked for.
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    pub schema: Option<Value>,
}

/// A release of an app or an SDK.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficSender {
    /// `iOS 4.2`, or `analytics-next 1.70.0`; empty where the events do not say.
    pub sender: String,
    pub events: u64,
}

/// One way in which events are not what their contract says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficFinding {
    /// The keyword of the schema that does not hold, or `undeclaredEvent`, `undeclaredVersion`, `undeclaredField`.
    pub keyword: String,
    /// A JSON pointer with a star for each item of a list and each name that a schema leaves open; empty for the event as a whole.
    pub place: String,
    /// A sentence without values of the event.
    pub says: String,
    pub events: u64,
    /// Who sent them, by how many.
    pub senders: Vec<TrafficSender>,
    /// `messageId`s of some, the newest last.
    pub samples: Vec<String>,
}

/// How much of an event was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventHistory {
    pub name: String,
    pub events: i64,
    /// The beginning of the hour of the first; of what is older than 90 days that of the day.
    pub first_at: String,
    /// Likewise of the last.
    pub last_at: String,
}

/// One thing that the proposed contracts do otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficDifference {
    /// `newly-blocked`, `newly-let-through`, `newly-found` or `no-longer-found`.
    pub outcome: String,
    /// `track "Order Completed"`.
    pub event: String,
    /// Where and what, without values of events; empty where it is the policy alone.
    pub finding: String,
    pub events: u64,
    /// `messageId`s of the first ones.
    pub samples: Vec<String>,
}
