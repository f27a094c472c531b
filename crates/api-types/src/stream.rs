use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kinds of sources that read streams of other systems. They take no write keys.
pub const STREAM_KINDS: [&str; 3] = ["kafka", "pubsub", "kinesis"];

/// How a stream source is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SourceStream)]
pub struct ShownStream {
    pub source: String,
    /// `kafka`, `pubsub` or `kinesis`.
    pub kind: String,
    /// Where its messages are.
    pub place: String,
    /// `connecting`, `reading`, `waiting for the log`, `waiting for schemas`, `refused by the schema registry`, `paused` or `stopped`.
    pub state: String,
    /// Messages that were acknowledged upstream since the server has started.
    pub messages: u64,
    /// Records that were made of them, what is quarantined among them.
    pub events: u64,
    /// Of their payloads, keys and headers.
    pub bytes: u64,
    /// Records that are no events.
    pub quarantined: u64,
    /// Messages without a payload that were passed over, as the source says.
    pub skipped: u64,
    /// Messages that were read and are not acknowledged yet.
    pub in_flight: u64,
    /// Of the last ten seconds.
    pub messages_per_second: f64,
    /// Messages that are there and not acknowledged, in all partitions together; none where the carrier does not say.
    pub lag: Option<u64>,
    /// How long ago the oldest of them was published; none where the carrier does not say.
    pub behind_seconds: Option<f64>,
    /// What went wrong last. It is gone when the stream reads again.
    pub error: Option<String>,
    /// When that was.
    pub error_at: Option<String>,
    /// What is wrong with a part of it while the rest is read, one sentence each: a topic that is not there, a partition that stands still,
    /// messages that were deleted before they were read.
    #[serde(default)]
    pub notices: Vec<String>,
    /// Those that are read here.
    pub partitions: Vec<ShownUpstreamPartition>,
}

/// How far an upstream partition is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = UpstreamPartition)]
pub struct ShownUpstreamPartition {
    pub topic: String,
    /// Empty where the carrier has none.
    pub partition: String,
    /// The position that was acknowledged last, as the carrier writes it; empty before the first.
    pub acknowledged: String,
    pub lag: Option<u64>,
    pub behind_seconds: Option<f64>,
    /// The name of the server that reads it, where several share the source; none where nobody does for now, and where they do not share.
    #[serde(default)]
    pub holder: Option<String>,
}

/// From where a stream goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekStream {
    pub to: SeekTo,
}

/// A place in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeekTo {
    Earliest,
    /// Behind everything that is there now.
    Latest,
    /// The first messages that were published then or later: a time with its offset from UTC.
    Time(String),
    /// The message at `topic/partition/at` comes next in its partition; where the carrier has no partitions, at `topic/at`.
    Position(String),
}

/// A stream goes on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamSought {
    pub source: String,
    pub to: SeekTo,
    /// What becomes of messages that come once more.
    pub note: String,
}
