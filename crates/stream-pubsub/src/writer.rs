//! Publishes messages, in batches as large as Pub/Sub takes them.
//!
//! Pub/Sub keeps no ledger: a batch whose answer was lost is published again. Each message has the attribute `messageId`, by which whoever
//! reads tells it from others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError, StreamReply, StreamWriter};
use tokio::time::sleep;

use crate::connection::PubsubConnection;
use crate::error::{WRITING, stream_error};
use crate::grpc::{GrpcClient, GrpcCode, GrpcError, GrpcMethod};
use crate::names::is_pubsub_name;
use crate::proto::{PublishAnswer, PublishRequest, PubsubMessage, TopicAnswer, TopicRequest};

const PUBLISH: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Publisher/Publish", about: "topic", time_max: Duration::from_secs(60) };
const GET: GrpcMethod =
    GrpcMethod { path: "/google.pubsub.v1.Publisher/GetTopic", about: "topic", time_max: Duration::from_secs(10) };

/// What Pub/Sub takes of one request.
const BATCH_MESSAGES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 10_000_000;
/// A batch is sent when it has so many bytes: what comes around the messages has to fit as well.
const BATCH_BYTES: usize = 9_000_000;
/// Around a message in its request.
const AROUND_BYTES: usize = 16;
/// What Pub/Sub takes of a message.
const ATTRIBUTES_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 1_024;
const KEY_BYTES_MAX: usize = 1_024;
/// The attribute by which whoever reads finds what was published twice.
const MESSAGE_ID: &str = "messageId";
/// Requests at once, without ordering.
const REQUESTS_MAX: usize = 4;
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Publishes the messages of one sync.
pub(crate) struct PubsubWriter {
    client: GrpcClient,
    connection: PubsubConnection,
    ordering: bool,
}

/// A message on its way to a topic.
struct PublishedMessage {
    index: usize,
    message: PubsubMessage,
}

/// What is published at once.
struct PublishBatch {
    topic: Arc<str>,
    messages: Vec<PublishedMessage>,
    bytes: usize,
}

/// Whether a topic is there.
pub(crate) async fn look(client: &GrpcClient, name: &str) -> Result<(), GrpcError> {
    let _: TopicAnswer = client.call(GET, name, &TopicRequest { topic: name.to_owned() }).await?;
    Ok(())
}

impl PubsubWriter {
    pub(crate) fn new(client: GrpcClient, connection: PubsubConnection, ordering: bool) -> Self {
        Self { client, connection, ordering }
    }

    async fn put(&self, messages: Vec<OutgoingMessage>) -> Result<Vec<RefusedMessage>, StreamError> {
        let (batches, mut refused) = self.batches(messages);
        // The messages of a key may lie in several batches.
        let at_once = if self.ordering { 1 } else { REQUESTS_MAX };
        let sent = stream::iter(batches).map(|batch| self.publish(batch)).buffered(at_once);
        let more: Vec<Vec<RefusedMessage>> = sent.try_collect().await?;
        refused.extend(more.into_iter().flatten());
        refused.sort_unstable_by_key(|refused| refused.index);
        Ok(refused)
    }

    /// Batches that Pub/Sub takes, and the messages that it never takes.
    fn batches(&self, messages: Vec<OutgoingMessage>) -> (Vec<PublishBatch>, Vec<RefusedMessage>) {
        let (mut full, mut refused): (Vec<PublishBatch>, Vec<RefusedMessage>) = (Vec::new(), Vec::new());
        let mut open: HashMap<String, PublishBatch> = HashMap::new();
        for outgoing in messages {
            let (index, topic) = (outgoing.index, self.connection.topic_name(&outgoing.topic));
            if !is_pubsub_name(&topic, "topics") {
                let reason = format!(
                    "{:?} is no topic of Pub/Sub: a name has 3 to 255 letters, digits and -_.~+%",
                    outgoing.topic
                );
                refused.push(RefusedMessage { index, reason });
                continue;
            }
            let message = match legal(outgoing, self.ordering) {
                Ok(message) => message,
                Err(reason) => {
                    refused.push(RefusedMessage { index, reason });
                    continue;
                }
            };
            let bytes = message.encoded_len() + AROUND_BYTES;
            let new = || PublishBatch { topic: topic.as_str().into(), messages: Vec::new(), bytes: 0 };
            let batch = open.entry(topic.clone()).or_insert_with(new);
            let is_full = batch.messages.len() >= BATCH_MESSAGES_MAX || batch.bytes + bytes > BATCH_BYTES;
            if is_full && !batch.messages.is_empty() {
                full.push(std::mem::replace(batch, new()));
            }
            batch.messages.push(PublishedMessage { index, message });
            batch.bytes += bytes;
        }
        full.extend(open.into_values());
        (full, refused)
    }

    /// Publishes a batch, in smaller ones where Pub/Sub does not take it: then it says of none which one it is.
    async fn publish(&self, batch: PublishBatch) -> Result<Vec<RefusedMessage>, StreamError> {
        let PublishBatch { topic, messages, .. } = batch;
        let mut refused = Vec::new();
        // The last one comes next.
        let mut open = vec![messages];
        while let Some(mut messages) = open.pop() {
            let Some(reason) = self.send(&topic, &messages).await? else { continue };
            if messages.len() > 1 {
                let rest = messages.split_off(messages.len() / 2);
                open.extend([rest, messages]);
            } else {
                refused.extend(
                    messages.into_iter().map(|one| RefusedMessage { index: one.index, reason: reason.clone() }),
                );
            }
        }
        Ok(refused)
    }

