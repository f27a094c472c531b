//! The admin API of the program under test, and the commands that speak to it.

use std::process::Output;

use serde_json::Value;

use crate::support::Workspace;
use crate::support::http::try_request;
use crate::support::run;

/// Somebody with the admin token.
#[derive(Clone)]
pub struct Control {
    /// Of the admin API; it changes with each start.
    pub address: String,
    token: String,
}

/// What came of a request.
pub struct Answered {
    pub status: u16,
    pub body: Value,
}

impl Control {
    /// Makes an admin token of the workspace.
    pub fn new(workspace: &Workspace) -> Self {
        Self { address: String::new(), token: workspace.admin_token() }
    }

    /// Asks; a sentence when there was no answer.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Answered, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, body.as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Answered, String> {
        let authorization = format!("Bearer {}", self.token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let reply = try_request(&self.address, method, path, &headers, body);
        let reply = reply.map_err(|error| format!("{method} {path}: {error}"))?;
        let answer = serde_json::from_slice(&reply.body).unwrap_or(Value::String(reply.text()));
        Ok(Answered { status: reply.status, body: answer })
    }

    /// Runs a command against the server.
    pub fn command(&self, words: &[&str]) -> Output {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&[words, &arguments].concat())
    }

    /// What tells a command which server it is, and who asks.
    pub fn arguments(&self) -> [String; 5] {
        let url = format!("http://{}", self.address);
        ["--server".to_owned(), url, "--token".to_owned(), self.token.clone(), "--json".to_owned()]
    }
}

/// What a command said, on both streams.
pub fn words(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}{}", out.trim_end(), err.trim_end())
}
