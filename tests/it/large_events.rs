//! Events of 20 to 31 KB through real SDKs, thousands of them: none lost, none twice.
//!
//! `LARGE_EVENTS` says how many each SDK sends; a client that is not installed is reported as skipped.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::conformance::skipped;
use crate::support::Workspace;

const CLIENTS: [&str; 3] = ["segment-python", "segment-node", "rudder-python"];

fn count() -> u64 {
    std::env::vars().find(|(name, _)| name == "LARGE_EVENTS").map_or(600, |(_, value)| value.parse().unwrap())
}

#[test]
fn no_large_event_of_any_sdk_is_lost_or_doubled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let ready = Command::new(folder.join("setup")).arg("--list").output().unwrap();
    let ready = String::from_utf8_lossy(&ready.stdout).into_owned();
    let workspace = Workspace::new();
    let server = workspace.serve();
    let mut sent = Vec::new();
    for client in CLIENTS {
        if !ready.lines().any(|line| line.trim() == client) {
            skipped(&format!("large events of {client}"), "it is not installed; `tests/sdk/setup` says why");
            continue;
        }
        let output = Command::new(folder.join(client).join("run-large"))
            .env("TIDEGATE_URL", server.url())
            .env("TIDEGATE_WRITE_KEY", &server.key)
            .env("TIDEGATE_RUN", client)
            .env("TIDEGATE_COUNT", count().to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{client}: {}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        sent.push((client, said));
    }
    server.stop();
    let mut wrong = Vec::new();
    for (client, said) in &sent {
        let sql = format!("SELECT count(*), count(DISTINCT n) FROM large WHERE run = '{client}'");
        let found =
            if workspace.warehouse().has("large") { workspace.warehouse().rows(&sql).remove(0) } else { "0|0".into() };
        println!("{client} {}: {} sent, {found} arrived", said["version"], count());
        if found != format!("{0}|{0}", count()) || said["failed"] != 0 {
            wrong.push(format!("{client}: {} sent, {found} (all, distinct) arrived; {said}", count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(workspace.quarantined(), [""; 0]);
}
