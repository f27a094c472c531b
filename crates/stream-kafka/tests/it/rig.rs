//! A cluster in this process.

use std::sync::Arc;

use krafka::testing::FakeBroker;
use tidegate_stream::StreamTarget;
use tidegate_stream_kafka::{KafkaCompression, KafkaConnection, KafkaTarget};

pub(crate) const TOPIC: &str = "events";

pub(crate) struct FakeCluster {
    pub(crate) broker: FakeBroker,
    pub(crate) transactions: bool,
}

impl FakeCluster {
    pub(crate) async fn start(transactions: bool) -> Result<Self, String> {
        let broker = FakeBroker::start_cluster(2).await.map_err(|error| error.to_string())?;
        assert!(broker.create_topic(TOPIC, 3));
        Ok(Self { broker, transactions })
    }

    pub(crate) fn kafka(&self) -> KafkaTarget {
        let brokers = self.broker.bootstrap_servers().split(',').map(str::to_owned).collect();
        KafkaTarget {
            connection: KafkaConnection { brokers, tls: None, sasl: None },
            transactions: self.transactions,
            ledger_topic: "tidegate_ledger".to_owned(),
            partitions: None,
            compression: KafkaCompression::default(),
            topics: vec![TOPIC.to_owned()],
        }
    }

    pub(crate) fn target(&self) -> Arc<dyn StreamTarget> {
        Arc::new(self.kafka())
    }

    /// Without what is in transactions that never ended or were aborted.
    pub(crate) fn payloads(&self) -> Vec<String> {
        let records = self.broker.committed_records(TOPIC).unwrap();
        let payload = |value: Option<bytes::Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        records.into_iter().map(|record| payload(record.value)).collect()
    }
}
