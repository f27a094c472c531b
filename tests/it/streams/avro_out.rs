//! Events go out to Kafka as Avro: the registry's own library reads them, and what does not fit the schema is told by its field.

use serde_json::{Value, json};

use super::kafka;
use super::out::{has_each_once_in_order, send, to_topic, wait_for_end};
use crate::support::registry::RegistryDouble;
use crate::support::waiting::seldom;

const SCHEMA: &str = r#"{"type": "record", "name": "Event", "namespace": "tests", "fields": [
  {"name": "messageId", "type": "string"},
  {"name": "type", "type": "string"},
  {"name": "event", "type": ["null", "string"], "default": null},
  {"name": "userId", "type": ["null", "string"], "default": null},
  {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
  {"name": "receivedAt", "type": {"type": "long", "logicalType": "timestamp-micros"}},
  {"name": "context", "type": ["null", "string"], "default": null},
  {"name": "properties", "type": {"type": "record", "name": "Bought", "fields": [
    {"name": "n", "type": "long"},
    {"name": "big", "type": "long"},
    {"name": "note", "type": ["null", "string"], "default": null}
  ]}}
]}"#;

fn settings(registry: &RegistryDouble, more: &str) -> String {
    let url = registry.url();
    format!("format: avro\nschema: {{file: schemas/event.avsc}}\nschema_registry: {{url: {url}{more}}}\n")
}

fn purchase_of(id: &str, properties: &Value) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": id, "userId": "user-0", "properties": properties})
}

#[test]
fn a_registrys_own_library_reads_what_goes_out_and_what_does_not_fit_is_quarantined_by_its_field() {
    let Some(cluster) = kafka("events go out as Avro") else { return };
    let registry = RegistryDouble::new();
    let mut client = cluster.client();
    let topic = client.topic("avro-out");
    let streams = to_topic(cluster, &topic, &settings(&registry, ""));
    streams.workspace.write("schemas/event.avsc", SCHEMA);
    let server = streams.workspace.serve();
    send(&server, 0..500);
    let misfits = [
        purchase_of("text", &json!({"n": "many", "big": 1})),
        purchase_of("more", &json!({"n": 1, "big": 1, "price": 2})),
        purchase_of("less", &json!({"n": 1})),
    ];
    assert_eq!(server.batch(&misfits).status, 200);
    send(&server, 500..1_000);
    wait_for_end(&streams);
    server.stop();
    let mut messages = client.read_by(&topic, &registry.url());
    assert_eq!(messages.len(), 1_000);
    for message in &mut messages {
        let value = message["value"].take();
        assert!(value["context"].as_str().is_some_and(|context| context.starts_with('{')), "{value}");
        message["value"] = value.to_string().into();
    }
    has_each_once_in_order(&messages, 1_000);
    let kept = streams.quarantine();
    assert!(kept.len() == 3 && kept.iter().all(|entry| entry["code"] == "no_payload"), "{kept:?}");
    let mut told: Vec<&str> = kept.iter().filter_map(|entry| entry["message"].as_str()).collect();
    told.sort_unstable();
    for (reason, field) in told.iter().zip(["properties.big", "properties.n", "properties.price"]) {
        assert!(reason.contains(&format!("the field {field} ")), "{told:?}");
    }
}

#[test]
fn a_schema_that_is_not_to_be_registered_is_waited_for() {
    let Some(cluster) = kafka("a schema that somebody else registers") else { return };
    let registry = RegistryDouble::new();
    let mut client = cluster.client();
    let topic = client.topic("avro-later");
    let streams = to_topic(cluster, &topic, &settings(&registry, ", register: false, subject: bought"));
    streams.workspace.write("schemas/event.avsc", SCHEMA);
    let server = streams.workspace.serve();
    send(&server, 0..100);
    seldom("it says which subject lacks it", || {
        let sync = streams.workspace.status()["syncs"]["web-to-bus"].clone();
        if sync["failure"].as_str().is_some_and(|failure| failure.contains("under the subject bought")) {
            Ok(())
        } else {
            Err(sync.to_string())
        }
    });
    registry.add("bought", "AVRO", SCHEMA, json!([]));
    wait_for_end(&streams);
    let sync = streams.workspace.status()["syncs"]["web-to-bus"].clone();
    assert_eq!(sync["destination"], json!({"name": "bus", "kind": "kafka"}), "{sync}");
    server.stop();
    assert_eq!(client.read_by(&topic, &registry.url()).len(), 100);
    assert_eq!(streams.workspace.quarantined(), [""; 0]);
}
