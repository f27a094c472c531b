//! A message as it came, and one that goes out.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_event::record::message_position;

/// So many headers are usual: what they take beside their texts is not counted.
const HEADERS_USUAL: usize = 64;

/// A message as it came from upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMessage {
    /// What it was published to: a topic, a subscription, a stream.
    pub topic: Arc<str>,
    /// By what its topic is told from the one that was read first under this name; none where it is that one.
    pub topic_mark: Option<Arc<str>>,
    /// Its upstream partition, unique in its topic: a number, a shard; empty where there are none.
    pub partition: Arc<str>,
    /// Where it stands in its partition: an offset, a sequence number, the id of a message. Never empty, and the same when it is delivered
    /// again.
    pub at: String,
    /// By what upstream keeps messages in order: a key, an ordering key, a partition key.
    pub key: Option<Bytes>,
    /// `None` is a tombstone: a message that says that its key is gone.
    pub payload: Option<Bytes>,
    /// Names in lower case. Values that are not UTF-8 are in Base64.
    pub headers: Vec<(String, String)>,
    /// When it was published, in microseconds since the Unix epoch.
    pub published_at_us: Option<i64>,
}

impl StreamMessage {
    /// By what it is told from all others of its source: `topic/partition/at`, or `topic@mark/partition/at`.
    #[must_use]
    pub fn position(&self) -> String {
        message_position(&self.topic, self.topic_mark.as_deref().unwrap_or_default(), &self.partition, &self.at)
    }

    /// Bytes of its key, its payload and its headers. A small payload may come with a large key, and with headers without end, of which each
    /// takes memory, also an empty one.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let Self { key, payload, headers, .. } = self;
        let texts: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let places = headers.len().saturating_sub(HEADERS_USUAL) * size_of::<(String, String)>();
        key.as_ref().map_or(0, Bytes::len) + payload.as_ref().map_or(0, Bytes::len) + texts + places
    }
}

/// A message that goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Which event of the batch it is made of.
    pub index: usize,
    pub topic: String,
    /// Messages of one key keep their order.
    pub key: String,
    pub headers: Vec<(String, String)>,
    /// The `messageId` of its event, by which readers tell what was written twice: a payload is not always JSON that has it.
    pub message_id: String,
    pub payload: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_count_also_where_they_are_empty() {
        let with = |headers: usize| StreamMessage {
            topic: "orders".into(),
            topic_mark: None,
            partition: "0".into(),
            at: "0".to_owned(),
            key: Some(Bytes::from_static(b"k")),
            payload: Some(Bytes::from_static(b"{}")),
            headers: vec![(String::new(), String::new()); headers],
            published_at_us: None,
        };
        assert_eq!((with(0).held_bytes(), with(HEADERS_USUAL).held_bytes()), (3, 3));
        assert!(with(100_000).held_bytes() > 4 << 20);
    }
}
