use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::version::{ShownPlaced, Version};

/// All destinations whose versions were uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Destinations {
    pub destinations: Vec<DestinationSummary>,
    /// Grows by one with each change.
    pub revision: u64,
}

/// A destination without its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationSummary {
    pub name: String,
    /// How many versions of it are kept.
    pub versions: u64,
    pub live: Option<String>,
    pub previous: Option<String>,
    /// The syncs that use it; `null` where the workspace has no file for it.
    pub syncs: Option<Vec<String>>,
}

/// A destination: which version carries and, when it is asked for by name, which there are and what they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Destination)]
pub struct ShownDestination {
    pub name: String,
    pub revision: u64,
    pub live: Option<ShownPlaced>,
    pub previous: Option<ShownPlaced>,
    /// The syncs that use it; `null` where the workspace has no file for it.
    pub syncs: Option<Vec<String>>,
    /// Newest first; left out of the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<Version>>,
    /// Left out of the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meters: Option<DestinationMeters>,
}

/// What became of events, by sync and by version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationMeters {
    pub syncs: BTreeMap<String, SyncMeter>,
    pub charges: Vec<DestinationCharge>,
}

/// What became of the events that a version carried since it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DestinationCharge {
    pub version: String,
    pub events: u64,
    /// Events that are not delivered and will not be.
    pub failed: u64,
    /// The last reason, in words.
    pub error: Option<String>,
}

/// What became of the events of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncMeter {
    pub delivered: u64,
    pub quarantined: u64,
    pub filtered: u64,
    /// Why it does not go on.
    pub failure: Option<String>,
    /// What its operator should know, the newest last.
    pub notices: Vec<String>,
}
