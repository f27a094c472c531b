use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::version::{Canary, ShownPlaced, Version};

/// All functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Functions {
    pub functions: Vec<FunctionSummary>,
    /// Grows by one with each change.
    pub revision: u64,
    /// The sources that a function may be attached to.
    pub sources: BTreeSet<String>,
    /// Of each function, the tables that the workspace grants it.
    pub granted: BTreeMap<String, BTreeSet<String>>,
}

/// A function without its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionSummary {
    pub name: String,
    /// How many versions of it are kept.
    pub versions: u64,
    pub live: Option<String>,
    pub previous: Option<String>,
    pub canary: Option<String>,
    /// The sources whose events it sees.
    pub attached: Vec<String>,
}

/// A function: which versions of it are in use and, when it is asked for by name, which there are and what they did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Function)]
pub struct ShownFunction {
    pub name: String,
    pub revision: u64,
    pub live: Option<ShownPlaced>,
    pub previous: Option<ShownPlaced>,
    pub canary: Option<Canary>,
    pub attached: Vec<String>,
    /// Tables that the live version looks up and nobody grants.
    pub lookups_missing: Vec<String>,
    /// Newest first; left out of the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Vec<Version>>,
    /// Left out of the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meters: Option<FunctionMeters>,
}

/// What versions used, and what canaries and shadows came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionMeters {
    pub charges: Vec<ShownCharge>,
    #[serde(default)]
    pub times: FunctionTimes,
    pub comparisons: Vec<CanaryComparison>,
}

/// How long a function took for a batch: processor time, of all its versions together but for shadows, since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionTimes {
    /// Batches that were measured.
    pub batches: u64,
    /// Half of the batches took no longer, in microseconds: the end of a bucket of `tidegate_function_seconds`. None where there was no batch,
    /// and where it is more than two hours.
    pub p50_us: Option<u64>,
    /// The same of 99 of 100 batches.
    pub p99_us: Option<u64>,
}

/// What a version used since it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Charge)]
pub struct ShownCharge {
    pub version: String,
    pub batches: u64,
    pub events: u64,
    pub calls: u64,
    /// Calls that ended without an answer.
    pub calls_failed: u64,
    pub errors: u64,
    /// Events that it refused on purpose.
    pub failed: u64,
    pub dropped: u64,
    pub cpu_us: u64,
    pub memory_peak_bytes: u64,
    /// The last error, in words.
    pub error: Option<String>,
    /// Why it is stopped.
    pub stopped: Option<String>,
}

/// How the events of two versions compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CanaryComparison {
    pub live: String,
    pub canary: String,
    pub same: u64,
    pub different: u64,
    /// A few events that came out differently.
    #[schema(value_type = Object)]
    pub samples: Value,
}

/// Begins or ends a canary. Either `off`, or a version with `share` or `shadow`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCanary {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<String>,
    /// Those that are live, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// The share of the batches that it gets, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 99)]
    pub share: Option<u8>,
    /// Run it beside the live version and compare, without using what it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
    /// End the canary or shadow that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<bool>,
    /// Also when it looks up a table that nobody grants it.
    #[serde(default)]
    pub force: bool,
}

/// Names a source of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfSource {
    pub source: String,
}
