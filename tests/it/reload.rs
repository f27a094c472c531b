//! A running server reads its folder again: what is different changes, everything else goes on, and a folder that is not right changes
//! nothing.

mod destinations;
mod held;
mod refused;
mod rules;
mod said;
mod syncs;

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Reply, Server, Workspace, basic, request};

/// A server, and somebody who may change it.
pub struct Reloading {
    pub workspace: Workspace,
    pub server: Server,
    pub admin: Admin,
}

impl Reloading {
    pub fn new() -> Self {
        Self::of(Workspace::new())
    }

    pub fn of(workspace: Workspace) -> Self {
        Self::with(workspace, &[])
    }

    pub fn with(workspace: Workspace, failpoints: &[&str]) -> Self {
        let token = workspace.admin_token();
        let server = workspace.serve_with(failpoints);
        let admin = Admin::new(&server, &token);
        Self { workspace, server, admin }
    }

    pub fn ask(&self) -> Reply {
        self.admin.post("/admin/reload", &json!({}))
    }

    /// Has the folder read again, which must be taken.
    pub fn reload(&self) -> Value {
        let reply = self.ask();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// The same, and waits until everything runs.
    pub fn settle(&self) -> Value {
        let answer = self.reload();
        within(PATIENCE, "everything runs", || {
            let configuration = self.configuration();
            let is_done = configuration["objects"] == json!([]);
            if is_done { Ok(()) } else { Err(configuration.to_string()) }
        });
        answer
    }

    /// What the status says of what runs.
    pub fn configuration(&self) -> Value {
        self.workspace.status()["configuration"].clone()
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.workspace.path().join(file)).unwrap();
    }

    /// Waits until what is in the status is as wanted.
    pub fn wait(&self, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
        crate::reliability::wait(&self.workspace, what, enough)
    }

    pub fn wait_for_delivered(&self, sync: &str, events: u64) {
        self.wait("the sync delivers", |status| status["syncs"][sync]["delivered"] == events);
    }

    /// The status of a request with this key.
    pub fn page(&self, key: &str, id: &str) -> u16 {
        let body = json!({"type": "page", "messageId": id, "userId": "u"}).to_string();
        request(&self.server.address, "POST", "/v1/page", &[("authorization", &basic(key))], body.as_bytes()).status
    }
}

/// What was done to each sync.
pub fn syncs(answer: &Value) -> Vec<(String, String)> {
    let syncs = answer["syncs"].as_object().unwrap();
    syncs.iter().map(|(name, change)| (name.clone(), change.as_str().unwrap().to_owned())).collect()
}

/// The objects that are different, in words.
pub fn changed(answer: &Value) -> Vec<String> {
    let all = answer["changed"].as_array().unwrap();
    let told = |one: &Value| format!("{} {} {}", one["change"], one["kind"], one["key"]).replace('"', "");
    all.iter().map(told).collect()
}

pub const FIRST: &str = "first-key-0123456789";
pub const SECOND: &str = "second-key-0123456789";
