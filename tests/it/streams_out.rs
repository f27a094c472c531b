//! Events that go out to Kafka: the brokers are in this process, the server is another.

use std::collections::HashMap;

use krafka::testing::FakeBroker;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::http::{basic, try_request};
use crate::support::waiting::until;
use crate::support::{Workspace, run};

const SYNC: &str = "source: web\ndestination: kafka\nbatch: {events_max: 20, age_max: 5 ms}\n";

/// A cluster of two brokers, with the topic `events-web`.
struct InnerBrokers {
    broker: FakeBroker,
    /// The brokers run on it.
    _runtime: Runtime,
}

impl InnerBrokers {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let broker = runtime.block_on(FakeBroker::start_cluster(2)).unwrap();
        assert!(broker.create_topic("events-web", 3));
        Self { broker, _runtime: runtime }
    }

    /// A workspace with a sync to them; the destination says this as well.
    fn workspace(&self, more: &str) -> Workspace {
        let workspace = Workspace::new();
        let brokers = self.broker.bootstrap_servers();
        workspace.write(
            "destinations/kafka.yaml",
            &format!("kind: kafka\nbrokers: [\"{}\"]\n{more}", brokers.replace(',', "\", \"")),
        );
        workspace.write("syncs/web-kafka.yaml", SYNC);
        workspace
    }

    /// The key and the event of each message that counts, in the order of its partition.
    fn messages(&self, topic: &str) -> Vec<(String, Value)> {
        let records = self.broker.committed_records(topic).unwrap();
        let key = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        records
            .iter()
            .map(|record| {
                (key(record.key.as_ref().unwrap()), serde_json::from_slice(record.value.as_ref().unwrap()).unwrap())
            })
            .collect()
    }
}

fn track(number: u64) -> Value {
    let user = format!("u{}", number % 5);
    json!({"type": "track", "event": "Order", "messageId": format!("m{number}"), "userId": user, "properties": {"n": number}})
}

/// Each event is there once, and those of a user in order.
fn assert_each_once(messages: &[(String, Value)], count: u64) {
    let mut of_users: HashMap<&str, Vec<u64>> = HashMap::new();
    for (key, event) in messages {
        assert_eq!(event["userId"], **key);
        of_users.entry(key).or_default().push(event["properties"]["n"].as_u64().unwrap());
    }
    for (user, numbers) in &of_users {
        assert!(numbers.is_sorted_by(|one, next| one < next), "{user}: {numbers:?}");
    }
    assert_eq!(messages.len() as u64, count);
}

#[test]
fn events_go_out_as_they_are_under_the_key_of_their_user() {
    let brokers = InnerBrokers::start();
    let workspace = brokers.workspace("headers: {kind: \"{type}\", plan: \"{properties.plan}\"}\n");
    let server = workspace.serve();
    let body = r#"{"batch":[{"type":"track","event":"Paid","messageId":"m","anonymousId":"a","properties":{"total":19.90,"id":9007199254740993}}]}"#;
    assert_eq!(server.post("/v1/batch", body).status, 200);
    server.stop();
    let records = brokers.broker.committed_records("events-web").unwrap();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.key.as_deref(), Some(&b"a"[..]));
    let text = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap();
    assert!(text.contains(r#""total":19.90"#) && text.contains(r#""id":9007199254740993"#), "{text}");
    let headers: Vec<(&str, &[u8])> =
        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default())).collect();
    assert_eq!(headers, [("kind", &b"track"[..])], "what an event has nothing for is left out");
}

/// The server dies at the fail point, and the next one goes on.
fn died_at(failpoint: &str) {
    let brokers = InnerBrokers::start();
    let workspace = brokers.workspace("");
    let mut server = workspace.serve_with(&[failpoint]);
    let events: Vec<Value> = (0..200).map(track).collect();
    // The first two transactions go through.
    for (part, sent) in (1..=2).zip(events.chunks(20)) {
        assert_eq!(server.batch(sent).status, 200);
        until("they are there", || brokers.messages("events-web").len() >= part * 20);
    }
    let body = json!({ "batch": events[40..] }).to_string();
    // It may be gone before it answers; what it delivers is in the log by then.
    let _ =
        try_request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(&server.key))], body.as_bytes());
    assert!(!server.wait().success(), "it reaches the fail point");
    let server = workspace.serve();
    until("all events are there", || brokers.messages("events-web").len() >= 200);
    server.stop();
    assert_each_once(&brokers.messages("events-web"), 200);
}

