//! Real SDKs from their registries, unmodified, against a running server: every event in its table, none twice.
//!
//! `tests/sdk/setup` installs the clients; one that could not be installed is reported as skipped, by name and reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Server, Workspace};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// Clients that are ready, and those that are not with the reason.
pub fn clients() -> (Vec<String>, Vec<String>) {
    let output = Command::new(folder().join("setup")).arg("--list").output().unwrap();
    let ready: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !line.starts_with("skipped"))
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let mut skipped = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join("run").is_file() && !ready.contains(&name) {
            skipped.push(name);
        }
    }
    skipped.sort();
    (ready, skipped)
}

/// Lets every client that is ready send its events: its name, its run, what it said.
pub fn send_all(server: &Server) -> Vec<(String, String, serde_json::Value)> {
    let mut expected = Vec::new();
    for name in clients().0 {
        let run = format!("run-{name}");
        let output = Command::new(folder().join(&name).join("run"))
            .env("TIDEGATE_URL", server.url())
            .env("TIDEGATE_WRITE_KEY", &server.key)
            .env("TIDEGATE_RUN", &run)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{name}: {error}: {}", String::from_utf8_lossy(&output.stdout)));
        expected.push((name, run, said));
    }
    expected
}

#[test]
fn every_event_of_every_sdk_is_in_its_table_once() {
    let (ready, skipped) = clients();
    let workspace = Workspace::new();
    let server = workspace.serve();
    let expected = send_all(&server);
    server.stop();
    let warehouse = workspace.warehouse();
    for (name, run, said) in &expected {
        let count = |sql: String| warehouse.rows(&sql)[0].parse::<u64>().unwrap();
        let want = |table: &str| said["expected"][table].as_u64().unwrap_or(0);
        for table in ["order_completed", "product_viewed"] {
            let found = count(format!("SELECT count(*) FROM {table} WHERE run = '{run}'"));
            assert_eq!(found, want(table), "{name}: {table}");
        }
        let numbers = count(format!(
            "SELECT count(DISTINCT n) FROM (SELECT n FROM order_completed WHERE run = '{run}' UNION ALL SELECT n FROM product_viewed WHERE run = '{run}')"
        ));
        assert_eq!(numbers, want("tracks"), "{name}: each track once");
        let tracks = count(format!(
            "SELECT count(*) FROM tracks WHERE id IN (SELECT id FROM order_completed WHERE run = '{run}' UNION SELECT id FROM product_viewed WHERE run = '{run}')"
        ));
        assert_eq!(tracks, want("tracks"), "{name}: tracks");
        for (table, condition) in [
            ("identifies", format!("run = '{run}'")),
            ("pages", format!("run = '{run}'")),
            ("groups", format!("group_id = '{run}-group'")),
            ("aliases", format!("previous_id = '{run}-prev'")),
        ] {
            if want(table) > 0 || warehouse.has(table) {
                assert_eq!(
                    count(format!("SELECT count(*) FROM {table} WHERE {condition}")),
                    want(table),
                    "{name}: {table}"
                );
            }
        }
        if name.contains("browser") {
            let before =
                format!("SELECT count(*) FROM pages WHERE run = '{run}' AND user_id IS NULL AND anonymous_id <> ''");
            assert_eq!(
                count(before),
                want("pages"),
                "{name}: before the login nobody has an id, not even an empty one"
            );
        }
        println!("{name} {}: all there, each once", said["version"].as_str().unwrap_or(""));
    }
    // However an SDK spells its times, they are instants, and nothing of them is in the overflow.
    for table in ["tracks", "identifies", "pages", "groups", "aliases"] {
        let strange = format!(
            "SELECT count(*) FROM {table} WHERE sent_at IS NULL OR original_timestamp IS NULL OR user_id = ''
                OR sent_at NOT GLOB '2*T*Z' OR original_timestamp NOT GLOB '2*T*Z'"
        );
        assert_eq!(warehouse.rows(&strange), ["0"], "{table}");
    }
    assert_eq!(workspace.quarantined(), [""; 0]);
    for name in &skipped {
        println!("skipped: {name}: not installed; `tests/sdk/setup` says why");
    }
    assert!(ready.len() + skipped.len() >= 15, "clients are missing from tests/sdk");
}
