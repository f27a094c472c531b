//! What brokers refuse, and topics that are not there.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};
use tidegate_stream::{OutgoingMessage, StreamError, StreamTarget};

use crate::rig::{FakeCluster, TOPIC};

fn message(index: usize, topic: &str, payload: &str) -> OutgoingMessage {
    OutgoingMessage {
        index,
        topic: topic.to_owned(),
        key: "u".to_owned(),
        headers: vec![("kind".to_owned(), "track".to_owned())],
        message_id: format!("m{index}"),
        payload: Bytes::from(payload.to_owned()),
    }
}

/// Has the first request refused that writes to the topic, and none that writes to the ledger: they are at two brokers.
fn refuse_once(cluster: &FakeCluster, code: ErrorCode) {
    for partition in 0..3 {
        cluster.broker.set_leader(TOPIC, partition, 1);
    }
    let is_over = AtomicBool::new(false);
    cluster.broker.on(ApiKey::Produce, move |request| {
        if request.node_id == 1 && !is_over.swap(true, Ordering::SeqCst) { Control::Error(code) } else { Control::Pass }
    });
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

#[test]
fn records_that_are_too_large_together_are_sent_alone() {
    run(async {
        let cluster = FakeCluster::start(true).await.unwrap();
        refuse_once(&cluster, ErrorCode::MessageTooLarge);
        let mut writer = cluster.target().open("sync").await.unwrap();
        let messages: Vec<OutgoingMessage> = (0..20).map(|index| message(index, TOPIC, &format!("m{index}"))).collect();
        if writer.write(messages.clone(), 20).await.unwrap().len() == 1 {
            // On a slow machine the first record has travelled alone.
            assert_eq!(writer.write(messages, 20).await.unwrap(), []);
        }
        let expected: Vec<String> = (0..20).map(|index| format!("m{index}")).collect();
        assert_eq!(cluster.payloads(), expected, "all have one key, and so one partition");
        assert_eq!(writer.durable_to().await.unwrap(), Some(20));
        // Those after it travel together again.
        assert_eq!(writer.write(vec![message(0, TOPIC, "next")], 21).await.unwrap(), []);
        assert_eq!(writer.durable_to().await.unwrap(), Some(21));
        writer.close().await.unwrap();
    });
}

#[test]
fn a_record_that_is_refused_alone_is_named_and_nothing_of_its_transaction_counts() {
    run(async {
        let cluster = FakeCluster::start(true).await.unwrap();
        refuse_once(&cluster, ErrorCode::InvalidRecord);
        let mut writer = cluster.target().open("sync").await.unwrap();
        let refused = writer.write(vec![message(7, TOPIC, "bad")], 8).await.unwrap();
        assert!(matches!(&refused[..], [one] if one.index == 7 && one.reason.contains("InvalidRecord")), "{refused:?}");
        assert_eq!(writer.durable_to().await.unwrap(), None);
        assert_eq!(writer.write(Vec::new(), 8).await.unwrap(), []);
        assert_eq!(writer.durable_to().await.unwrap(), Some(8));
        assert_eq!(cluster.payloads(), Vec::<String>::new());
    });
}

#[test]
fn a_topic_that_is_not_there_stops_unless_topics_may_be_made() {
    run(async {
        let cluster = FakeCluster::start(true).await.unwrap();
        let mut writer = cluster.target().open("sync").await.unwrap();
        let error = writer.write(vec![message(0, "orders", "m")], 1).await.unwrap_err();
        assert!(
            matches!(&error, StreamError::Stop { reason, advice } if reason.contains("orders") && advice.contains("partitions")),
            "{error}"
        );
        let mut target = cluster.kafka();
        target.partitions = Some(2);
        let mut writer = target.open("sync").await.unwrap();
        assert_eq!(writer.write(vec![message(0, "orders", "m")], 1).await.unwrap(), []);
        assert_eq!(cluster.broker.committed_records("orders").unwrap().len(), 1);
    });
}

#[test]
fn a_check_says_what_is_there_and_changes_nothing() {
    run(async {
        let cluster = FakeCluster::start(true).await.unwrap();
        let found = cluster.target().check().await.unwrap().join("; ");
        assert!(
            found.contains("the topic events has 3 partitions") && found.contains("is made when the sync first runs"),
            "{found}"
        );
        assert_eq!(cluster.broker.request_count(ApiKey::CreateTopics), 0);
        let mut target = cluster.kafka();
        target.topics.push("missing".to_owned());
        assert!(matches!(target.check().await, Err(StreamError::Stop { .. })));
    });
}
