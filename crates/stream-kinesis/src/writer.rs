//! Writes messages: at least once, those of a key in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tidegate_aws::sha256_hex;
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError, StreamReply, StreamWriter};
use tokio::time::sleep;

use crate::client::KinesisClient;
use crate::connection::is_stream_name;
use crate::error::KinesisCallError;
use crate::put_queue::{PutQueue, QueuedRecord};

/// A record with its key. Accounts may have more; what fits here fits everywhere.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// What a partition key may have. A longer one is its hash.
const KEY_CHARS_MAX: usize = 256;
/// Calls in which nothing was taken, one after the other, until the writer gives up.
const FAILURES_MAX: u32 = 8;
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// Writes messages of one sync.
pub(crate) struct KinesisWriter {
    client: Arc<KinesisClient>,
}

impl KinesisWriter {
    pub(crate) const fn new(client: Arc<KinesisClient>) -> Self {
        Self { client }
    }

    async fn write_all(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<RefusedMessage>, StreamError> {
        let (queues, refused) = queues(messages);
        for (stream, queue) in queues {
            self.write_stream(&stream, queue).await?;
        }
        Ok(refused)
    }

    /// Writes until everything was taken, more slowly where Kinesis asks for that.
    async fn write_stream(&self, stream: &str, mut queue: PutQueue) -> Result<(), StreamError> {
        let mut failures = 0;
        while !queue.is_empty() {
            let call = queue.next_call();
            let (taken, problem) = match self.put(stream, &queue, &call).await {
                Ok(done) => done,
                Err(error) if error.is_passing() => (vec![false; call.len()], error.to_string()),
                Err(error) => return Err(error.told(&self.client.place)),
            };
            let done = queue.answer(&call, &taken);
            if done == call.len() {
                failures = 0;
                continue;
            }
            failures = if done > 0 { 1 } else { failures + 1 };
            if failures > FAILURES_MAX {
                let place = &self.client.place;
                return Err(StreamError::Retry(format!(
                    "{place}: the stream {stream} takes nothing more for now: {problem}"
                )));
            }
            sleep(BACK_OFF_MIN.saturating_mul(1 << (failures - 1)).min(BACK_OFF_MAX)).await;
        }
        Ok(())
    }

    /// One call: whether each record was taken, and why one was not.
    async fn put(
        &self,
        stream: &str,
        queue: &PutQueue,
        call: &[usize],
    ) -> Result<(Vec<bool>, String), KinesisCallError> {
        let record =
            |record: &QueuedRecord| json!({ "Data": STANDARD.encode(&record.data), "PartitionKey": record.key });
        let records = call.iter().filter_map(|number| queue.get(*number)).map(record).collect();
        let answer = self.client.put_records(stream, records).await?;
        let taken = answer.records.iter().map(|outcome| outcome.error_code.is_none()).collect();
        let problem = answer.records.into_iter().find_map(|outcome| {
            let code = outcome.error_code?;
            Some(format!("{code}: {}", outcome.error_message.unwrap_or_default()))
        });
        let problem = problem.unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
        Ok((taken, problem))
    }
}

/// The records of each stream, in their order, and what none can take.
fn queues(messages: Vec<OutgoingMessage>) -> (BTreeMap<String, PutQueue>, Vec<RefusedMessage>) {
    let mut queues: BTreeMap<String, PutQueue> = BTreeMap::new();
    let mut refused = Vec::new();
    for message in messages {
        let OutgoingMessage { index, topic, key, payload, .. } = message;
        if !is_stream_name(&topic) {
            let reason = "its topic is no name of a stream: up to 128 of a-z, A-Z, 0-9, `.`, `_` and `-`".to_owned();
            refused.push(RefusedMessage { index, reason });
            continue;
        }
        let record = QueuedRecord { key: partition_key(key), data: payload };
        let bytes = record.bytes();
        if bytes > RECORD_BYTES_MAX {
            let reason = format!("it has {bytes} bytes with its key, and a record has at most {RECORD_BYTES_MAX}");
            refused.push(RefusedMessage { index, reason });
            continue;
        }
        queues.entry(topic).or_default().push(record);
    }
    (queues, refused)
}

/// A key that Kinesis takes: the same for the same.
fn partition_key(key: String) -> String {
    if key.is_empty() {
        "-".to_owned()
    } else if key.chars().count() > KEY_CHARS_MAX {
        sha256_hex(key.as_bytes())
    } else {
        key
    }
}

impl StreamWriter for KinesisWriter {
    /// Kinesis has no transactions to keep a ledger in.
    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>> {
        Box::pin(async { Ok(None) })
    }

    fn write(&mut self, messages: Vec<OutgoingMessage>, _: u64) -> StreamReply<'_, Vec<RefusedMessage>> {
        Box::pin(self.write_all(messages))
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: usize, topic: &str, key: &str, bytes: usize) -> OutgoingMessage {
        OutgoingMessage {
            index,
            topic: topic.to_owned(),
            key: key.to_owned(),
            headers: Vec::new(),
            message_id: String::new(),
            payload: vec![b'x'; bytes].into(),
        }
    }

    #[test]
    fn what_no_record_can_be_is_refused_for_itself() {
        let messages = vec![
            message(0, "events", "u", 10),
            message(1, "no stream!", "u", 10),
            message(2, "events", "u", RECORD_BYTES_MAX),
            message(3, "other", "", RECORD_BYTES_MAX - 1),
            message(4, "", "u", 10),
        ];
        let (queues, refused) = queues(messages);
        assert_eq!(refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(queues.keys().map(String::as_str).collect::<Vec<_>>(), ["events", "other"]);
    }

    #[test]
    fn a_key_that_is_too_long_stays_one_key() {
        let long = "ü".repeat(257);
        let hash = partition_key(long.clone());
        assert_eq!(hash.len(), 64);
        assert_eq!(partition_key(long), hash);
        assert_eq!(partition_key("ü".repeat(256)).chars().count(), 256);
        assert_eq!(partition_key(String::new()), "-");
    }
}
