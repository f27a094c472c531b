//! What a destination in a language of doubles sends has the digits of the events.

use std::path::Path;

use super::Route;
use crate::conformance::skipped;
use crate::support::far::{Act, Far};
use crate::support::plugins::{has, json, tidegate};
use crate::support::{Workspace, basic, request};

const MANIFEST: &str = r#"name: crm
kind: destination
api: 0.1.0
language: js
settings:
  type: object
  properties:
    endpoint: { type: string }
    account: { type: integer }
    key: { type: string, secret: true }
hosts: ["{{settings.endpoint}}"]
batch: { events_max: 100, age_max: 300 ms }
"#;

/// A record for each event, in a list. With `key` it signs the body.
const PLUGIN: &str = r#"import { chunks, destination, eventsOf, jsonArray, properties, sign } from "tidegate";

let settings;

export const { configure, prepare, classify } = destination({
  configure(given) { settings = given; },
  record: (event) => ({ id: event.messageId, order: properties(event).order_id, text: `no ${properties(event).order_id}`, ...properties(event) }),
  requests: (entries, plan) => chunks(entries, { count: 100, bytes: 100000 }, plan).map((chunk) => {
    const body = `{"account":${settings.account},"z":${jsonArray(chunk)},"a":1}`;
    const mac = settings.key ? sign("sha256", "key", body) : [];
    return { url: `${settings.endpoint}/in`, body, events: eventsOf(chunk), headers: { "x-mac": mac.length } };
  }),
});
"#;

/// The plugin; `None` when a registry is away.
fn built(dir: &Path) -> Option<String> {
    assert!(tidegate(dir, &["destination", "new", "crm", "--lang", "js"]).status.success());
    std::fs::write(dir.join("crm/plugin.yaml"), MANIFEST).unwrap();
    std::fs::write(dir.join("crm/src/index.js"), PLUGIN).unwrap();
    let built = json(&tidegate(dir, &["destination", "build", "crm"]));
    if built["component"].is_null() {
        skipped("digits in bodies", &built["error"].to_string());
    }
    built["component"].as_str().map(str::to_owned)
}

/// Sends events through the plugin, all in one request, and answers its body.
fn sent(component: &str, more: &str, events: &[&str]) -> String {
    let far = Far::new(|_| Act::status(200));
    let (workspace, origin) = (Workspace::new(), far.origin());
    workspace.write(
        "destinations/crm.yaml",
        &format!(
            "kind: plugin\ncomponent: {component}\nsettings:\n  endpoint: {origin}\n  account: 9007199254740997\n{more}\
             allow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n"
        ),
    );
    workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
    let route = Route { workspace };
    let server = route.workspace.serve();
    let body = format!("{{\"batch\":[{}]}}", events.join(","));
    let authorization = basic(&server.key);
    let reply = request(&server.address, "POST", "/v1/batch", &[("authorization", &authorization)], body.as_bytes());
    assert_eq!(reply.status, 200);
    let sync = route.wait_for_end(events.len() as u64);
    server.stop();
    assert_eq!(sync["delivered"].as_u64(), Some(events.len() as u64), "{sync}");
    far.seen()[0].text()
}

#[test]
fn a_body_has_the_digits_of_its_events_to_the_last() {
    if let Some(missing) = ["node", "npm"].into_iter().find(|tool| !has(tool)) {
        return skipped("digits in bodies", &format!("{missing} is not installed"));
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(component) = built(dir.path()) else { return };
    let event = |n: u32, properties: &str| {
        format!(r#"{{"type":"track","event":"Bought","messageId":"m{n}","userId":"u","properties":{{{properties}}}}}"#)
    };
    // Two ids that are one to the plugin.
    let events = [
        event(1, r#""order_id":9007199254740993,"ratio":0.1000000000000000055,"price":19.90"#),
        event(2, r#""order_id":9007199254740992,"huge":1e400,"list":[{"n":12345678901234567890,"m":1}]"#),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let whole = r#"{"account":9007199254740997,"z":[{"id":"m1","order":9007199254740993,"text":"no 9007199254740993","order_id":9007199254740993,"price":19.9,"ratio":0.1000000000000000055},{"id":"m2","order":9007199254740992,"text":"no 9007199254740992","huge":1e400,"list":[{"m":1,"n":12345678901234567890}],"order_id":9007199254740992}],"a":1}"#;
    assert_eq!(sent(&component, "", &events), whole);
    // What was signed is sent as it was signed.
    let signed = sent(&component, "  key: hunter2hunter2\n", &events[..1]);
    assert!(
        signed.contains(r#""order":9007199254740992"#) && signed.contains(r#""account":9007199254740996"#),
        "{signed}"
    );
}
