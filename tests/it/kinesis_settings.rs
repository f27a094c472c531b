//! What is wrong with the settings of a Kinesis source or destination is told with its file, its line and what to do.

use serde_json::Value;

use crate::support::{Workspace, run};

const SECRET: &str = "s3cr3t-w0rd";
const KEYS: &str = "access_key_id: AKID\nsecret_access_key: s3cr3t-w0rd\n";

#[track_caller]
fn told(file: &str, text: &str) -> Vec<Value> {
    let workspace = Workspace::new();
    workspace.write(file, &format!("kind: kinesis\n{text}"));
    let sync = if file.starts_with("sources/") {
        "source: orders\ndestination: warehouse\nschema: orders\n"
    } else {
        "source: web\ndestination: orders\n"
    };
    workspace.write("syncs/orders.yaml", sync);
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["problems"].as_array().cloned().unwrap_or_default()
}

#[test]
fn what_is_wrong_with_kinesis_is_told_with_its_line() {
    let (source, destination) = ("sources/orders.yaml", "destinations/orders.yaml");
    for (file, text, line, words, fix) in [
        (source, format!("region: eu-west-1\n{KEYS}"), 1, "`stream` is missing", "stream: orders"),
        (source, format!("stream: \"a b\"\nregion: eu-west-1\n{KEYS}"), 2, "no name of a stream", "ARN"),
        (source, format!("stream: a\nregion: \"eu west\"\n{KEYS}"), 3, "`region` is \"eu west\"", "eu-west-1"),
        (source, format!("stream: a\nendpoint: \"127.0.0.1:4566\"\n{KEYS}"), 3, "which is no address", "http://"),
        (source, "stream: a\nregion: x\naccess_key_id: AKID\n".to_owned(), 1, "without `secret_access_key`", "add"),
        (source, format!("stream: a\nregion: x\n{KEYS}profile: p\n"), 6, "are both there", "take one of them away"),
        (source, format!("stream: a\nregion: x\nstart: newest\n{KEYS}"), 4, "`start` is \"newest\"", "earliest"),
        (destination, format!("topic: \"a b\"\nregion: x\n{KEYS}"), 2, "no name of a stream", "up to 128"),
        (destination, format!("region: x\nheaders: {{a: \"{{event}}\"}}\n{KEYS}"), 3, "have none", "take it away"),
    ] {
        let problems = told(file, &text);
        let problem = problems.first().unwrap_or_else(|| panic!("nothing is told of {text}"));
        let said = |field: &str| problem[field].as_str().unwrap();
        assert!(said("file").ends_with(file) && problem["line"] == line, "{text} {problems:#?}");
        assert!(said("message").contains(words) && said("fix").contains(fix), "{text} {problems:#?}");
        assert!(!problems.iter().any(|problem| problem.to_string().contains(SECRET)), "{problems:#?}");
    }
}

#[test]
fn kinesis_with_all_its_settings_is_right() {
    let place = format!("region: eu-west-1\nendpoint: \"http://127.0.0.1:4566\"\n{KEYS}session_token: {SECRET}\n");
    assert_eq!(told("sources/orders.yaml", &format!("stream: orders\nstart: latest\n{place}")), Vec::<Value>::new());
    assert_eq!(told("destinations/orders.yaml", &format!("topic: bus\n{place}")), Vec::<Value>::new());
}

#[test]
fn what_is_wrong_with_leases_is_told_with_its_line() {
    for (text, line, words, fix) in [
        ("{schema: tidegate}", 2, "`leases.url` is missing", "url: "),
        ("{url: \"postgres://u:s3cr3t-w0rd@h:x/d\"}", 2, "no address of a PostgreSQL database", "postgres://"),
        ("{url: \"host=h user=u password=s3cr3t-w0rd sslmode=verify-full\"}", 2, "not supported", "sslmode=require"),
        ("{url: \"postgres://u@h/d\", time: 1 s}", 2, "`leases.time` is not from 3 s", "time: 20 s"),
        ("{url: \"postgres://u@h/d\", lease: 20 s}", 2, "lease", ""),
    ] {
        let workspace = Workspace::new();
        workspace.write("tidegate.yaml", &format!("listen: 127.0.0.1:0\nleases: {text}\n"));
        let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let problem = &answer["problems"][0];
        let said = |field: &str| problem[field].as_str().unwrap_or_default();
        assert!(said("file").ends_with("tidegate.yaml") && problem["line"] == line, "{text} {answer:#}");
        assert!(said("message").contains(words) && said("fix").contains(fix), "{text} {answer:#}");
        assert!(!answer.to_string().contains(SECRET), "{answer:#}");
    }
}
