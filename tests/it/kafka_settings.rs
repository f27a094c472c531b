//! What is wrong with the settings of a Kafka source is told with its file, its line and what to do.

use serde_json::Value;

use crate::support::{Workspace, run, tidegate};

const SECRET: &str = "s3cr3t-w0rd";

#[track_caller]
fn told(text: &str) -> Vec<Value> {
    let workspace = Workspace::new();
    workspace.write("sources/orders.yaml", &format!("kind: kafka\n{text}"));
    workspace.write("syncs/orders.yaml", "source: orders\ndestination: warehouse\nschema: orders\n");
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["problems"].as_array().cloned().unwrap_or_default()
}

#[test]
fn what_is_wrong_with_a_kafka_source_is_told_with_its_line() {
    let whole = "brokers: [kafka:9092]\ntopics: [orders]\n";
    for (text, line, words, fix) in [
        ("topics: [orders]\n".to_owned(), 1, "nothing says how the cluster is reached", "brokers: ["),
        ("brokers: []\ntopics: [orders]\n".to_owned(), 2, "nothing says how the cluster is reached", "brokers: ["),
        ("brokers: [kafka]\ntopics: [orders]\n".to_owned(), 2, "\"kafka\", which is no host and port", "brokers: ["),
        ("brokers:\n  - a:9092\n  - kafka://b:9092\ntopics: a\n".to_owned(), 4, "no host and port", "brokers: ["),
        ("brokers: [kafka:9092]\n".to_owned(), 1, "nothing says which topics", "topic_pattern"),
        (format!("{whole}topic_pattern: a.*\n"), 4, "are both there", "take one of them away"),
        ("brokers: [kafka:9092]\ntopics: [\"orders-*\"]\n".to_owned(), 3, "no name of a topic", "topic_pattern"),
        ("brokers: [kafka:9092]\ntopic_pattern: \"(\"\n".to_owned(), 3, "no regular expression", "orders-.*"),
        (format!("{whole}group: \"\"\n"), 4, "`group` has 0 characters", "tidegate-orders"),
        (format!("{whole}start: newest\n"), 4, "`start` is \"newest\"", "earliest"),
        (format!("{whole}tls: {{ca: nowhere.pem}}\n"), 4, "nowhere.pem", "PEM file of certificates"),
        (format!("{whole}tls: {{certificate: c.pem}}\n"), 4, "without `key`", "add `key`"),
        (format!("{whole}sasl: {{user: u}}\n"), 4, "`sasl.mechanism` is missing", "scram-sha-512"),
        (format!("{whole}sasl: {{mechanism: kerberos}}\n"), 4, "`sasl.mechanism` is \"kerberos\"", "plain"),
        (format!("{whole}sasl: {{mechanism: plain, user: u}}\n"), 4, "`sasl.password` is missing", "KAFKA_PASSWORD"),
        (
            format!("{whole}sasl: {{mechanism: oauthbearer, token: {SECRET}, token_url: \"https://a\"}}\n"),
            4,
            "are both there",
            "take one of them away",
        ),
        (
            format!("{whole}sasl: {{mechanism: oauthbearer, token_url: a, client_id: b, client_secret: {SECRET}}}\n"),
            4,
            "which is no URL",
            "https://",
        ),
        (format!("{whole}topik: a\n"), 4, "`topik` is not known", "topic"),
    ] {
        let problems = told(&text);
        let problem = problems.first().unwrap_or_else(|| panic!("nothing is told of {text}"));
        let said = |field: &str| problem[field].as_str().unwrap();
        assert!(said("file").ends_with("sources/orders.yaml") && problem["line"] == line, "{text} {problems:#?}");
        assert!(said("message").contains(words) && said("fix").contains(fix), "{text} {problems:#?}");
        assert!(!problems.iter().any(|problem| problem.to_string().contains(SECRET)), "{problems:#?}");
    }
}

#[test]
fn a_kafka_source_with_all_its_settings_is_right() {
    let text = format!(
        "brokers: [\"a:9092\", \"[::1]:9093\"]\ntopic_pattern: \"orders-.*\"\ngroup: shop\nstart: latest\ntls: true\n\
         sasl: {{mechanism: scram-sha-256, user: tidegate, password: {SECRET}}}\n"
    );
    assert_eq!(told(&text), Vec::<Value>::new());
}

#[test]
fn what_net_says_counts_for_streams_as_for_destinations() {
    let token = "token_url: \"https://login/token\", client_id: a, client_secret: b";
    let streams = [
        (
            "orders",
            format!(
                "kind: kafka\nbrokers: [kafka:9092]\ntopics: [orders]\ntls: true\nsasl: {{mechanism: oauthbearer, {token}}}\n"
            ),
        ),
        ("clicks", "kind: kinesis\nstream: clicks\nregion: eu-west-1\n".to_owned()),
        ("pushes", "kind: pubsub\nproject: shop\nsubscription: pushes\nendpoint: 127.0.0.1:8085\n".to_owned()),
    ];
    let workspace = Workspace::new();
    for (name, text) in &streams {
        workspace.write(&format!("sources/{name}.yaml"), text);
        let sync = format!("source: {name}\ndestination: warehouse\nschema: {name}\n");
        workspace.write(&format!("syncs/{name}.yaml"), &sync);
    }
    let problems = || {
        let mut check = tidegate();
        check.args(["check", workspace.path().to_str().unwrap(), "--json"]).env("HTTPS_PROXY", "socks5://proxy");
        let answer: Value = serde_json::from_slice(&check.output().unwrap().stdout).unwrap();
        answer["problems"].as_array().cloned().unwrap_or_default()
    };
    let found = problems();
    for (name, _) in &streams {
        let file = format!("sources/{name}.yaml");
        let is_told = |problem: &Value| {
            let said = |field: &str| problem[field].as_str().unwrap().to_owned();
            said("file").ends_with(&file) && said("message").contains("HTTPS_PROXY")
        };
        assert!(found.iter().any(is_told), "{name}: {found:#?}");
    }
    workspace.append("tidegate.yaml", "net:\n  proxy: none\n");
    assert_eq!(problems(), Vec::<Value>::new());
}

#[test]
fn a_source_that_reads_what_its_own_sync_writes_is_noted() {
    let workspace = Workspace::new();
    workspace.write("sources/orders.yaml", "kind: kafka\nbrokers: [\"a:9092\", \"b:9092\"]\ntopic_pattern: \".*\"\n");
    workspace
        .write("destinations/bus.yaml", "kind: kafka\nbrokers: [\"b:9092\"]\ntopic: events\nledger_topic: ledgers\n");
    workspace.write("syncs/bus.yaml", "source: orders\ndestination: bus\n");
    let notes = || {
        let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["problems"], serde_json::json!([]), "{answer:#}");
        answer["notes"].as_array().cloned().unwrap_or_default()
    };
    let noted = notes();
    for (file, words) in
        [("syncs/bus.yaml", "which its own source orders reads"), ("sources/orders.yaml", "the ledger of")]
    {
        let fits = |note: &&Value| note["file"].as_str().unwrap().ends_with(file);
        let note = noted.iter().find(fits).unwrap_or_else(|| panic!("{file} in {noted:#?}"));
        assert!(note["message"].as_str().unwrap().contains(words), "{note}");
    }
    workspace.write("destinations/bus.yaml", "kind: kafka\nbrokers: [\"c:9092\"]\ntopic: events\n");
    assert_eq!(notes(), Vec::<Value>::new(), "another cluster");
}
