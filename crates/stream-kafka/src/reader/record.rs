//! A record of Kafka as a message.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use krafka::ConsumerRecord;
use tidegate_stream::StreamMessage;

use super::claims::{HandedOut, PartitionName};

/// Keys and payloads up to this size are copied out of the answer of a broker that they came in, or of the batch that was unpacked: else any of
/// them would keep all of that in memory. Larger ones are a good part of it themselves.
const COPIED_BYTES_MAX: usize = 64 << 10;
/// A place for copies, of messages that go on together.
const ROOM_BYTES: usize = 128 << 10;

/// Where keys and payloads are copied to.
#[derive(Debug, Default)]
pub(super) struct MessageRoom(BytesMut);

impl MessageRoom {
    fn copied(&mut self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if bytes.len() > COPIED_BYTES_MAX {
            return bytes;
        }
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(ROOM_BYTES);
        }
        self.0.extend_from_slice(&bytes);
        self.0.split().freeze()
    }
}

/// The partition of records that were read one after the other, and what their messages have in common.
pub(super) struct PartitionOfRecords {
    pub(super) name: PartitionName,
    pub(super) epoch: u64,
    pub(super) shown: Arc<str>,
    pub(super) mark: Option<Arc<str>>,
}

/// A record that was read and not handed out yet.
#[derive(Debug)]
pub(super) struct ReadRecord {
    pub(super) message: StreamMessage,
    pub(super) claim: HandedOut,
}

impl ReadRecord {
    /// A record of the partition of `of`, with its key and its payload in `room`.
    pub(super) fn new(record: ConsumerRecord, of: &PartitionOfRecords, room: &mut MessageRoom) -> Self {
        let published_us = (record.timestamp >= 0).then(|| record.timestamp.saturating_mul(1_000));
        let claim = HandedOut {
            name: (Arc::clone(&record.topic), record.partition),
            epoch: of.epoch,
            offset: record.offset,
            leader_epoch: record.leader_epoch,
            published_us,
        };
        let headers = record.headers.into_iter().map(|(name, value)| {
            let value = value.map(|value| header_text(&value));
            (name.to_lowercase(), value.unwrap_or_default())
        });
        let message = StreamMessage {
            topic: record.topic,
            topic_mark: of.mark.clone(),
            partition: Arc::clone(&of.shown),
            at: record.offset.to_string(),
            key: record.key.map(|key| room.copied(key)),
            payload: record.value.map(|payload| room.copied(payload)),
            headers: headers.collect(),
            published_at_us: published_us,
        };
        Self { message, claim }
    }

    /// Bytes that it holds, about.
    pub(super) fn bytes(&self) -> usize {
        self.message.held_bytes()
    }
}

/// A header's value. What is no text is Base64: an id may be a number in bytes, and no two are taken for one.
fn header_text(value: &[u8]) -> String {
    std::str::from_utf8(value).map_or_else(|_| BASE64.encode(value), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_differ_have_texts_that_differ() {
        assert_eq!(header_text("café".as_bytes()), "café");
        let of_numbers: Vec<String> = (0..=255_u64).map(|number| header_text(&number.to_be_bytes())).collect();
        let different: std::collections::HashSet<&String> = of_numbers.iter().collect();
        assert_eq!(different.len(), of_numbers.len());
        assert_eq!(of_numbers[200], "AAAAAAAAAMg=");
    }

    #[test]
    fn a_small_message_keeps_nothing_of_the_answer_that_it_came_in() {
        let answer = Bytes::from(vec![b'x'; 1 << 20]);
        let mut room = MessageRoom::default();
        let small: Vec<Bytes> = (0..1_000).map(|n| room.copied(answer.slice(n * 300..n * 300 + n % 300))).collect();
        assert!(small.iter().enumerate().all(|(n, copy)| *copy == answer[..n % 300]));
        assert!(answer.is_unique(), "the copies are elsewhere");
        let large = room.copied(answer.slice(..COPIED_BYTES_MAX + 1));
        assert!(!answer.is_unique() && large.as_ptr() == answer.as_ptr(), "it stays where it is");
    }
}
