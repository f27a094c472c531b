//! Against a broker within the process that speaks Kafka's protocol: who commits what, when a group changes its mind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use krafka::admin::{AlterConsumerGroupOffsetsOptions, TopicPartition};
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};
use krafka::{Kafka, Record};
use parking_lot::Mutex;
use tidegate_stream::{
    SeekTarget, StreamCheckpoints, StreamError, StreamMessage, StreamOrigin as _, StreamReader, StreamReceipt,
};
use tokio::time::{Instant, timeout};

use crate::{KafkaConnection, KafkaOrigin, KafkaSasl, KafkaStart, KafkaTopics, PasswordMechanism};

const GROUP: &str = "tidegate-shop";
const TOPIC: &str = "orders";
const DEADLINE: Duration = Duration::from_secs(60);

struct NoCheckpoints;

impl StreamCheckpoints for NoCheckpoints {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(BTreeMap::new())
    }

    fn save(&self, _: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        Ok(())
    }
}

/// Checkpoints that outlive a reader.
#[derive(Default)]
struct KeptCheckpoints(Mutex<BTreeMap<String, String>>);

impl StreamCheckpoints for KeptCheckpoints {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(self.0.lock().clone())
    }

    fn save(&self, changed: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        let mut kept = self.0.lock();
        for (key, value) in changed {
            match value {
                Some(value) => kept.insert(key.clone(), value.clone()),
                None => kept.remove(key),
            };
        }
        Ok(())
    }
}

async fn broker(partitions: i32) -> FakeBroker {
    let broker = FakeBroker::start().await.unwrap();
    assert!(broker.create_topic(TOPIC, partitions));
    broker
}

fn connection(broker: &FakeBroker) -> KafkaConnection {
    KafkaConnection { brokers: vec![broker.bootstrap_servers()], tls: None, sasl: None }
}

fn origin(broker: &FakeBroker, start: KafkaStart) -> KafkaOrigin {
    let topics = KafkaTopics::Named(vec![TOPIC.to_owned()]);
    KafkaOrigin { connection: connection(broker), topics, group: GROUP.to_owned(), start }
}

async fn reader(broker: &FakeBroker, start: KafkaStart) -> Box<dyn StreamReader> {
    origin(broker, start).open("shop", Arc::new(NoCheckpoints)).await.unwrap()
}

async fn kafka(broker: &FakeBroker) -> Kafka {
    Kafka::builder(broker.bootstrap_servers()).connect().await.unwrap()
}

async fn produce(broker: &FakeBroker, partition: i32, count: usize) {
    let producer = kafka(broker).await.producer().build().await.unwrap();
    for number in 0..count {
        let record = Record::new(TOPIC, format!("{{\"order\":{number}}}")).key("anna").header("Source", "till");
        let _ = producer.send(record.partition(partition)).await.unwrap();
    }
    producer.close().await.unwrap();
}

/// Reads until there are so many.
async fn read(reader: &mut dyn StreamReader, count: usize) -> (Vec<StreamMessage>, StreamReceipt) {
    let until = Instant::now() + DEADLINE;
    let (mut messages, mut receipt) = (Vec::new(), StreamReceipt::default());
    while messages.len() < count {
        assert!(Instant::now() < until, "only {} of {count} messages came", messages.len());
        let batch = reader.read().await.unwrap();
        messages.extend(batch.messages);
        receipt = batch.receipt;
    }
    (messages, receipt)
}

fn positions(messages: &[StreamMessage]) -> Vec<String> {
    messages.iter().map(StreamMessage::position).collect()
}

fn committed(broker: &FakeBroker, partition: i32) -> Option<i64> {
    broker.committed_offset(GROUP, TOPIC, partition)
}

