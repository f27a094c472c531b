//! The ledger of what is written: one record for each sync and log partition, in a compacted topic.
//!
//! It is written in the transaction that writes the messages. It is read after the writer before has been fenced, with the records of
//! transactions that were committed alone, up to what was the topic's end by then: so no transaction of an earlier writer can be committed
//! behind what was read. All ledgers are in one partition; one whose transaction is open holds up who reads, until it ends.

use std::time::Duration;

use krafka::admin::{
    AdminClient, CreateTopicsOptions, DescribeTopicsOptions, ListOffsetsOptions, NewTopic, OffsetSpec, TopicPartition,
};
use krafka::consumer::{AutoOffsetReset, Consumer, IsolationLevel};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError, Record};
use serde_json::{Value, json};
use tidegate_stream::StreamError;
use tokio::time::Instant;

use crate::error::stream_error;
use crate::writer::TRANSACTION_TIME_MAX;

/// Where all ledgers are.
const LEDGER_PARTITION: i32 = 0;
/// An answer without records comes that late.
const POLL_TIME: Duration = Duration::from_millis(200);
/// A fetch is answered that late where there is nothing.
const FETCH_WAIT: Duration = Duration::from_millis(20);
/// Records that are read at once.
const RECORDS_MAX: i32 = 5_000;
/// Settings of the topic: small segments, so that little has to be read.
const CONFIGURATION: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.1")];

/// What a record of the ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KafkaLedger {
    /// Everything below is written.
    pub(crate) next: u64,
    /// By whom, if the record says so.
    pub(crate) owner: Option<String>,
}

impl KafkaLedger {
    /// The record that says so.
    pub(crate) fn record(&self, topic: &str, ledger: &str) -> Record {
        let Self { next, owner } = self;
        let value = match owner {
            Some(owner) => json!({"next": next, "owner": owner}),
            None => json!({"next": next}),
        };
        Record::new(topic, value.to_string()).key(ledger.to_owned()).partition(LEDGER_PARTITION)
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(value).ok()?;
        let owner = value.get("owner").and_then(Value::as_str).map(str::to_owned);
        Some(Self { next: value.get("next")?.as_u64()?, owner })
    }
}

/// Whether the topic is there.
pub(crate) async fn is_there(admin: &AdminClient, topic: &str) -> Result<bool, KrafkaError> {
    let mut found = admin.describe_topics([topic], DescribeTopicsOptions::default()).await?;
    match found.remove(topic) {
        Some(Ok(_)) => Ok(true),
        Some(Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. })) | None => Ok(false),
        Some(Err(error)) => Err(error),
    }
}

/// Makes the topic where it is not there.
pub(crate) async fn ensure(admin: &AdminClient, place: &str, topic: &str) -> Result<(), StreamError> {
    if is_there(admin, topic).await.map_err(|error| stream_error(place, &error))? {
        return Ok(());
    }
    let refused = |error: KrafkaError| {
        if error.is_retriable() {
            return stream_error(place, &error);
        }
        StreamError::Stop {
            reason: format!("{place}: the topic {topic}, in which the ledger is kept, cannot be made: {error}"),
            advice: format!(
                "make it (`kafka-topics --create --topic {topic} --partitions 1 --config cleanup.policy=compact`), or allow this client's user \
                 to CREATE it"
            ),
        }
    };
    let mut new = NewTopic::new(topic, 1, -1).map_err(refused)?;
    for (name, value) in CONFIGURATION {
        new = new.with_config(name, value);
    }
    let mut made = admin.create_topics([new], CreateTopicsOptions::default()).await.map_err(refused)?;
    match made.remove(topic) {
        Some(Ok(())) | Some(Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. })) | None => Ok(()),
        Some(Err(error)) => Err(refused(error)),
    }
}

/// What the ledger says; `None` where there is none of this name.
pub(crate) async fn read(
    kafka: &Kafka,
    place: &str,
    topic: &str,
    ledger: &str,
) -> Result<Option<KafkaLedger>, StreamError> {
    let failed = |error: KrafkaError| stream_error(place, &error);
    let end = end(&kafka.admin(), topic).await.map_err(failed)?;
    let consumer = kafka
        .consumer_without_group()
        .isolation_level(IsolationLevel::ReadCommitted)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .fetch_max_wait(FETCH_WAIT)
        .max_poll_records(RECORDS_MAX)
        .metrics_push(false)
        .build()
        .await
        .map_err(failed)?;
    let last = last(&consumer, topic, ledger.as_bytes(), end).await;
    // It holds nothing up that it is not closed.
    let _ = consumer.close().await;
    let Some(value) = last.map_err(failed)? else { return Ok(None) };
    KafkaLedger::parse(&value).map(Some).ok_or_else(|| StreamError::Stop {
        reason: format!("{place}: the record {ledger} of the topic {topic} says no offset: {}", String::from_utf8_lossy(&value)),
        advice: format!(r#"write what it has to say (`{ledger}` as key, `{{"next":OFFSET}}` as value), or give the destination another `ledger`"#),
    })
}

/// One behind the last record, those of transactions that are open too.
async fn end(admin: &AdminClient, topic: &str) -> Result<i64, KrafkaError> {
    let partition = TopicPartition::new(topic, LEDGER_PARTITION);
    let asked = [(partition.clone(), OffsetSpec::Latest)];
    let mut found = admin.list_offsets(asked, ListOffsetsOptions::default()).await?;
    match found.remove(&partition) {
        Some(found) => Ok(found?.offset),
        None => Err(KrafkaError::unknown_topic(topic)),
    }
}

/// The value of the last record under a key below `end`.
async fn last(consumer: &Consumer, topic: &str, key: &[u8], end: i64) -> Result<Option<bytes::Bytes>, KrafkaError> {
    consumer.assign(topic, vec![LEDGER_PARTITION]).await?;
    let mut last = None;
    // A transaction that is open is ended by then, by whoever began it or by the brokers.
    let until = Instant::now() + 2 * TRANSACTION_TIME_MAX;
    loop {
        let records = consumer.poll(POLL_TIME).await?;
        let is_silent = records.is_empty();
        for record in records {
            if record.key.as_deref() == Some(key) {
                last = record.value;
            }
        }
        let position = consumer.position(topic, LEDGER_PARTITION).await;
        if position.is_some_and(|position| position >= end) {
            return Ok(last);
        }
        if is_silent && Instant::now() >= until {
            return Err(KrafkaError::timeout(format!(
                "reading the topic {topic} to its end, in which a transaction stays open"
            )));
        }
    }
}