    /// Publishes these at once. Says why they are not taken as they are; then none of them was.
    async fn send(&self, topic: &str, messages: &[PublishedMessage]) -> Result<Option<String>, StreamError> {
        let messages = messages.iter().map(|one| one.message.clone()).collect();
        let request = PublishRequest { topic: topic.to_owned(), messages };
        let mut attempt = 0;
        loop {
            let answer: Result<PublishAnswer, GrpcError> = self.client.call(PUBLISH, topic, &request).await;
            let error = match answer {
                Ok(answer) if answer.message_ids.len() == request.messages.len() => return Ok(None),
                Ok(_) => GrpcError::Away("the answer does not name every message".to_owned()),
                Err(GrpcError::Status { code: GrpcCode::InvalidArgument, message, .. }) => {
                    return Ok(Some(format!("Pub/Sub does not take it: {message}")));
                }
                Err(error) => error,
            };
            let error = stream_error(&self.connection.place(), topic, &error, WRITING);
            attempt += 1;
            if matches!(error, StreamError::Stop { .. }) || attempt >= TRIES {
                return Err(error);
            }
            sleep(PAUSE * attempt).await;
        }
    }
}

/// A message as Pub/Sub takes it, or why it never does.
fn legal(outgoing: OutgoingMessage, ordering: bool) -> Result<PubsubMessage, String> {
    let OutgoingMessage { key, headers, message_id, payload, .. } = outgoing;
    let mut attributes: BTreeMap<String, String> = headers.into_iter().collect();
    attributes.entry(MESSAGE_ID.to_owned()).or_insert(message_id);
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(format!("it has {} attributes, and Pub/Sub takes {ATTRIBUTES_MAX}", attributes.len()));
    }
    for (name, value) in &attributes {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with("goog") {
            return Err(format!(
                "Pub/Sub takes no attribute of the name {name:?}: names have 1 to {NAME_BYTES_MAX} bytes and do not begin with goog"
            ));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(format!("its attribute {name} has {} bytes, and Pub/Sub takes {VALUE_BYTES_MAX}", value.len()));
        }
    }
    if ordering && key.len() > KEY_BYTES_MAX {
        return Err(format!("its key has {} bytes, and Pub/Sub takes {KEY_BYTES_MAX}", key.len()));
    }
    let ordering_key = if ordering { key } else { String::new() };
    let message =
        PubsubMessage { data: payload, attributes, message_id: String::new(), publish_time: None, ordering_key };
    let bytes = message.encoded_len();
    if bytes + AROUND_BYTES > BATCH_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, and Pub/Sub takes {BATCH_BYTES_MAX}"));
    }
    Ok(message)
}

impl StreamWriter for PubsubWriter {
    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>> {
        Box::pin(async { Ok(None) })
    }

    fn write(&mut self, messages: Vec<OutgoingMessage>, _next: u64) -> StreamReply<'_, Vec<RefusedMessage>> {
        Box::pin(self.put(messages))
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn outgoing(payload: Bytes) -> OutgoingMessage {
        OutgoingMessage {
            index: 0,
            topic: "t".to_owned(),
            key: "u1".to_owned(),
            headers: Vec::new(),
            message_id: "m1".to_owned(),
            payload,
        }
    }

    #[test]
    fn a_message_has_the_id_of_its_event_and_its_key_only_where_that_keeps_order() {
        // The second is one of Avro, in which nobody finds it without the schema.
        let json = Bytes::from_static(br#"{"type":"track","messageId":"m1","userId":"u1"}"#);
        for event in [json.clone(), Bytes::from_static(b"\x04m1\x04u1")] {
            let message = legal(outgoing(event), true).unwrap();
            assert_eq!(
                (message.attributes.get(MESSAGE_ID).map(String::as_str), &*message.ordering_key),
                (Some("m1"), "u1")
            );
        }
        let mut named = outgoing(json);
        named.headers = vec![(MESSAGE_ID.to_owned(), "own".to_owned())];
        let message = legal(named, false).unwrap();
        assert_eq!((message.attributes.get(MESSAGE_ID).map(String::as_str), &*message.ordering_key), (Some("own"), ""));
    }

    #[test]
    fn what_pubsub_never_takes_is_told_with_its_reason() {
        let large = outgoing(Bytes::from(vec![b' '; BATCH_BYTES_MAX]));
        assert!(legal(large, false).unwrap_err().contains("10000000"));
        let mut header = outgoing(Bytes::from_static(b"{}"));
        header.headers = vec![("a".to_owned(), "v".repeat(VALUE_BYTES_MAX + 1))];
        assert!(legal(header.clone(), false).unwrap_err().contains("attribute a"));
        header.headers = vec![("google".to_owned(), String::new())];
        assert!(legal(header, false).unwrap_err().contains("goog"));
        let mut key = outgoing(Bytes::from_static(br#"{"messageId":"m"}"#));
        key.key = "k".repeat(KEY_BYTES_MAX + 1);
        assert!(legal(key.clone(), true).is_err() && legal(key, false).is_ok());
    }
}