/// Keeps the reader alive until so much is committed.
async fn wait_for_commit(broker: &FakeBroker, reader: &mut dyn StreamReader, partition: i32, offset: i64) {
    let until = Instant::now() + DEADLINE;
    while committed(broker, partition) != Some(offset) {
        assert!(Instant::now() < until, "{:?} is committed instead of {offset}", committed(broker, partition));
        reader.keep_alive().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_read_is_committed_after_its_receipt_and_not_before() {
    let broker = broker(1).await;
    produce(&broker, 0, 3).await;
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let (messages, receipt) = read(&mut *reader, 3).await;
    assert_eq!(positions(&messages), ["orders/0/0", "orders/0/1", "orders/0/2"]);
    let first = &messages[0];
    assert_eq!((first.key.as_deref(), first.payload.as_deref()), (Some(&b"anna"[..]), Some(&b"{\"order\":0}"[..])));
    assert_eq!(first.headers, [("source".to_owned(), "till".to_owned())]);
    assert!(first.published_at_us.is_some());
    reader.keep_alive().await.unwrap();
    assert_eq!(committed(&broker, 0), None);
    assert_eq!(reader.progress()[0].lag, Some(3));
    assert!(reader.progress()[0].behind.is_some());
    reader.acknowledge(receipt).await.unwrap();
    wait_for_commit(&broker, &mut *reader, 0, 3).await;
    let progress = reader.progress().remove(0);
    assert_eq!((progress.acknowledged.as_str(), progress.lag, progress.behind), ("2", Some(0), None));
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_went_to_another_member_is_read_there_again_and_committed_by_nobody_else() {
    let broker = broker(2).await;
    produce(&broker, 0, 3).await;
    produce(&broker, 1, 3).await;
    let mut first = reader(&broker, KafkaStart::Earliest).await;
    let (_, receipt) = read(&mut *first, 6).await;
    let mut second = reader(&broker, KafkaStart::Earliest).await;
    let until = Instant::now() + DEADLINE;
    let mut moved: Vec<StreamMessage> = Vec::new();
    while moved.len() < 3 {
        assert!(Instant::now() < until, "the second member has {} messages", moved.len());
        first.keep_alive().await.unwrap();
        moved.extend(second.read().await.unwrap().messages);
    }
    let partition: i32 = moved[0].partition.parse().unwrap();
    assert_eq!(positions(&moved), [0, 1, 2].map(|offset| format!("orders/{partition}/{offset}")));
    first.acknowledge(receipt).await.unwrap();
    wait_for_commit(&broker, &mut *first, 1 - partition, 3).await;
    assert_eq!(committed(&broker, partition), None);
    let held = first.progress();
    assert_eq!(held.len(), 1, "{held:?}");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test]
async fn a_member_that_was_taken_for_gone_reads_on_from_what_is_committed_and_its_old_receipts_count_no_more() {
    let broker = broker(1).await;
    produce(&broker, 0, 3).await;
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let (_, stale) = read(&mut *reader, 3).await;
    broker.with_state(|state| state.groups.get_mut(GROUP).unwrap().consumer_members.clear());
    let (again, receipt) = read(&mut *reader, 3).await;
    assert_eq!(positions(&again), ["orders/0/0", "orders/0/1", "orders/0/2"]);
    reader.acknowledge(stale).await.unwrap();
    for _ in 0..3 {
        reader.keep_alive().await.unwrap();
    }
    assert_eq!(committed(&broker, 0), None);
    reader.acknowledge(receipt).await.unwrap();
    wait_for_commit(&broker, &mut *reader, 0, 3).await;
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_read_that_is_dropped_again_and_again_loses_no_message_and_brings_none_twice() {
    let broker = broker(1).await;
    produce(&broker, 0, 50).await;
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let mut messages = Vec::new();
    for _ in 0..40 {
        if let Ok(batch) = timeout(Duration::from_millis(2), reader.read()).await {
            messages.extend(batch.unwrap().messages);
        }
    }
    if messages.len() < 50 {
        messages.extend(read(&mut *reader, 50 - messages.len()).await.0);
    }
    let expected: Vec<String> = (0..50).map(|offset| format!("orders/0/{offset}")).collect();
    assert_eq!(positions(&messages), expected);
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_seek_goes_on_from_there_and_is_kept_when_the_reader_ends() {
    let broker = broker(1).await;
    produce(&broker, 0, 4).await;
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let (_, receipt) = read(&mut *reader, 4).await;
    let position =
        |at: &str| SeekTarget::Position { topic: TOPIC.to_owned(), partition: "0".to_owned(), at: at.to_owned() };
    let error = reader.seek(position("soon")).await.unwrap_err();
    assert!(matches!(&error, StreamError::Stop { reason, .. } if reason.contains("soon")), "{error}");
    reader.seek(position("2")).await.unwrap();
    reader.acknowledge(receipt).await.unwrap();
    reader.close().await.unwrap();
    assert_eq!(committed(&broker, 0), Some(2));
    let mut reader = self::reader(&broker, KafkaStart::Earliest).await;
    let (messages, _) = read(&mut *reader, 2).await;
    assert_eq!(positions(&messages), ["orders/0/2", "orders/0/3"]);
    reader.seek(SeekTarget::Earliest).await.unwrap();
    assert_eq!(read(&mut *reader, 4).await.0.len(), 4);
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_group_that_begins_at_the_end_remembers_where_that_was() {
    let broker = broker(2).await;
    produce(&broker, 0, 2).await;
    let mut reader = reader(&broker, KafkaStart::Latest).await;
    assert_eq!((committed(&broker, 0), committed(&broker, 1)), (Some(2), Some(0)));
    // What comes before the first poll is new already.
    produce(&broker, 0, 1).await;
    produce(&broker, 1, 1).await;
    let (messages, _) = read(&mut *reader, 2).await;
    let mut read = positions(&messages);
    read.sort();
    assert_eq!(read, ["orders/0/2", "orders/1/0"]);
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_topic_that_comes_after_its_source_is_read_from_its_first_message_by_a_group_that_begins_at_the_end() {
    let broker = FakeBroker::start().await.unwrap();
    let kept: Arc<dyn StreamCheckpoints> = Arc::new(KeptCheckpoints::default());
    let opened = async || origin(&broker, KafkaStart::Latest).open("shop", Arc::clone(&kept)).await;
    let error = opened().await.err().unwrap();
    assert!(matches!(&error, StreamError::Retry(reason) if reason.contains("orders does not exist")), "{error}");
    assert!(broker.create_topic(TOPIC, 2));
    produce(&broker, 0, 2).await;
    produce(&broker, 1, 1).await;
    // A server that ends before it has read anything leaves behind where it began.
    drop(opened().await.unwrap());
    assert_eq!((committed(&broker, 0), committed(&broker, 1)), (Some(0), Some(0)));
    let mut reader = opened().await.unwrap();
    let mut read = positions(&read(&mut *reader, 3).await.0);
    read.sort();
    assert_eq!(read, ["orders/0/0", "orders/0/1", "orders/1/0"]);
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_read_from_its_first_message_by_a_group_that_began_at_the_end() {
    let broker = broker(1).await;
    produce(&broker, 0, 5).await;
    let kept: Arc<dyn StreamCheckpoints> = Arc::new(KeptCheckpoints::default());
    let opened = async || origin(&broker, KafkaStart::Latest).open("shop", Arc::clone(&kept)).await.unwrap();
    opened().await.close().await.unwrap();
    // With the offset of the group, which lies behind the end of the new one, and without.
    for is_forgotten in [false, true] {
        assert!(broker.delete_topic(TOPIC) && broker.create_topic(TOPIC, 1));
        if is_forgotten {
            broker.with_state(|state| state.groups.get_mut(GROUP).unwrap().offsets.clear());
        }
        produce(&broker, 0, 2).await;
        let mut reader = opened().await;
        let (messages, receipt) = read(&mut *reader, 2).await;
        let ats: Vec<&str> = messages.iter().map(|message| message.at.as_str()).collect();
        assert_eq!(ats, ["0", "1"]);
        reader.acknowledge(receipt).await.unwrap();
        wait_for_commit(&broker, &mut *reader, 0, 2).await;
        reader.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_topic_whose_offsets_the_group_refuses_is_told_in_the_status_until_it_takes_them() {
    let broker = broker(1).await;
    produce(&broker, 0, 1).await;
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let (_, receipt) = read(&mut *reader, 1).await;
    broker.on(ApiKey::OffsetCommit, |_| Control::Error(ErrorCode::TopicAuthorizationFailed));
    reader.acknowledge(receipt).await.unwrap();
    let until = Instant::now() + DEADLINE;
    while reader.notices().is_empty() {
        assert!(Instant::now() < until, "nothing was told");
        reader.keep_alive().await.unwrap();
    }
    let notices = reader.notices();
    assert!(matches!(&notices[..], [notice] if notice.contains("no offsets of it")), "{notices:?}");
    broker.clear_hooks();
    wait_for_commit(&broker, &mut *reader, 0, 1).await;
    assert_eq!(reader.notices(), Vec::<String>::new());
    reader.close().await.unwrap();
}

#[tokio::test]
async fn an_offset_that_is_not_there_is_told_and_reading_goes_on_as_start_says() {
    let broker = broker(1).await;
    produce(&broker, 0, 3).await;
    let admin = kafka(&broker).await.admin();
    let offsets = [(TopicPartition::new(TOPIC, 0), 100)];
    let told = admin.alter_consumer_group_offsets(GROUP, offsets, AlterConsumerGroupOffsetsOptions::default()).await;
    assert!(told.unwrap().values().all(Result::is_ok));
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let (messages, _) = read(&mut *reader, 3).await;
    assert_eq!(messages.len(), 3);
    let notices = reader.notices();
    assert!(matches!(&notices[..], [notice] if notice.contains("offset 100")), "{notices:?}");
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_place_behind_what_was_read_is_committed_when_that_is_in_the_log() {
    let broker = broker(1).await;
    produce(&broker, 0, 3).await;
    let admin = kafka(&broker).await.admin();
    let offsets = [(TopicPartition::new(TOPIC, 0), 0)];
    let told = admin.alter_consumer_group_offsets(GROUP, offsets, AlterConsumerGroupOffsetsOptions::default()).await;
    assert!(told.unwrap().values().all(Result::is_ok));
    let mut reader = reader(&broker, KafkaStart::Latest).await;
    let (_, receipt) = read(&mut *reader, 3).await;
    // The brokers lose the last message.
    broker.with_state(|state| {
        let partition = state.partition_mut(TOPIC, 0).unwrap();
        partition.log.truncate(2);
        partition.next_offset = 2;
    });
    let until = Instant::now() + DEADLINE;
    while reader.notices().is_empty() {
        assert!(Instant::now() < until, "nothing was told");
        reader.read().await.unwrap();
    }
    assert_eq!(committed(&broker, 0), Some(0), "what was read would be lost in a crash");
    reader.acknowledge(receipt).await.unwrap();
    wait_for_commit(&broker, &mut *reader, 0, 2).await;
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_topic_that_was_made_anew_has_positions_of_its_own() {
    let broker = broker(1).await;
    produce(&broker, 0, 2).await;
    let kept: Arc<dyn StreamCheckpoints> = Arc::new(KeptCheckpoints::default());
    let opened = async || origin(&broker, KafkaStart::Earliest).open("shop", Arc::clone(&kept)).await.unwrap();
    let mut reader = opened().await;
    let (messages, receipt) = read(&mut *reader, 2).await;
    assert_eq!(positions(&messages), ["orders/0/0", "orders/0/1"]);
    reader.acknowledge(receipt).await.unwrap();
    reader.close().await.unwrap();
    assert!(broker.delete_topic(TOPIC) && broker.create_topic(TOPIC, 1));
    // Brokers forget what was read of a topic that is deleted.
    broker.with_state(|state| state.groups.get_mut(GROUP).unwrap().offsets.clear());
    produce(&broker, 0, 2).await;
    let mut reader = opened().await;
    let notices = reader.notices();
    assert!(matches!(&notices[..], [notice] if notice.contains("another one than before")), "{notices:?}");
    let (messages, _) = read(&mut *reader, 2).await;
    let id = HEXLOWER.encode(&broker.topic_id(TOPIC).unwrap());
    let topic = format!("orders@{}", &id[..8]);
    assert_eq!(positions(&messages), [format!("{topic}/0/0"), format!("{topic}/0/1")]);
    assert_eq!(&*messages[0].topic, TOPIC);
    let second = SeekTarget::Position { topic: topic.clone(), partition: "0".to_owned(), at: "1".to_owned() };
    reader.seek(second).await.unwrap();
    assert_eq!(positions(&read(&mut *reader, 1).await.0), [format!("{topic}/0/1")]);
    reader.close().await.unwrap();
    let mut reader = opened().await;
    assert_eq!(reader.notices(), Vec::<String>::new(), "it was told");
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_partition_without_a_leader_is_told_and_read_later_while_the_others_are_read() {
    let broker = broker(2).await;
    produce(&broker, 0, 1).await;
    produce(&broker, 1, 1).await;
    let leader = broker.with_state(|state| std::mem::replace(&mut state.partition_mut(TOPIC, 1).unwrap().leader, -1));
    let mut reader = reader(&broker, KafkaStart::Earliest).await;
    let (messages, _) = read(&mut *reader, 1).await;
    assert_eq!(positions(&messages), ["orders/0/0"]);
    let notices = reader.notices();
    assert!(matches!(&notices[..], [notice] if notice.contains("partition 1 of orders")), "{notices:?}");
    assert!(broker.set_leader(TOPIC, 1, leader));
    let (messages, _) = read(&mut *reader, 1).await;
    assert_eq!(positions(&messages), ["orders/1/0"]);
    reader.read().await.unwrap();
    assert_eq!(reader.notices(), Vec::<String>::new());
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_told_while_the_others_are_read_and_brokers_without_the_new_protocol_will_do() {
    let broker = broker(1).await;
    produce(&broker, 0, 1).await;
    // No version that the client speaks.
    broker.set_api_versions(ApiKey::ConsumerGroupHeartbeat, 99, 99);
    let topics = KafkaTopics::Named(vec![TOPIC.to_owned(), "refunds".to_owned()]);
    let origin = KafkaOrigin { topics, ..origin(&broker, KafkaStart::Earliest) };
    let said = origin.check().await.unwrap().join("\n");
    for part in ["orders has 1 partition", "refunds does not exist", GROUP, "first messages"] {
        assert!(said.contains(part), "{said} does not say {part}");
    }
    let mut reader = origin.open("shop", Arc::new(NoCheckpoints)).await.unwrap();
    assert!(reader.notices()[0].contains("refunds"), "{:?}", reader.notices());
    let (messages, receipt) = read(&mut *reader, 1).await;
    assert_eq!(positions(&messages), ["orders/0/0"]);
    reader.acknowledge(receipt).await.unwrap();
    wait_for_commit(&broker, &mut *reader, 0, 1).await;
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_asks_for_an_operator_and_no_secret_prints() {
    let broker = broker(1).await;
    broker.require_sasl_plain("tidegate", "right");
    let password = "wr0ng-s3cret".to_owned().into();
    let sasl = KafkaSasl::Password { mechanism: PasswordMechanism::Plain, user: "tidegate".to_owned(), password };
    let connection = KafkaConnection { sasl: Some(sasl), ..connection(&broker) };
    assert!(connection.shows_secrets());
    let shown = format!("{connection:?}");
    assert!(shown.contains("tidegate") && !shown.contains("s3cret"), "{shown}");
    let error = connection.connect("test").await.unwrap_err();
    assert!(matches!(&error, StreamError::Stop { advice, .. } if advice.contains("`sasl`")), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_away_is_tried_again() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connection = KafkaConnection { brokers: vec![gone.to_string()], tls: None, sasl: None };
    let error = connection.connect("test").await.unwrap_err();
    assert!(matches!(&error, StreamError::Retry(reason) if reason.contains(&gone.to_string())), "{error}");
}
