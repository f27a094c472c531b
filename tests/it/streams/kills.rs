//! Somebody dies in the middle of a stream, and each message is one row all the same.

use serde_json::json;

use super::{MAPPING, StreamWorkspace, group_of, kafka, kafka_source};
use crate::support::kafka::KafkaCluster;

const ORDERS: u64 = 60_000;
/// So that a kill comes into the middle.
const PER_SECOND: u64 = 8_000;

/// A stream that is read while another thread produces to it.
struct LoadedStream {
    streams: StreamWorkspace,
    topic: String,
    producer: std::thread::JoinHandle<()>,
}

impl LoadedStream {
    fn start(cluster: &'static KafkaCluster) -> Self {
        let streams = StreamWorkspace::new();
        let mut client = cluster.client();
        let topic = client.topic("loaded");
        let source = kafka_source(cluster, &topic);
        streams.source("orders", &format!("{source}format: json\n{MAPPING}"));
        let to = topic.clone();
        let producer = std::thread::spawn(move || client.produce(&to, 0..ORDERS, json!({ "per_second": PER_SECOND })));
        Self { streams, topic, producer }
    }

    /// Waits until everything was produced, read and acknowledged, and looks at it.
    fn end(self, cluster: &KafkaCluster, server: crate::support::Server) {
        self.producer.join().unwrap();
        self.streams.wait_for_rows("orders__ordered", ORDERS);
        self.streams.wait_for(&server, "orders", "all is acknowledged", |stream| stream["lag"] == 0);
        cluster.client().wait_until_acknowledged(&group_of(&self.topic), &self.topic);
        server.stop();
        self.streams.has_each_order_once("orders", ORDERS);
    }
}

#[test]
fn kills_of_tidegate_in_the_middle_leave_each_message_one_row() {
    let Some(cluster) = kafka("kills of tidegate") else { return };
    let loaded = LoadedStream::start(cluster);
    let mut server = loaded.streams.workspace.serve();
    for part in 1..=4 {
        loaded.streams.wait_for_rows("orders__ordered", ORDERS * part / 5);
        server.kill();
        server = loaded.streams.workspace.serve();
    }
    loaded.end(cluster, server);
}

#[test]
fn kills_of_brokers_in_the_middle_leave_each_message_one_row() {
    let Some(cluster) = kafka("kills of brokers") else { return };
    let loaded = LoadedStream::start(cluster);
    let mut client = cluster.client();
    let server = loaded.streams.workspace.serve();
    for broker in 1..=3 {
        loaded.streams.wait_for_rows("orders__ordered", ORDERS * u64::from(broker) / 6);
        let dead = cluster.kill_broker(broker);
        loaded.streams.wait_for_rows("orders__ordered", ORDERS * (2 * u64::from(broker) + 1) / 12);
        drop(dead);
        // Whoever coordinates the group changes once more, and this time the broker before is there and says that it is not it.
        client.ask(&json!({ "do": "elect" }));
    }
    loaded.end(cluster, server);
}
