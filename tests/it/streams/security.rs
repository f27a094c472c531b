//! Kafka over TLS with passwords, certificates and tokens: who is trusted, who is let in, and that no message has a secret in it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{MAPPING, StreamWorkspace, kafka};
use crate::support::far::{Act, Far};
use crate::support::kafka::{KAFKA_PASSWORD, KAFKA_USER, KafkaCluster};
use crate::support::run;

const WRONG: &str = "another-p@ss-of-streams";

fn source(cluster: &KafkaCluster, topic: &str, (tls, mechanism, password): (&str, &str, &str)) -> String {
    format!(
        "kind: kafka\nbrokers: {}\ntopics: [{topic}]\ngroup: {topic}-{mechanism}\ntls: {tls}\n\
         sasl: {{mechanism: {mechanism}, user: {KAFKA_USER}, password: {password}}}\nformat: json\n{MAPPING}",
        cluster.secure_brokers()
    )
}

/// What `check --connect` says: whether all is well, and everything that it printed.
fn check(streams: &StreamWorkspace) -> (bool, String) {
    let output = run(&["check", streams.workspace.path().to_str().unwrap(), "--connect", "--json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[test]
fn a_topic_is_read_over_tls_with_a_password_and_a_wrong_one_is_said_without_being_shown() {
    let Some(cluster) = kafka("TLS and SCRAM") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("secure");
    client.produce(&topic, 0..1_000, json!({}));
    std::fs::copy(cluster.ca_file(), streams.workspace.path().join("ca.pem")).unwrap();
    let trusted = "{ca: ca.pem}";
    // Nobody vouches for the brokers; a wrong password; and the right one, by either mechanism.
    streams.source("orders", &source(cluster, &topic, ("true", "scram-sha-512", KAFKA_PASSWORD)));
    let (is_well, said) = check(&streams);
    assert!(!is_well && said.contains("certificate"), "{said}");
    streams.source("orders", &source(cluster, &topic, (trusted, "scram-sha-512", WRONG)));
    let (is_well, said) = check(&streams);
    assert!(!is_well && said.contains("password") && said.contains("sasl"), "{said}");
    assert!(!said.contains(WRONG), "the password is in what check says");
    let log = streams.workspace.dir.path().join("server.log");
    let server = streams.workspace.serve_logging(&[], &["--log", "trace"], &log);
    let stream =
        streams.wait_for(&server, "orders", "it says that it is not let in", |stream| stream["error"].is_string());
    let error = stream["error"].as_str().unwrap();
    assert!(error.contains("password") && !error.contains(WRONG), "{error}");
    assert_eq!(stream["messages"], 0);
    server.stop();
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(!logged.contains(WRONG), "the password is in the log of the server");

    streams.source("orders", &source(cluster, &topic, (trusted, "scram-sha-512", KAFKA_PASSWORD)));
    let (is_well, said) = check(&streams);
    assert!(is_well && said.contains(&topic), "{said}");
    streams.takes_each_order_once("orders", 1_000);
    streams.source("again", &source(cluster, &topic, (trusted, "scram-sha-256", KAFKA_PASSWORD)));
    streams.takes_each_order_once("again", 1_000);
}

#[test]
fn a_password_that_is_sent_as_it_is_lets_in_over_tls() {
    let Some(cluster) = kafka("PLAIN") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("plain");
    client.produce(&topic, 0..500, json!({}));
    std::fs::copy(cluster.ca_file(), streams.workspace.path().join("ca.pem")).unwrap();
    streams.source("orders", &source(cluster, &topic, ("{ca: ca.pem}", "plain", WRONG)));
    let (is_well, said) = check(&streams);
    assert!(!is_well && said.contains("password") && !said.contains(WRONG), "{said}");
    streams.source("orders", &source(cluster, &topic, ("{ca: ca.pem}", "plain", KAFKA_PASSWORD)));
    streams.takes_each_order_once("orders", 500);
}

#[test]
fn a_client_is_let_in_by_its_certificate_and_by_nothing_else() {
    let Some(cluster) = kafka("client certificates") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("mutual");
    client.produce(&topic, 0..500, json!({}));
    let [certificate, key] = cluster.client_identity();
    for (file, name) in [(cluster.ca_file(), "ca.pem"), (certificate, "client.pem"), (key, "client.key")] {
        std::fs::copy(file, streams.workspace.path().join(name)).unwrap();
    }
    let brokers = cluster.mutual_brokers();
    let source = |tls: &str| {
        format!(
            "kind: kafka\nbrokers: {brokers}\ntopics: [{topic}]\ngroup: {topic}\ntls: {tls}\nformat: json\n{MAPPING}"
        )
    };
    streams.source("orders", &source("{ca: ca.pem}"));
    let (is_well, said) = check(&streams);
    assert!(!is_well, "{said}");
    streams.source("orders", &source("{ca: ca.pem, certificate: client.pem, key: client.key}"));
    let (is_well, said) = check(&streams);
    assert!(is_well && said.contains(&topic), "{said}");
    streams.takes_each_order_once("orders", 500);
}

/// Gives tokens to whoever shows the secret; Kafka's own check of tokens without a signature takes them.
fn token_endpoint(secret: &str) -> Far {
    let login = format!("Basic {}", STANDARD.encode(format!("tidegate:{secret}")));
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    // Until 2100.
    let (head, claims) = (part(json!({"alg": "none"})), part(json!({"sub": KAFKA_USER, "exp": 4_102_444_800_u64})));
    let token = format!("{head}.{claims}.");
    Far::new(move |received| {
        let is_right = received.header("authorization") == Some(login.as_str())
            && received.method == "POST"
            && received.text() == "grant_type=client_credentials&scope=kafka";
        let (status, body) = match is_right {
            true => (200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600})),
            false => (401, json!({"error": "invalid_client"})),
        };
        Act::Reply(status, vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes())
    })
}

#[test]
fn a_token_of_an_endpoint_lets_in_and_one_that_gives_none_is_named() {
    let Some(cluster) = kafka("OAUTHBEARER") else { return };
    let streams = StreamWorkspace::new();
    let mut client = cluster.client();
    let topic = client.topic("token");
    client.produce(&topic, 0..500, json!({}));
    std::fs::copy(cluster.ca_file(), streams.workspace.path().join("ca.pem")).unwrap();
    let right = "s3cret-of-the-client";
    let endpoint = token_endpoint(right);
    let (url, brokers) = (endpoint.origin(), cluster.secure_brokers());
    let source = |sasl: &str| {
        format!(
            "kind: kafka\nbrokers: {brokers}\ntopics: [{topic}]\ngroup: {topic}\ntls: {{ca: ca.pem}}\n\
             sasl: {{mechanism: oauthbearer, {sasl}}}\nformat: json\n{MAPPING}"
        )
    };
    let asked = |secret: &str| {
        source(&format!("token_url: \"{url}/token\", client_id: tidegate, client_secret: {secret}, scope: kafka"))
    };
    streams.source("orders", &asked(WRONG));
    let (is_well, said) = check(&streams);
    assert!(!is_well && said.contains("invalid_client") && !said.contains(WRONG), "{said}");
    // A token that stays, and that no broker takes.
    streams.source("orders", &source("token: no-token-at-all"));
    let (is_well, said) = check(&streams);
    assert!(!is_well && !said.contains("no-token-at-all"), "{said}");
    streams.source("orders", &asked(right));
    let (is_well, said) = check(&streams);
    assert!(is_well && said.contains(&topic), "{said}");
    streams.takes_each_order_once("orders", 500);
    assert!(endpoint.seen().iter().all(|received| received.path == "/token"));
}

#[test]
fn check_says_which_topic_or_broker_is_not_there() {
    let Some(cluster) = kafka("check --connect") else { return };
    let streams = StreamWorkspace::new();
    let topic = cluster.client().topic("checked");
    let settings = |brokers: &str, topic: &str| format!("kind: kafka\nbrokers: {brokers}\ntopics: [{topic}]\n");
    streams.source("orders", &settings(&cluster.brokers(), &topic));
    let (is_well, said) = check(&streams);
    assert!(is_well && said.contains(&topic), "{said}");
    streams.source("orders", &settings(&cluster.brokers(), "nobody-made-it"));
    let (is_well, said) = check(&streams);
    assert!(!is_well && said.contains("nobody-made-it"), "{said}");
    streams.source("orders", &settings("[127.0.0.1:1]", &topic));
    let (is_well, said) = check(&streams);
    assert!(!is_well && said.contains("127.0.0.1:1"), "{said}");
    // Nothing was read: the group is unknown to the brokers.
    assert_eq!(cluster.client().members("tidegate-orders"), 0);
}
