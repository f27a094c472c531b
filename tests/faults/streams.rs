//! SIGKILL of the server and of Kafka's brokers, again and again, while messages stream in and the same events stream out: each message is one row
//! of the warehouse and one message of the topic that they go out to, and those of a user stay in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{ServerProcess, log_file};
use crate::support::Workspace;
use crate::support::kafka::{KafkaClient, KafkaCluster};
use crate::{Dice, Found, Plan, pass};

const PER_SECOND: u64 = 3_000;
/// Produced at once, so that an end is heard of soon.
const CHUNK: u64 = 3_000;
/// Until everything has come through after the last kill.
const DRAIN_MAX: Duration = Duration::from_secs(600);
const GROUP: &str = "tidegate-orders";

pub fn run(plan: &Plan) -> Found {
    let cluster = match KafkaCluster::shared() {
        Ok(cluster) => cluster,
        Err(lack) => {
            tidegate_warehouse_suite::skipped("faults: streams", &lack);
            return Found { notes: vec![format!("skipped: {lack}")], ..Found::default() };
        }
    };
    let mut story = StreamStory::new(cluster);
    if let Err(said) = story.go(cluster, plan) {
        story.found.broken += 1;
        story.found.notes.push(said);
    }
    let StreamStory { workspace, mut found, .. } = story;
    if !found.is_clean() {
        let kept = workspace.dir.keep();
        found.notes.push(format!("kept: {} (its log: {})", kept.display(), log_file(&kept.join("w")).display()));
    }
    found
}

struct StreamStory {
    workspace: Workspace,
    client: KafkaClient,
    /// Where messages come from, and where they go to.
    topics: [String; 2],
    found: Found,
}

impl StreamStory {
    fn new(cluster: &KafkaCluster) -> Self {
        let (workspace, mut client) = (Workspace::new(), cluster.client());
        let topics = ["faults-in", "faults-out"].map(|name| client.topic(name));
        let (brokers, [from, to]) = (cluster.brokers(), &topics);
        let source = format!(
            "kind: kafka\nbrokers: {brokers}\ntopics: [{from}]\nformat: json\nmapping: {{event: Ordered, userId: /user}}\n"
        );
        workspace.write("sources/orders.yaml", &source);
        workspace.write("syncs/orders.yaml", "source: orders\ndestination: warehouse\nschema: orders\n");
        workspace.write("destinations/bus.yaml", &format!("kind: kafka\nbrokers: {brokers}\ntopic: {to}\n"));
        workspace.write("syncs/orders-to-bus.yaml", "source: orders\ndestination: bus\n");
        Self { workspace, client, topics, found: Found::default() }
    }

