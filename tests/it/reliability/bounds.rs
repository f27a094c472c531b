//! The quarantine has bounds: the oldest events go first, are counted, and the server says so; people may purge it.

use serde_json::Value;

use super::{bad, drained, wait};
use crate::support::{Server, Workspace, run};

const HASTE: &[&str] = &["keeper_in_haste=return"];

fn send_bad(server: &Server, from: usize, count: usize) {
    for n in (from..from + count).step_by(50) {
        let events: Vec<Value> = (n..n + 50).map(bad).collect();
        assert_eq!(server.batch(&events).status, 200);
    }
}

fn quarantine(workspace: &Workspace, arguments: &[&str]) -> (Option<i32>, String) {
    let path = workspace.path();
    let mut all = vec!["quarantine", "purge", path.to_str().unwrap()];
    all.extend(arguments);
    let output = run(&all);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn a_stop_waits_for_what_works_in_the_background_and_leaves_the_state_in_one_file() {
    let workspace = Workspace::new();
    let server = workspace.serve_with(&["keeper_in_haste=return", "keeper_looks=sleep(200)"]);
    send_bad(&server, 0, 50);
    let said = server.stop();
    let left: Vec<String> =
        super::files(&workspace.data()).into_keys().filter(|name| name.starts_with("state.db")).collect();
    assert_eq!(left, ["state.db"], "{said}");
}

#[test]
fn the_oldest_go_first_when_it_is_full_and_are_counted() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nquarantine: {bytes: 200 KiB}\n");
    let server = workspace.serve_with(HASTE);
    send_bad(&server, 0, 1_000);
    let status = wait(&workspace, "it is within its bounds", |status| {
        status["syncs"][super::SYNC]["lag"] == 0 && status["quarantine"]["bytes"].as_u64().unwrap() <= 200 << 10
    });
    let number = |name: &str| status["quarantine"][name].as_u64().unwrap();
    assert!(number("events") > 10 && number("expired") > 500, "{status}");
    assert_eq!(number("events") + number("expired"), 1_000, "{status}");
    // What was quarantined stays counted where it was accepted.
    assert_eq!(status["sources"]["web"]["quarantined"], 1_000, "{status}");
    let said = server.stop();
    assert!(said.contains("the quarantine was full") && said.contains("quarantine.bytes"), "{said}");
    let listed = run(&["quarantine", workspace.path().to_str().unwrap(), "--json", "--most", "10000"]);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(text.lines().count() as u64, number("events"));
    assert!(text.contains("\"bad999\"") && !text.contains("\"bad0\""), "the newest are left");
    // 2 MB were in it: the file has given them back.
    let bytes = std::fs::metadata(workspace.data().join("state.db")).unwrap().len();
    assert!(bytes < 5 << 20, "{bytes}");
}

#[test]
fn old_events_go_by_age() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nquarantine: {age: 1 ms}\n");
    let server = workspace.try_serve(&["--log", "info"], HASTE).unwrap();
    send_bad(&server, 0, 100);
    let gone = |status: &Value| status["quarantine"]["expired"] == 100;
    let status = wait(&workspace, "they are gone", gone);
    assert_eq!(status["quarantine"]["events"], 0, "{status}");
    let said = server.stop();
    assert!(said.contains("older than quarantine.age") && !said.contains("was full"), "{said}");
}

#[test]
fn a_purge_removes_what_it_names_beside_a_running_server() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    send_bad(&server, 0, 1_000);
    drained(&workspace);
    let counted = |arguments: &[&str], words: &str| {
        let (code, said) = quarantine(&workspace, arguments);
        assert!(code == Some(0) && said.contains(words), "{arguments:?}: {said}");
    };
    counted(&["--dry-run"], "1,000 in all");
    counted(&["--dry-run", "--code", "no-such"], "Nothing in quarantine is like that");
    counted(&["--dry-run", "--before", "2020-01-01T00:00:00Z"], "Nothing in quarantine is like that");
    counted(&["--dry-run", "--before", "1h"], "Nothing in quarantine is like that");
    counted(&["--dry-run", "--scope", "web", "--offset", "7"], "1 in all");
    let (code, said) = quarantine(&workspace, &[]);
    assert!(code == Some(1) && said.contains("say --yes"), "{said}");
    let (code, said) = quarantine(&workspace, &["--before", "soon", "--yes"]);
    assert!(code == Some(1) && said.contains("no time"), "{said}");
    let (code, said) = quarantine(&workspace, &["--offset", "7", "--yes", "--json"]);
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &answer["purged"], &answer["left"]["events"]), (Some(0), &1.into(), &999.into()), "{said}");
    // The server goes on quarantining meanwhile.
    send_bad(&server, 1_000, 50);
    drained(&workspace);
    counted(&["--yes"], "purged; 0 are left");
    let status = workspace.status();
    assert_eq!(
        (&status["quarantine"]["events"], &status["quarantine"]["purged"]),
        (&0.into(), &1_050.into()),
        "{status}"
    );
    assert_eq!(status["sources"]["web"]["quarantined"], 1_050, "{status}");
    server.stop();
    counted(&["--yes"], "Nothing in quarantine is like that");
    assert_eq!(super::check_deep(&workspace).0, Some(0));
}
