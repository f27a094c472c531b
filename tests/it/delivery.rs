//! Destination plugins in a running server, against a real far side that behaves badly: every event comes to an end,
//! nothing leaves for where it must not, and nobody else notices.

mod abuse;
mod allowed;
mod bisect;
mod conservation;
mod digits;
mod order;
mod pushed;
mod reach;
mod sign_in;
mod start;
mod trusted;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::far::Far;
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Server, Workspace, guests};

/// A workspace whose source feeds the embedded warehouse and a destination plugin.
pub struct Route {
    pub workspace: Workspace,
}

/// The manifest of the test guest.
fn manifest() -> Value {
    json!({
        "name": "courier", "kind": "destination",
        "settings": {"type": "object", "required": ["endpoint"], "properties": {
            "endpoint": {"type": "string"}, "per_request": {"type": "integer"},
            "key": {"type": "string", "secret": true}}},
        "hosts": ["{{settings.endpoint}}"],
        "batch": {"events_max": 50, "age_max": "5 ms"},
        "traffic": {"timeout": "2 s"},
        "retry": {"age_max": "10 min", "pause_min": "10 ms", "pause_max": "80 ms"},
    })
}

impl Route {
    pub fn new(far: &Far) -> Self {
        Self::with(far, |_| {}, "")
    }

    /// `change` works on the manifest, `more` stands at the end of the destination's file.
    pub fn with(far: &Far, change: impl FnOnce(&mut Value), more: &str) -> Self {
        let workspace = Workspace::new();
        let mut manifest = manifest();
        change(&mut manifest);
        std::fs::write(workspace.path().join("courier.wasm"), guests::destination("hostile/destination", &manifest))
            .unwrap();
        let origin = far.origin();
        workspace.write(
            "destinations/crm.yaml",
            &format!(
                "kind: plugin\ncomponent: courier.wasm\nsettings:\n  endpoint: {origin}\n  key: hunter2hunter2\n\
                 allow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n{more}"
            ),
        );
        workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
        Self { workspace }
    }

    /// Adds a setting to the destination.
    pub fn setting(&self, name: &str, value: &str) {
        let path = self.workspace.path().join("destinations/crm.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with(&format!("  {name}:")))
            .fold(String::new(), |t, l| t + l + "\n");
        std::fs::write(path, text.replacen("  key:", &format!("  {name}: {value}\n  key:"), 1)).unwrap();
    }

    pub fn sync(&self) -> Value {
        self.workspace.status()["syncs"]["web-to-crm"].clone()
    }

    /// Waits until what `pick` makes of the sync's status is as wanted.
    pub fn wait(&self, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
        within(PATIENCE, what, || {
            let sync = self.sync();
            if enough(&sync) { Ok(sync) } else { Err(sync.to_string()) }
        })
    }

    /// Waits until every event has come to an end.
    pub fn wait_for_end(&self, events: u64) -> Value {
        self.wait("every event comes to an end", |sync| {
            sync["delivered"].as_u64().unwrap_or(0)
                + sync["quarantined"].as_u64().unwrap_or(0)
                + sync["filtered"].as_u64().unwrap_or(0)
                == events
                && sync["pending"] == 0
        })
    }

    /// What was quarantined, by message id.
    pub fn quarantine(&self) -> BTreeMap<String, Value> {
        let output =
            crate::support::run(&["quarantine", self.workspace.path().to_str().unwrap(), "--json", "--most", "100000"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.map(|entry| (entry["event"]["messageId"].as_str().unwrap_or_default().to_owned(), entry)).collect()
    }

    pub fn code(&self, id: &str) -> String {
        let entry = self.quarantine().remove(id).unwrap_or_else(|| panic!("{id} is not in quarantine"));
        entry["code"].as_str().unwrap().to_owned()
    }
}

pub fn event(id: &str, user: &str, properties: Value) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": id, "userId": user, "properties": properties})
}

pub fn send(server: &Server, events: &[Value]) {
    for batch in events.chunks(500) {
        assert_eq!(server.batch(batch).status, 200);
    }
}

/// Message ids of all events in the bodies of requests.
pub fn ids<'a>(requests: impl IntoIterator<Item = &'a crate::support::far::Received>) -> Vec<String> {
    let events = requests
        .into_iter()
        .filter(|received| received.text().starts_with('['))
        .flat_map(|received| received.json().as_array().cloned().unwrap_or_default());
    events.map(|event| event["messageId"].as_str().unwrap_or_default().to_owned()).collect()
}