    fn go(&mut self, cluster: &KafkaCluster, plan: &Plan) -> Result<(), String> {
        let mut dice = Dice::new(plan.seed);
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, topic, mut producing) = (Arc::clone(&is_over), self.topics[0].clone(), cluster.client());
        let producer = std::thread::spawn(move || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                producing.produce(&topic, sent..sent + CHUNK, serde_json::json!({ "per_second": PER_SECOND }));
                sent += CHUNK;
            }
            sent
        });
        let killed = self.kills(cluster, &mut dice, plan.stream_kills);
        is_over.store(true, Ordering::Relaxed);
        let sent: u64 = producer.join().map_err(|_| "the producer has failed".to_owned())?;
        let (mut server, brokers) = killed?;
        self.found.acked = sent;
        let began = Instant::now();
        loop {
            let lag = self.client.lag(GROUP, &self.topics[0]);
            let status = self.workspace.status();
            let syncs = ["orders", "orders-to-bus"].map(|sync| status["syncs"][sync]["lag"].clone());
            if lag == 0 && syncs.iter().all(|lag| *lag == 0) {
                break;
            }
            if server.has_ended() || began.elapsed() > DRAIN_MAX {
                return Err(format!("not everything came through: {lag} were not read, the syncs lag by {syncs:?}"));
            }
            pass(Duration::from_millis(200));
        }
        let drained = began.elapsed();
        if server.stop(Duration::from_secs(30)).is_none() {
            return Err("the server does not stop".to_owned());
        }
        crate::soak::conserves(&self.workspace, &mut self.found);
        self.judge_rows(sent);
        self.judge_messages(sent)?;
        let notes = &mut self.found.notes;
        notes.push(format!(
            "{} kills, {brokers} of them of brokers; what was left came through in {:.1} s",
            plan.stream_kills,
            drained.as_secs_f64()
        ));
        Ok(())
    }

    /// Kills; answers the server that runs after the last kill, and how many brokers were killed.
    fn kills(&mut self, cluster: &KafkaCluster, dice: &mut Dice, kills: u64) -> Result<(ServerProcess, u64), String> {
        let path = self.workspace.path();
        let mut server = ServerProcess::start(&path, "")?;
        let mut brokers = 0;
        for kill in 0..kills {
            pass(dice.millis(500, 4_000));
            // Every third is one of a broker, and the server may die while it is away.
            if kill % 3 == 2 {
                let number = u8::try_from(dice.between(1, 4)).unwrap_or(1);
                let dead = cluster.kill_broker(number);
                brokers += 1;
                pass(dice.millis(500, 8_000));
                if dice.between(0, 2) == 0 {
                    server.kill_at_once();
                    server = ServerProcess::start(&path, "")?;
                }
                drop(dead);
            } else {
                server.kill_at_once();
                server = ServerProcess::start(&path, "").map_err(|said| format!("kill {kill}: {said}"))?;
            }
        }
        Ok((server, brokers))
    }

    /// Each message is one row.
    fn judge_rows(&mut self, sent: u64) {
        let warehouse = self.workspace.warehouse();
        for table in ["orders__ordered", "orders__tracks"] {
            let told = warehouse.rows(&format!("SELECT count(*), count(DISTINCT id) FROM {table}"));
            let mut numbers = told[0].split('|').filter_map(|number| number.parse::<u64>().ok());
            let (rows, ids) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            self.found.double += rows - ids;
            self.found.lost += sent.saturating_sub(ids);
            self.found.broken += ids.saturating_sub(sent);
        }
        // Every order's other values follow from its number.
        let altered = "SELECT count(*) FROM orders__ordered WHERE big <> 9007199254740993 + 2 * n OR user_id <> 'user-' || (n % 50)";
        self.found.altered += warehouse.rows(altered)[0].parse::<u64>().unwrap_or(1);
        let quarantined = self.workspace.quarantined();
        if !quarantined.is_empty() {
            self.found.broken += 1;
            self.found.notes.push(format!("{} messages were quarantined", quarantined.len()));
        }
    }

    /// Each message went out once, those of a user in order.
    fn judge_messages(&mut self, sent: u64) -> Result<(), String> {
        let mut ids: HashSet<String> = HashSet::new();
        let mut last: HashMap<String, u64> = HashMap::new();
        for message in self.client.read(&self.topics[1]) {
            let text = message["value"].as_str().unwrap_or_default();
            let event: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {message}"))?;
            let id = event["messageId"].as_str().unwrap_or_default().to_owned();
            let (user, n) = (event["userId"].as_str().unwrap_or_default(), event["properties"]["n"].as_u64());
            let n = n.ok_or_else(|| format!("an event has no number: {event}"))?;
            if !ids.insert(id) {
                self.found.double += 1;
                continue;
            }
            if last.insert(user.to_owned(), n).is_some_and(|before| before >= n) {
                self.found.broken += 1;
                self.found.notes.truncate(20);
                self.found.notes.push(format!("an event of {user} came after a later one: {event}"));
            }
        }
        self.found.lost += sent.saturating_sub(ids.len() as u64);
        Ok(())
    }
}
