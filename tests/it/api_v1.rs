//! `/api/v1`: the catalog over HTTP, and the commands that speak to it.

mod canary;
mod changes;
mod commands;
mod contracts;
mod document;
mod drafts;
mod generated;
mod masking;
mod matrix;
mod object_verbs;
mod quarantine;
mod rights;
mod traces;
mod tries;
mod write_keys;

use serde_json::{Value, json};

use crate::support::http::{Reply, request};
use crate::support::{Server, Workspace};

/// Somebody with a token.
struct ApiCaller {
    address: String,
    token: String,
}

impl ApiCaller {
    fn new(server: &Server, token: &str) -> Self {
        Self { address: server.admin.clone(), token: token.to_owned() }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let authorization = format!("Bearer {}", self.token);
        let headers = [headers, &[("authorization", authorization.as_str())]].concat();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        request(&self.address, method, path, &headers, body.as_bytes())
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &[], body)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let reply = self.ask("GET", path, &Value::Null);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// Makes an object that must be made; answers its id.
    #[track_caller]
    fn made(&self, kind: &str, name: &str, spec: Value) -> String {
        let reply = self.ask("POST", &format!("/api/v1/objects/{kind}"), &json!({"name": name, "spec": spec}));
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["objects"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A user with a role in the workspace `default`, or with none there, as they are with a token of theirs.
    #[track_caller]
    fn user(&self, server: &Server, name: &str, role: Option<&str>) -> Self {
        let id = self.made("user", name, json!({}));
        let (workspace, role) = role.map_or(("elsewhere", "viewer"), |role| ("default", role));
        self.made("group", &format!("{name}s"), json!({"members": [id], "roles": {workspace: role}}));
        Self::new(server, &self.token_of(name, workspace))
    }

    /// A token in a user's name, which counts in a workspace.
    #[track_caller]
    fn token_of(&self, user: &str, workspace: &str) -> String {
        let path = format!("/api/v1/tokens?workspace={workspace}");
        let reply = self.ask("POST", &path, &json!({"name": format!("of {user}"), "user": user}));
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["token"].as_str().unwrap().to_owned()
    }
}

/// A running server, and whoever holds its admin token.
fn served() -> (Workspace, Server, ApiCaller) {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    (workspace, server, admin)
}
