//! Two servers in one group: partitions move between them, and no message is lost.
//!
//! What is promised: each message is in at least one of two warehouses of their own, and once in each that has it. A server that was cut off
//! between its log and its acknowledgement has a message that another one reads again; each of the two delivers it. Into one warehouse they
//! deliver it under the same id, and there it is one row.

use std::collections::HashSet;

use serde_json::json;

use super::{MAPPING, StreamWorkspace, group_of, kafka, kafka_source};
use crate::conformance::postgres::Postgres;
use crate::conformance::{Rig, skipped};
use crate::support::kafka::{KafkaClient, KafkaCluster};

const PER_SECOND: u64 = 4_000;
const CHUNK: u64 = 1_000;
/// So much is produced while something is waited for, and no more.
const CHUNKS_MAX: u64 = 600;

/// A topic, whoever produces to it, and whoever looks at its group.
struct GroupLoad {
    producer: KafkaClient,
    watcher: KafkaClient,
    topic: String,
    /// Orders so far.
    sent: u64,
}

impl GroupLoad {
    fn new(cluster: &KafkaCluster, name: &str) -> Self {
        let mut producer = cluster.client();
        Self { topic: producer.topic(name), producer, watcher: cluster.client(), sent: 0 }
    }

    /// Produces until it is so.
    #[track_caller]
    fn until(&mut self, what: &str, mut so: impl FnMut(&mut KafkaClient) -> bool) {
        for _ in 0..CHUNKS_MAX {
            if so(&mut self.watcher) {
                return;
            }
            let next = self.sent + CHUNK;
            self.producer.produce(&self.topic, self.sent..next, json!({ "per_second": PER_SECOND }));
            self.sent = next;
        }
        panic!("{} orders were produced, and it never was so: {what}", self.sent);
    }

    #[track_caller]
    fn until_members(&mut self, members: u64) {
        let group = group_of(&self.topic);
        self.until(&format!("the group has {members} members"), |watcher| watcher.members(&group) == members);
    }

    /// Waits until the group has acknowledged everything.
    #[track_caller]
    fn drain(&mut self) {
        let (topic, group) = (&self.topic, group_of(&self.topic));
        self.watcher.wait_until_acknowledged(&group, topic);
    }
}

/// A server that reads the topic as a member of its group, and whose sync has a name of its own.
fn member(cluster: &KafkaCluster, name: &str, topic: &str, postgres: Option<&Postgres>) -> StreamWorkspace {
    let streams = StreamWorkspace::new();
    let source = kafka_source(cluster, topic);
    streams.source("orders", &format!("{source}format: json\n{MAPPING}"));
    if let Some(postgres) = postgres {
        streams.workspace.write("destinations/shared.yaml", &postgres.yaml());
        // Tables are shared, ledgers are not.
        std::fs::remove_file(streams.workspace.path().join("syncs/orders.yaml")).unwrap();
        let sync = "source: orders\ndestination: shared\n";
        streams.workspace.write(&format!("syncs/orders-{name}.yaml"), sync);
    }
    streams
}

#[test]
fn a_server_that_joins_and_leaves_a_group_costs_no_message() {
    let Some(cluster) = kafka("a server joins and leaves") else { return };
    let mut load = GroupLoad::new(cluster, "shared");
    let [first, second] = ["a", "b"].map(|name| member(cluster, name, &load.topic, None));
    let one = first.workspace.serve();
    load.until("the first one reads", |_| first.rows_of("orders__ordered") > 0);
    let other = second.workspace.serve();
    load.until_members(2);
    // Three partitions are enough for both.
    load.until("the second one reads", |_| second.rows_of("orders__ordered") > 0);
    let leaving = std::thread::spawn(move || other.stop());
    load.until("the second one has ended", |_| leaving.is_finished());
    leaving.join().unwrap();
    load.until_members(1);
    load.drain();
    one.stop();
    let (mut union, mut doubles) = (HashSet::new(), 0_u64);
    for streams in [&first, &second] {
        let rows = streams.workspace.warehouse().rows("SELECT id || ' ' || n FROM orders__ordered");
        assert_eq!(rows.iter().collect::<HashSet<_>>().len(), rows.len(), "a message is twice in one table");
        for row in rows {
            doubles += u64::from(!union.insert(row));
        }
    }
    assert_eq!(union.len() as u64, load.sent, "a message is in no table");
    println!("{doubles} of {} messages were read by both", load.sent);
}

/// The server stands still for longer than the group waits for it, another one takes over, and then it goes on with what it had in hand.
#[test]
fn a_server_that_stood_still_beyond_its_session_doubles_nothing_in_a_shared_warehouse() {
    let test = "a server stands still beyond its session";
    let Some(cluster) = kafka(test) else { return };
    let postgres = match Postgres::new() {
        Ok(postgres) => postgres,
        Err(lack) => return skipped(&format!("streams: {test}"), &lack),
    };
    let rows = || -> u64 {
        let is_there = postgres.ask("SELECT to_regclass('ordered') IS NOT NULL") == "t";
        if is_there { postgres.ask("SELECT count(*) FROM ordered").parse().unwrap() } else { 0 }
    };
    let mut load = GroupLoad::new(cluster, "stood-still");
    let [first, second] = ["a", "b"].map(|name| member(cluster, name, &load.topic, Some(&postgres)));
    let one = first.workspace.serve();
    load.until("the first one reads", |_| rows() > 0);
    let other = second.workspace.serve();
    load.until_members(2);
    one.signal("STOP");
    // Its session is over when the group has forgotten it.
    load.until_members(1);
    let before = rows();
    load.until("the other one goes on with all", |_| rows() > before + 10 * CHUNK);
    one.signal("CONT");
    load.until_members(2);
    load.drain();
    one.stop();
    other.stop();
    let sent = load.sent;
    for table in ["ordered", "tracks"] {
        let told = postgres.ask(&format!("SELECT count(*) || '|' || count(DISTINCT id) FROM {table}"));
        assert_eq!(told, format!("{sent}|{sent}"), "{table}");
    }
    assert_eq!(postgres.ask("SELECT count(DISTINCT n) FROM ordered"), sent.to_string());
}
