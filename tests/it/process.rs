//! The process: how it starts and stops, what it says about itself, who may read its files, and what it takes from outside.

mod clock;
mod files;
mod jail;
mod numbers;
mod stop;
mod terminal;
mod voice;

use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::waiting::{PATIENCE, within};
use crate::support::{Workspace, http, tidegate};

/// A server whose log goes to a file, so that it can be read while it runs.
pub struct Running {
    child: Child,
    dir: tempfile::TempDir,
    pub address: String,
}

impl Running {
    /// Starts `tidegate serve` and waits for nothing.
    pub fn spawn(workspace: &Workspace, more: &[&str]) -> Self {
        Self::spawn_in(workspace, more, &[])
    }

    fn spawn_in(workspace: &Workspace, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::File::create(dir.path().join(name)).unwrap();
        let mut command = tidegate();
        command.args(["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        command.args(["--admin-listen", "127.0.0.1:0", "--json"]).args(more);
        command.envs(environment.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Self { child, dir, address: String::new() }
    }

    /// Starts a server and waits until it is ready.
    pub fn start(workspace: &Workspace, more: &[&str]) -> Self {
        Self::start_in(workspace, more, &[])
    }

    /// Starts a server with these variables set.
    pub fn start_in(workspace: &Workspace, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut running = Self::spawn_in(workspace, more, environment);
        let line = running.wait_for("the server is ready", |running| {
            let out = running.read("out");
            out.contains('\n').then_some(out)
        });
        let ready: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
        running.address =
            ready["url"].as_str().unwrap_or_else(|| panic!("{line}")).strip_prefix("http://").unwrap().to_owned();
        running
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap()).into_owned()
    }

    /// What stands in its log so far.
    pub fn log(&self) -> String {
        self.read("err")
    }

    /// Waits until `look` finds something.
    pub fn wait_for<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        within(PATIENCE, what, || {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{what}: the server ended: {status}\n{}", self.log());
            }
            Err(self.log())
        })
    }

    /// Waits for words in the log.
    pub fn wait_for_line(&mut self, words: &str) {
        self.wait_for(words, |running| running.log().contains(words).then_some(()));
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end for at most this long.
    pub fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        within(patience, "the server ends", || self.child.try_wait().unwrap().ok_or_else(|| self.log()))
    }

    pub fn batch(&self, key: &str, events: &[serde_json::Value]) {
        let reply = self.post(key, events);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    pub fn post(&self, key: &str, events: &[serde_json::Value]) -> http::Reply {
        let body = serde_json::json!({ "batch": events }).to_string();
        let headers = [("authorization", http::basic(key))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        http::request(&self.address, "POST", "/v1/batch", &headers, body.as_bytes())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
