use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which lines to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The environment; `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Only batches that the event with this messageId was in (functions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only lines that hold this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only lines this loud or louder: `debug`, `info`, `warn`, `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The newest so many, 1 to 1,000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
}

/// Lines, newest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Logs {
    pub lines: Vec<ShownLogLine>,
}

/// A line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = LogLine)]
pub struct ShownLogLine {
    pub at: String,
    /// The version that logged it.
    pub version: String,
    pub level: String,
    pub text: String,
    /// The partition of the log that the batch was in (functions).
    #[serde(default, skip_serializing_if = "is_first")]
    pub partition: u16,
    /// The batch that was handled: first offset in the log, and the one behind the last (functions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets: Option<[u64; 2]>,
}

const fn is_first(partition: &u16) -> bool {
    *partition == 0
}
