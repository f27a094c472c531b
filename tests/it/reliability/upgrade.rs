//! A data directory that an earlier build wrote, left behind by a kill with a backlog and a quarantine.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use super::drained;
use crate::support::Workspace;

/// The workspace in an archive of `cases/upgrade`.
fn unpacked(archive: &str) -> Workspace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/upgrade").join(archive);
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new("tar").arg("xzf").arg(path).arg("-C").arg(dir.path()).status().unwrap();
    assert!(done.success());
    let source = std::fs::read_to_string(dir.path().join("w/sources/web.yaml")).unwrap();
    let key = source.lines().find_map(|line| line.strip_prefix("write_key: ")).unwrap().to_owned();
    Workspace { dir, write_key: key }
}

#[test]
fn the_data_of_an_earlier_build_is_carried_over_and_every_event_is_there_once() {
    let ids = "were carried over from the state file to the dedup index";
    carried_over("format-1-2026-11.tar.gz", &["the ledger of the warehouse was carried over", ids]);
    carried_over("format-4-2026-11.tar.gz", &[ids]);
    carried_over("format-4-of-two-partitions-2026-11.tar.gz", &[ids]);
    carried_over("format-5-2026-11.tar.gz", &[]);
    carried_over("format-6-2026-11.tar.gz", &[]);
}

fn carried_over(archive: &str, also: &[&str]) {
    let workspace = unpacked(archive);
    let server = workspace.try_serve(&["--log", "info"], &[]).unwrap();
    // A retry of one that it had, and a new one.
    let again = ["up-7", "up-2001", "up-new"]
        .map(|id| serde_json::json!({"type": "track", "event": "Upgrade", "messageId": id, "properties": {"n": 0}}));
    assert_eq!(server.batch(&again).status, 200);
    let status = drained(&workspace);
    let said = server.stop();
    assert!(said.contains("the state file was carried over to the format of this build"), "{said}");
    also.iter().for_each(|also| assert!(said.contains(also), "{said}"));
    assert!(!said.contains("ERROR"), "{said}");
    let warehouse = workspace.warehouse();
    let ids = warehouse.rows("SELECT id FROM upgrade");
    let want: HashSet<String> = (0..2_002).map(|n| format!("up-{n}")).chain(["up-new".to_owned()]).collect();
    assert_eq!((ids.len(), ids.into_iter().collect::<HashSet<_>>()), (2_003, want));
    assert_eq!(warehouse.rows("SELECT count(*) FROM upgrade WHERE context_app = 'old'"), ["1500"]);
    let mut codes = workspace.quarantined();
    codes.sort();
    assert_eq!(codes, ["malformed-json", "missing-type"]);
    assert_eq!(status["quarantine"]["events"], 2, "{status}");
    drop(warehouse);
    workspace.conserves();
    assert_eq!(super::check_deep(&workspace).0, Some(0));
    // The second start has nothing to carry over.
    let said = workspace.try_serve(&["--log", "info"], &[]).unwrap().stop();
    assert!(!said.contains("carried over"), "{said}");
}

#[test]
fn a_reader_says_that_the_server_must_carry_the_state_over_first() {
    let workspace = unpacked("format-1-2026-11.tar.gz");
    let output = crate::support::run(&["status", workspace.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("of an earlier build") && said.contains("tidegate serve"), "{said}");
}
