//! What every destination sends for the e-commerce and lifecycle events of `functions/destination/commerce.in.json`: the
//! table of functions/README.md, made of the golden plans, so that it says what is so.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{fixtures, folder, json};
use crate::support::guests;

/// Where the record of one event says what a tool sees; pointers into the record, the first that is there counts.
struct Reading {
    plugin: &'static str,
    name: &'static [&'static str],
    /// A word for what else is filled.
    more: &'static [(&'static str, &'static str)],
}

const fn reading(
    plugin: &'static str,
    name: &'static [&'static str],
    more: &'static [(&'static str, &'static str)],
) -> Reading {
    Reading { plugin, name, more }
}

const READINGS: [Reading; 15] = [
    reading("amplitude", &["/event_type"], &[("revenue", "/revenue")]),
    reading("braze", &["/name"], &[("purchase", "/product_id")]),
    reading("customerio", &["/name", "/action"], &[]),
    reading("elasticsearch", &["/event", "/name", "/type"], &[]),
    reading("event-forwarder", &["/event", "/name", "/type"], &[]),
    reading("ga4", &["/events/0/name"], &[("value", "/events/0/params/value"), ("items", "/events/0/params/items")]),
    reading("hubspot", &["/eventName"], &[]),
    reading("iterable", &["/eventName"], &[]),
    reading("klaviyo", &["/attributes/metric/data/attributes/name"], &[("value", "/attributes/value")]),
    reading("meta-capi", &["/event_name"], &[("value", "/custom_data/value"), ("contents", "/custom_data/contents")]),
    reading("mixpanel", &["/event"], &[]),
    reading("posthog", &["/event"], &[]),
    reading("segment", &["/event", "/name", "/type"], &[]),
    reading("slack", &[], &[("message", "/text")]),
    reading("webhook", &["/event", "/name", "/type"], &[]),
];

const BEGIN: &str = "<!-- What is sent: the test tests/it/plugins/sent.rs makes this table. -->\n";
const END: &str = "<!-- End of what is sent. -->";

#[test]
fn the_table_of_what_is_sent_is_true() {
    let events = json(&guests::folder("destination").join("commerce.in.json"));
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 30);
    let plans: BTreeMap<&str, Value> = READINGS
        .iter()
        .map(|reading| {
            let given = json(&folder(reading.plugin).join("fixtures/commerce.in.json"));
            assert_eq!(given.as_array(), Some(events), "{} has other events", reading.plugin);
            (reading.plugin, fixtures(reading.plugin, ".request.json").remove("commerce").unwrap())
        })
        .collect();
    let names: Vec<&str> = READINGS.iter().map(|reading| reading.plugin).collect();
    let mut table = format!("| event | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for (index, event) in events.iter().enumerate() {
        let own = event["event"].as_str().map_or_else(|| own_name(event), str::to_owned);
        let cells: Vec<String> =
            READINGS.iter().map(|reading| cell(reading, &plans[reading.plugin], index, event, &own)).collect();
        table.push_str(&format!("| {own} | {} |\n", cells.join(" | ")));
    }
    let readme = std::fs::read_to_string(guests::folder("README.md")).unwrap();
    let (_, rest) = readme.split_once(BEGIN).expect("functions/README.md has no place for the table");
    let (kept, _) = rest.split_once(END).expect("the table of functions/README.md has no end");
    assert!(kept == table, "functions/README.md says something else; what is sent now:\n{table}");
}

/// What stands in the first column for an event without a name of its own.
fn own_name(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap();
    event["name"].as_str().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
}

fn cell(reading: &Reading, plan: &Value, index: usize, event: &Value, own: &str) -> String {
    let carries = |request: &&Value| request["events"].as_array().unwrap().iter().any(|place| place == index);
    let marks = marks(event);
    let mut names: Vec<String> = Vec::new();
    for request in plan["requests"].as_array().unwrap().iter().filter(carries) {
        let body = parsed(&request["body"]);
        let mut records = Vec::new();
        find(&body, &marks, &mut records);
        if records.is_empty() {
            records.push(&body);
        }
        for record in records {
            let name = reading.name.iter().find_map(|pointer| record.pointer(pointer)?.as_str());
            let is_own = name.is_some_and(|name| name == own || Some(name) == event["name"].as_str());
            let mut words: Vec<String> = Vec::new();
            words.extend(name.map(|name| if is_own { "=".to_owned() } else { format!("`{name}`") }));
            words.extend(reading.more.iter().filter_map(|(word, pointer)| match record.pointer(pointer)? {
                Value::Array(list) if list.is_empty() => None,
                _ => Some((*word).to_owned()),
            }));
            if !words.is_empty() {
                names.push(words.join(", "));
            }
        }
    }
    if names.is_empty() && plan["requests"].as_array().unwrap().iter().any(|request| carries(&request)) {
        names.push("profile".to_owned());
    }
    let failed = plan["failed"].as_array().unwrap().iter().find(|failed| failed["event"] == index);
    if let Some(failed) = failed {
        return format!("fails: {}", failed["code"].as_str().unwrap());
    }
    let count = names.len();
    names.dedup();
    match (count, &names[..]) {
        (0, _) => "–".to_owned(),
        (2.., [one]) => format!("{one} × {count}"),
        _ => names.join("; "),
    }
}

/// Texts by which a record is known to be of an event: each event has a user of its own.
fn marks(event: &Value) -> Vec<String> {
    let user = event["userId"].as_str().unwrap().to_owned();
    let email = event["context"]["traits"]["email"].as_str().unwrap().to_owned();
    let hex = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    vec![hex(&user), hex(&email), user, event["messageId"].as_str().unwrap().to_owned()]
}

/// A body that is lines of JSON, as a list.
fn parsed(body: &Value) -> Value {
    match body.as_str() {
        Some(text) => text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect(),
        None => body.clone(),
    }
}

/// The innermost objects in lists that have one of the marks; answers whether there is any mark.
fn find<'a>(value: &'a Value, marks: &[String], records: &mut Vec<&'a Value>) -> bool {
    match value {
        Value::String(text) => marks.iter().any(|mark| text.contains(mark)),
        Value::Object(members) => members.values().filter(|member| find(member, marks, records)).count() > 0,
        Value::Array(list) => {
            let mut is_found = false;
            for item in list {
                let before = records.len();
                if find(item, marks, records) {
                    is_found = true;
                    if item.is_object() && records.len() == before {
                        records.push(item);
                    }
                }
            }
            is_found
        }
        _ => false,
    }
}
