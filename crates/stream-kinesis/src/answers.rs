//! What Kinesis answers, as far as it is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShardsAnswer {
    #[serde(default)]
    pub(crate) shards: Vec<ShardAnswer>,
    pub(crate) next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShardAnswer {
    pub(crate) shard_id: String,
    pub(crate) parent_shard_id: Option<String>,
    pub(crate) adjacent_parent_shard_id: Option<String>,
    pub(crate) sequence_number_range: SequenceRange,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SequenceRange {
    /// Of a closed shard alone.
    pub(crate) ending_sequence_number: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IteratorAnswer {
    pub(crate) shard_iterator: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RecordsAnswer {
    pub(crate) records: Vec<KinesisRecord>,
    /// None at the end of a closed shard.
    pub(crate) next_shard_iterator: Option<String>,
    pub(crate) millis_behind_latest: Option<u64>,
    #[serde(default)]
    pub(crate) child_shards: Vec<ChildAnswer>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KinesisRecord {
    pub(crate) sequence_number: String,
    pub(crate) partition_key: String,
    #[serde(deserialize_with = "of_base64")]
    pub(crate) data: Bytes,
    /// Seconds since the Unix epoch, with a fraction.
    pub(crate) approximate_arrival_timestamp: Option<f64>,
}

impl KinesisRecord {
    pub(crate) fn published_at_us(&self) -> Option<i64> {
        let seconds = self.approximate_arrival_timestamp?;
        // Beyond it lies no time that anybody writes.
        (0.0..2.5e11).contains(&seconds).then_some((seconds * 1e6).round() as i64)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChildAnswer {
    pub(crate) shard_id: String,
    #[serde(default)]
    pub(crate) parent_shards: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutAnswer {
    pub(crate) records: Vec<PutOutcome>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutOutcome {
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SummaryAnswer {
    pub(crate) stream_description_summary: StreamSummary,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StreamSummary {
    pub(crate) stream_status: String,
    pub(crate) open_shard_count: u64,
}

fn of_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}
