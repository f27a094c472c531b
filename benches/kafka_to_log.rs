//! How fast messages of Kafka reach the log, beside clients that only read the same topic, in turns in one run.
//!
//! Three brokers on this machine, three partitions, orders in JSON of about 180 bytes. In each round: the client of the source by itself, which reads and
//! acknowledges; a server whose source reads, maps, appends and acknowledges, without a sync (refining follows the log, and its CPU counts); and
//! librdkafka by itself. Brokers, clients and server share the cores of the machine, so the CPU of each process says more than the time.
//!
//! `cargo bench --bench kafka_to_log -- [messages] [rounds]`

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on should say where")]

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_stream::{StreamCheckpoints, StreamError, StreamOrigin};
use tidegate_stream_kafka::{KafkaConnection, KafkaOrigin, KafkaStart, KafkaTopics};

use support::Workspace;
use support::admin::Admin;
use support::kafka::{KafkaCluster, unique};
use support::waiting::PATIENCE;

/// Between two looks at a server.
const PAUSE: Duration = Duration::from_millis(20);

/// One reader from the first message to the last.
struct MeasuredReader {
    seconds: f64,
    /// CPU seconds.
    cpu: f64,
}

impl MeasuredReader {
    fn print(&self, what: &str, messages: u64) {
        let (count, million) = (messages as f64, messages as f64 / 1e6);
        println!(
            "{what:<36} {:>9.0} messages/s, {:>9.0} messages/s a core, {:>5.2} CPU-s a million",
            count / self.seconds,
            count / self.cpu,
            self.cpu / million
        );
    }
}

/// Kafka keeps positions itself.
struct KeptNowhere;

impl StreamCheckpoints for KeptNowhere {
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError> {
        Ok(BTreeMap::new())
    }

    fn save(&self, _: &BTreeMap<String, Option<String>>) -> Result<(), StreamError> {
        Ok(())
    }
}

/// CPU seconds of a process so far.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// The client of the source by itself.
async fn client_alone(cluster: &KafkaCluster, topic: &str, messages: u64) -> MeasuredReader {
    let brokers = cluster.brokers();
    let brokers = brokers.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
    let origin = KafkaOrigin {
        connection: KafkaConnection { brokers, tls: None, sasl: None },
        topics: KafkaTopics::Named(vec![topic.to_owned()]),
        group: unique("alone"),
        start: KafkaStart::Earliest,
    };
    let own = std::process::id();
    let mut reader = origin.open("bench", Arc::new(KeptNowhere)).await.unwrap();
    let (before, mut began, mut read) = (cpu(own), None, 0_u64);
    while read < messages {
        let batch = reader.read().await.unwrap();
        if batch.messages.is_empty() {
            continue;
        }
        began.get_or_insert_with(Instant::now);
        read += batch.messages.len() as u64;
        reader.acknowledge(batch.receipt).await.unwrap();
    }
    let measured = MeasuredReader { seconds: began.unwrap().elapsed().as_secs_f64(), cpu: cpu(own) - before };
    reader.close().await.unwrap();
    measured
}

/// A server that reads the topic into its log.
fn into_log(cluster: &KafkaCluster, topic: &str, messages: u64) -> MeasuredReader {
    let workspace = Workspace::new();
    let (brokers, group) = (cluster.brokers(), unique("into-log"));
    let source = format!(
        "kind: kafka\nbrokers: {brokers}\ntopics: [{topic}]\ngroup: {group}\nformat: json\n\
         mapping: {{event: Ordered, userId: /user}}\n"
    );
    workspace.write("sources/orders.yaml", &source);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let (before, deadline, mut began) = (cpu(server.pid()), Instant::now() + PATIENCE, None);
    loop {
        let stream = admin.get("/api/v1/sources/orders/stream");
        let acknowledged = stream["messages"].as_u64().unwrap();
        if acknowledged > 0 || stream["in_flight"].as_u64() > Some(0) {
            began.get_or_insert_with(Instant::now);
        }
        if acknowledged >= messages {
            break;
        }
        assert!(Instant::now() < deadline, "not everything was read: {stream}");
        std::thread::park_timeout(PAUSE);
    }
    let measured =
        MeasuredReader { seconds: began.unwrap_or(deadline).elapsed().as_secs_f64(), cpu: cpu(server.pid()) - before };
    server.stop();
    measured
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (messages, rounds) = (numbers.first().copied().unwrap_or(300_000), numbers.get(1).copied().unwrap_or(3));
    let cluster = match KafkaCluster::shared() {
        Ok(cluster) => cluster,
        Err(lack) => {
            println!("skipped: {lack}");
            return;
        }
    };
    let mut client = cluster.client();
    let topic = client.topic("bench");
    client.produce(&topic, 0..messages, json!({}));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut of_time, mut of_cpu) = (Vec::new(), Vec::new());
    println!("{messages} messages, {rounds} rounds");
    for _ in 0..rounds {
        let alone = runtime.block_on(client_alone(cluster, &topic, messages));
        alone.print("the client by itself", messages);
        let logged = into_log(cluster, &topic, messages);
        logged.print("a server, into its log", messages);
        let other = client.ask(&json!({"do": "pass", "topic": topic}));
        let figure = |name: &str| other[name].as_f64().unwrap();
        MeasuredReader { seconds: figure("seconds"), cpu: figure("cpu") }.print("librdkafka by itself", messages);
        of_time.push(alone.seconds / logged.seconds);
        of_cpu.push(alone.cpu / logged.cpu);
    }
    println!(
        "of the client by itself: {:.2} of its messages a second, {:.2} of its messages a core (medians)",
        median(of_time),
        median(of_cpu)
    );
}
