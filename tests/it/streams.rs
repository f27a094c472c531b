//! Streams of other systems as sources and as destinations: three real Kafka brokers, Google's own double of Pub/Sub, a double of Kinesis. Each
//! message is one row, whoever dies meanwhile.
//!
//! `tests/streams/setup` installs what these tests run against; what is not there is skipped by name and reason.

mod arrival;
mod avro_out;
mod cloud_events;
mod control;
mod example;
mod formats;
mod groups;
mod kills;
mod kinesis;
mod leases;
mod objects;
mod out;
mod pubsub;
mod security;
mod shards;

use serde_json::{Value, json};

use crate::conformance::skipped;
use crate::support::admin::Admin;
use crate::support::kafka::KafkaCluster;
use crate::support::waiting::seldom;
use crate::support::{Reply, Server, Workspace, run};

/// Each order is an event `Ordered` of its user.
const MAPPING: &str = "mapping: {event: Ordered, userId: /user}\n";

/// The brokers; none where they cannot be had, which is said.
fn kafka(test: &str) -> Option<&'static KafkaCluster> {
    match KafkaCluster::shared() {
        Ok(cluster) => Some(cluster),
        Err(lack) => {
            skipped(&format!("streams: {test}"), &lack);
            None
        }
    }
}

/// The source of a topic, without a mapping. Its group has a name that no other test's has.
fn kafka_source(cluster: &KafkaCluster, topic: &str) -> String {
    format!("kind: kafka\nbrokers: {}\ntopics: [{topic}]\ngroup: {}\n", cluster.brokers(), group_of(topic))
}

fn group_of(topic: &str) -> String {
    format!("group-{topic}")
}

/// A workspace with streams.
struct StreamWorkspace {
    workspace: Workspace,
    token: String,
}

impl StreamWorkspace {
    fn new() -> Self {
        let workspace = Workspace::new();
        Self { token: workspace.admin_token(), workspace }
    }

    /// A source with a sync into tables of its own: `<source>__ordered`.
    fn source(&self, name: &str, text: &str) {
        self.workspace.write(&format!("sources/{name}.yaml"), text);
        let sync = format!("source: {name}\ndestination: warehouse\nschema: {name}\n");
        self.workspace.write(&format!("syncs/{name}.yaml"), &sync);
    }

    fn admin(&self, server: &Server) -> Admin {
        Admin::new(server, &self.token)
    }

    /// What the server says of a stream.
    fn stream(&self, server: &Server, source: &str) -> Value {
        self.admin(server).get(&format!("/api/v1/sources/{source}/stream"))
    }

    /// Waits until it says so.
    #[track_caller]
    fn wait_for(&self, server: &Server, source: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        seldom(what, || {
            // Just after a start it may not run yet.
            let reply = self.admin(server).ask("GET", &format!("/api/v1/sources/{source}/stream"), b"");
            let stream = Some(&reply).filter(|reply| reply.status == 200).map(Reply::json);
            stream.filter(|stream| so(stream)).ok_or_else(|| reply.text())
        })
    }

    /// Has a stream go on elsewhere.
    #[track_caller]
    fn seek(&self, server: &Server, source: &str, to: Value) {
        let reply = self.admin(server).post(&format!("/api/v1/sources/{source}/seek"), &json!({ "to": to }));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Runs a command of the server.
    #[track_caller]
    fn command(&self, server: &Server, words: &[&str]) -> String {
        let url = format!("http://{}", server.admin);
        let output = run(&[words, &["--server", &url, "--token", &self.token]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Rows of a table that may not be there yet.
    fn rows_of(&self, table: &str) -> u64 {
        if !self.workspace.data().join("warehouse.db").exists() {
            return 0;
        }
        let warehouse = self.workspace.warehouse();
        if warehouse.has(table) { warehouse.count(table) } else { 0 }
    }

    /// Waits until a table has so many rows, or more.
    #[track_caller]
    fn wait_for_rows(&self, table: &str, rows: u64) {
        seldom(&format!("{table} has {rows} rows"), || {
            let there = self.rows_of(table);
            if there >= rows { Ok(()) } else { Err(format!("it has {there}")) }
        });
    }

    /// The orders from 0 to `count` are in both tables of the source, each once, and nothing is in quarantine.
    #[track_caller]
    fn has_each_order_once(&self, source: &str, count: u64) {
        let warehouse = self.workspace.warehouse();
        let told = "count(*), count(DISTINCT id), count(DISTINCT n), min(n), max(n)";
        let found = warehouse.rows(&format!("SELECT {told} FROM {source}__ordered"));
        assert_eq!(found, [format!("{count}|{count}|{count}|0|{}", count - 1)], "{source}");
        let found = warehouse.rows(&format!("SELECT count(*), count(DISTINCT id) FROM {source}__tracks"));
        assert_eq!(found, [format!("{count}|{count}")], "{source}");
        assert_eq!(self.workspace.quarantined(), [""; 0]);
    }

    /// Runs a server until the orders from 0 to `count` of a source have come in, each once.
    #[track_caller]
    fn takes_each_order_once(&self, source: &str, count: u64) {
        let server = self.workspace.serve();
        self.wait_for_rows(&format!("{source}__ordered"), count);
        server.stop();
        self.has_each_order_once(source, count);
    }

    /// What is in quarantine, in order.
    fn quarantine(&self) -> Vec<Value> {
        let output = run(&["quarantine", self.workspace.path().to_str().unwrap(), "--json", "--most", "1000"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