#[test]
fn killed_before_the_transaction_is_committed_each_event_is_there_once() {
    died_at("stream_before_commit=2*off->return");
}

#[test]
fn killed_after_the_transaction_is_committed_each_event_is_there_once() {
    died_at("stream_after_commit=2*off->return");
}

/// Of four events, whose `properties.place` says where they go, the second has a place where nothing can go and the third has none. Those
/// two are quarantined.
#[track_caller]
pub fn quarantines_what_has_no_place(workspace: &Workspace, (right, wrong): (&str, &str)) {
    let server = workspace.serve();
    let event =
        |id: &str, properties: Value| json!({"type": "track", "event": "E", "messageId": id, "properties": properties});
    let events = [
        event("a", json!({ "place": right })),
        event("b", json!({ "place": wrong })),
        event("c", json!({})),
        event("d", json!({ "place": right })),
    ];
    assert_eq!(server.batch(&events).status, 200);
    server.stop();
    let mut codes = workspace.quarantined();
    codes.sort_unstable();
    assert_eq!(codes, ["message_refused", "no_topic"]);
}

#[test]
fn an_event_whose_topic_no_carrier_could_have_is_quarantined_and_its_neighbours_arrive() {
    let brokers = InnerBrokers::start();
    let workspace = brokers.workspace("topic: \"events-{properties.place}\"\n");
    quarantines_what_has_no_place(&workspace, ("web", "no such place"));
    let mut ids: Vec<String> = brokers
        .messages("events-web")
        .iter()
        .map(|(_, event)| event["messageId"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a", "d"]);
}

#[test]
fn a_check_says_what_is_wrong_with_the_file_and_what_the_brokers_have() {
    let brokers = InnerBrokers::start();
    let workspace = brokers.workspace("topic: events-web\n");
    let path = workspace.path();
    let check = |more: &[&str]| {
        let output = run(&[&["check", path.to_str().unwrap(), "--json"], more].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };
    let (code, answer) = check(&["--connect"]);
    assert_eq!(code, Some(0), "{answer:#}");
    assert!(answer.to_string().contains("the topic events-web has 3 partitions"), "{answer:#}");
    let wrong =
        "kind: kafka\nbrokers: [b1:9092]\ntopic: \"events-{source\"\nkey: orders\npartitions: 0\ncompression: zip\n";
    workspace.write("destinations/kafka.yaml", wrong);
    workspace.write("syncs/web-kafka.yaml", "source: web\ndestination: kafka\nschema: shop\n");
    let (code, answer) = check(&[]);
    assert_eq!(code, Some(3), "{answer:#}");
    let problems = answer["problems"].as_array().unwrap();
    for (line, words) in [(3, "not closed"), (4, "the same for all"), (5, "partitions"), (6, "compression")] {
        let fits = |problem: &&Value| problem["line"] == line && problem["message"].as_str().unwrap().contains(words);
        assert!(problems.iter().any(|problem| fits(&problem)), "{line}: {words}: {answer:#}");
    }
}

#[test]
fn two_syncs_have_no_ledger_together() {
    let workspace = Workspace::new();
    let kafka = "kind: kafka\nbrokers: [\"127.0.0.1:1\"]\n";
    workspace.write("destinations/kafka.yaml", kafka);
    workspace.write("syncs/staging-web.yaml", "source: web\ndestination: kafka\n");
    workspace.write("syncs/web.yaml", "source: web\ndestination: other\n");
    let checked = |ledger: &str| {
        workspace.write("destinations/other.yaml", &format!("{kafka}ledger: {ledger}\n"));
        let output = run(&["check", workspace.path().to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // The name of each would be `tidegate-staging-web`.
    let (code, said) = checked("tidegate-staging");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("syncs/web.yaml") && said.contains("sync staging-web have one ledger"), "{said}");
    let (code, said) = checked("staging");
    assert_eq!(code, Some(0), "{said}");
}
