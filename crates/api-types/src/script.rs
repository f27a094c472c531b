//! Functions that are written as a text, and trying functions out before they are used.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::trace::TracedChange;

/// What a script is written in. Of TypeScript the types are taken away before it runs, and are not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScriptLanguage {
    #[default]
    JavaScript,
    TypeScript,
}

impl ScriptLanguage {
    /// As it goes over the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
        }
    }
}

/// Makes a version of a script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushScript {
    /// A module with a function `transform`, at most 65,536 UTF-16 units.
    pub script: String,
    /// What it is written in; JavaScript, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<ScriptLanguage>,
    /// One sentence for people; a usual one, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its settings; any object will do, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings_schema: Option<Value>,
}

/// Which version is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ScriptQuery {
    /// The environment; `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The version; the live one, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<String>,
}

/// The script of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownScript {
    pub sha256: String,
    /// As it was written; none where the version was built elsewhere.
    pub script: Option<String>,
    /// What it is written in, where it is there.
    pub language: Option<ScriptLanguage>,
}

/// Tries a function.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryFunction {
    /// A script, as it would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// What the script is written in; JavaScript, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<ScriptLanguage>,
    /// A version; the live one, when this and `script` are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<String>,
    /// Those that are live, when left out. Secrets stand for themselves by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// The source whose newest events are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// At most so many of them, 0 to 200; 20 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 200)]
    pub count: Option<u64>,
    /// Events as SDKs send them, at most 200, in the place of those of a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<std::collections::BTreeMap<String, Value>>>)]
    pub events: Option<Vec<Value>>,
}

impl fmt::Debug for TryFunction {
    /// Settings may hold a secret, and events are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryFunction").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What a function made of events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionTried {
    /// Why it cannot be run at all: of a script with its line and column.
    pub error: Option<String>,
    /// Oldest first.
    pub events: Vec<EventTransformed>,
    /// What it logged; of what it threw the stack.
    pub lines: Vec<TriedLogLine>,
    /// CPU time, microseconds.
    pub cpu_us: u64,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventTransformed {
    #[schema(value_type = Object)]
    pub before: Value,
    /// `kept`, `changed`, `emitted`, `dropped`, `failed` or `error`.
    pub outcome: String,
    /// Of one that was failed, or that the function broke on.
    pub code: Option<String>,
    /// Why it was dropped or failed, or how the function broke.
    pub reason: Option<String>,
    /// Of one that was changed, what is different.
    pub changes: Vec<TracedChange>,
    /// What goes on; none of one that was kept, which is as it was before.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, Value>>)]
    pub after: Vec<Value>,
}

/// A line of the log of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedLogLine {
    pub level: String,
    pub text: String,
}
