//! What both kinds of writers have: a client, the topics that are there, and how a message becomes a record.

use std::time::Duration;

use krafka::admin::AdminClient;
use krafka::producer::{Acks, ProducerBuilder};
use krafka::{CloseOptions, Compression, Kafka, KrafkaError, Record};
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError};

use crate::error::stream_error;
use crate::written_topics::{WrittenTopics, illegal};

/// How long a transaction may stay open before the brokers end it. No shorter than a message may take, or that would be in vain.
pub(crate) const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a message may take, with everything that is tried again: no shorter than one request may take, and what waits before it.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(45);
/// How long the coordinator of transactions, or what is known of a topic, may take.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(45);
const LINGER: Duration = Duration::from_millis(5);
/// Records of one partition that travel together: far below what a broker takes at once unless told otherwise (1 MiB).
pub(crate) const BATCH_BYTES: usize = 128 << 10;
/// What a client holds of messages that are under way.
const BUFFER_BYTES_MAX: usize = 64 << 20;
/// How long a producer may take to end.
pub(crate) const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);
/// The same after an error, which waits for it.
pub(crate) const GIVE_UP_TIME_MAX: Duration = Duration::from_secs(2);

/// Codes by which a broker refuses what is in a request, and not that it was asked.
const REFUSING: [&str; 3] = ["MessageTooLarge", "RecordListTooLarge", "InvalidRecord"];

/// What both kinds of writers have.
pub(crate) struct WriterParts {
    pub(crate) kafka: Kafka,
    pub(crate) admin: AdminClient,
    pub(crate) place: String,
    pub(crate) ledger_topic: String,
    /// Of topics that are made; none is made when `None`.
    pub(crate) partitions: Option<i32>,
    pub(crate) compression: Compression,
    pub(crate) topics: WrittenTopics,
}

impl WriterParts {
    /// Settings of a producer. With `batch_bytes: 1` each record travels alone.
    pub(crate) fn producer(&self, batch_bytes: usize) -> ProducerBuilder {
        self.kafka
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .compression(self.compression)
            .batch_size(batch_bytes)
            .linger(LINGER)
            .delivery_timeout(DELIVERY_TIME_MAX)
            .max_block(BLOCK_TIME_MAX)
            .buffer_memory(BUFFER_BYTES_MAX)
            .metrics_push(false)
    }

    /// Names the messages whose topic can be none, and makes sure that the topics of the others are there.
    pub(crate) async fn admit(&mut self, messages: &[OutgoingMessage]) -> Result<Vec<RefusedMessage>, StreamError> {
        let mut refused = Vec::new();
        let mut topics = std::collections::BTreeSet::new();
        for message in messages {
            match illegal(&message.topic, &self.ledger_topic) {
                Some(reason) => refused.push(RefusedMessage { index: message.index, reason }),
                None => {
                    topics.insert(message.topic.as_str());
                }
            }
        }
        self.topics.ensure(&self.admin, &self.place, topics, self.partitions).await?;
        Ok(refused)
    }

    /// The error as who waits is told it. What is known of topics is asked for again.
    pub(crate) fn failed(&mut self, error: &KrafkaError) -> StreamError {
        self.topics.forget();
        stream_error(&self.place, error)
    }
}

/// The record of a message.
pub(crate) fn record(message: &OutgoingMessage) -> Record {
    let mut record = Record::new(message.topic.as_str(), message.payload.clone()).key(message.key.clone());
    for (name, value) in &message.headers {
        record = record.header(name.as_str(), value.clone());
    }
    record
}

/// Why a record can never be queued, whatever the brokers say. An error of the protocol is no such: it tells of an answer that cannot be read
/// as well, and no record of ours breaks the protocol's own bounds.
pub(crate) fn refusal_of_client(error: &KrafkaError) -> Option<String> {
    match error {
        KrafkaError::Serialization { message } | KrafkaError::Config { message } => Some(message.clone()),
        _ => None,
    }
}

/// Why the brokers refuse a record, or one that travelled with it, for itself.
pub(crate) fn refusal_of_broker(error: &KrafkaError) -> Option<String> {
    match error {
        KrafkaError::Broker { code, message } if REFUSING.contains(&format!("{code:?}").as_str()) => {
            Some(format!("the brokers refuse it: {code:?} ({message})"))
        }
        // The code is what the client ends it with; a topic may be called like one.
        KrafkaError::TransactionAbortable { message } if REFUSING.iter().any(|code| message.ends_with(code)) => {
            Some(format!("the brokers refuse it: {message}"))
        }
        _ => None,
    }
}

/// Ends a producer within this time; what is not sent by then fails.
pub(crate) fn closing(time: Duration) -> CloseOptions {
    CloseOptions::new().timeout(time)
}

#[cfg(test)]
mod tests {
    use krafka::error::{ErrorCode, ProtocolErrorKind};

    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_refuses_no_record() {
        let unread = KrafkaError::protocol_kind(ProtocolErrorKind::Malformed, "no such answer");
        assert_eq!(refusal_of_client(&unread), None);
        assert!(refusal_of_client(&KrafkaError::config("record size exceeds max_request_size")).is_some());
    }

    #[test]
    fn what_a_broker_refuses_for_itself_is_told_from_what_may_be_better_later() {
        let of = |code| refusal_of_broker(&KrafkaError::broker(code, "produce to t-0 failed"));
        assert!(of(ErrorCode::MessageTooLarge).is_some_and(|reason| reason.contains("MessageTooLarge")));
        assert_eq!(of(ErrorCode::NotEnoughReplicas), None);
        let abortable = |text: &str| refusal_of_broker(&KrafkaError::transaction_abortable(text));
        assert!(abortable("produce to t-0 failed with InvalidRecord").is_some());
        assert_eq!(abortable("the transaction was aborted before this record was sent"), None);
        assert_eq!(abortable("produce to InvalidRecord-0 failed with NotEnoughReplicas"), None);
    }
}
