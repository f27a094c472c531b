//! Files of the data directory that are lost, damaged, older than the others or of another build: nothing is doubled,
//! lost or changed without a line that says so.

mod bounds;
mod dedup;
mod deep;
mod flips;
mod formats;
mod lost;
mod upgrade;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::waiting::{PATIENCE, within};
use crate::support::{Server, Workspace, run};

pub const SYNC: &str = "web-to-warehouse";

pub fn event(id: &str) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": id, "userId": "u", "properties": {"n": 1}})
}

/// An event that ends in quarantine.
pub fn bad(n: usize) -> Value {
    json!({"messageId": format!("bad{n}"), "pad": "x".repeat(2_000)})
}

pub fn send(server: &Server, ids: impl IntoIterator<Item = String>) {
    let events: Vec<Value> = ids.into_iter().map(|id| event(&id)).collect();
    for batch in events.chunks(100) {
        assert_eq!(server.batch(batch).status, 200);
    }
}

pub fn ids(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{prefix}{n}"))
}

/// Waits until the status is as wanted.
pub fn wait(workspace: &Workspace, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    within(PATIENCE, what, || {
        let status = workspace.status();
        if enough(&status) { Ok(status) } else { Err(status.to_string()) }
    })
}

pub fn drained(workspace: &Workspace) -> Value {
    wait(workspace, "everything is delivered", |status| status["syncs"][SYNC]["lag"] == 0)
}

/// A workspace with `count` events delivered and two in quarantine, stopped in order.
pub fn served(count: usize) -> Workspace {
    let workspace = Workspace::new();
    let server = workspace.serve();
    send(&server, ids("m", count));
    assert_eq!(server.batch(&[bad(0), bad(1)]).status, 200);
    drained(&workspace);
    server.stop();
    workspace
}

/// Ids in a table, each with how often it is there.
pub fn delivered(workspace: &Workspace) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for id in workspace.warehouse().rows("SELECT id FROM bought") {
        *found.entry(id).or_default() += 1;
    }
    found
}

#[track_caller]
pub fn each_once(workspace: &Workspace, want: impl IntoIterator<Item = String>) {
    let want: BTreeMap<String, usize> = want.into_iter().map(|id| (id, 1)).collect();
    assert_eq!(delivered(workspace), want);
}

/// What the program says when it does not start.
#[track_caller]
pub fn refused(workspace: &Workspace) -> String {
    match workspace.try_serve_with(&[]) {
        Err(said) => said,
        Ok(_) => panic!("the server started"),
    }
}

/// Every file below `dir` with its content, but the lock.
pub fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    // Whoever opens the catalog and closes it again moves what is in it from one of its files to the other.
    let is_compared = |name: &str| name != "lock" && !name.starts_with("catalog.db");
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(is_compared) {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// `tidegate check --deep --json`: the exit code and the answer.
pub fn check_deep(workspace: &Workspace) -> (Option<i32>, Value) {
    let output = run(&["check", workspace.path().to_str().unwrap(), "--deep", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code(), answer)
}

/// The server with `--rebuild-state`; its log is answered when it stops.
pub fn rebuild(workspace: &Workspace) -> Server {
    workspace.try_serve(&["--rebuild-state"], &[]).unwrap_or_else(|said| panic!("the server did not start: {said}"))
}
