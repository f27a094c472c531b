//! The intake log seen from outside: what it costs on disk, what damage to its files leads to, and logs of older builds.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Workspace, run};

/// Segment files of a workspace's log, oldest first.
fn segments(workspace: &Workspace) -> Vec<PathBuf> {
    let files = std::fs::read_dir(workspace.data().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}

/// Everything but the log is gone: what is in it is read anew.
fn forget(workspace: &Workspace) {
    for entry in std::fs::read_dir(workspace.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// A workspace with `batches` of 100 events, over several segments, all delivered.
fn filled(batches: u64) -> Workspace {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 1MiB}\n");
    let server = workspace.serve();
    for batch in 0..batches {
        let events: Vec<_> = (0..100)
            .map(|n| {
                let id = format!("m{batch}-{n}");
                json!({"type": "track", "event": "Kept", "messageId": id, "properties": {"text": "x".repeat(1500)}})
            })
            .collect();
        assert_eq!(server.batch(&events).status, 200);
    }
    server.stop();
    workspace
}

/// Why the first event in quarantine is there.
fn quarantine_message(workspace: &Workspace) -> String {
    let output = run(&["quarantine", workspace.path().to_str().unwrap(), "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let entry: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    entry["message"].as_str().unwrap().to_owned()
}

fn ids(workspace: &Workspace) -> usize {
    let ids = workspace.warehouse().rows("SELECT id FROM kept");
    let unique: std::collections::HashSet<&String> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "an event came twice");
    ids.len()
}

#[test]
fn what_a_batch_shares_is_on_disk_once() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let events: Vec<_> = (0..1500).map(|n| json!({"type": "track", "event": "E", "properties": {"n": n}})).collect();
    let context = json!({"traits": {"filler": "c".repeat(12_000)}});
    let body = json!({"batch": events, "context": context}).to_string();
    assert_eq!(server.post("/v1/batch", &body).status, 200);
    server.kill();
    let report = tidegate_log::verify(&workspace.data().join("log")).unwrap();
    assert!(report.is_whole() && report.records == 1500, "{report:?}");
    assert!(report.bytes < 2 * body.len() as u64, "{} bytes of log for a body of {}", report.bytes, body.len());
}

#[test]
fn a_missing_segment_is_an_error_in_log_status_and_quarantine() {
    let workspace = filled(30);
    let segments = segments(&workspace);
    assert!(segments.len() >= 4, "{segments:?}");
    let base = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let lost = base(&segments[2]) - base(&segments[1]);
    std::fs::remove_file(&segments[1]).unwrap();
    forget(&workspace);
    let said = workspace.serve().stop();
    assert!(said.contains("is missing") && said.contains(&format!("{lost} records from offset")), "{said}");
    assert_eq!(workspace.quarantined(), ["missing-records"]);
    let bounds = format!("offsets {} to {}, {lost} at most,", base(&segments[1]), base(&segments[2]) - 1);
    assert!(quarantine_message(&workspace).contains(&bounds), "{bounds}: {}", quarantine_message(&workspace));
    let status = workspace.status();
    assert_eq!(status["log"]["damage"]["missing-records"], 1, "{status}");
    let text = run(&["status", workspace.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("missing-records"), "{text}");
    assert_eq!(ids(&workspace) as u64, 3000 - lost);
    // Once it is known, it is no news.
    assert!(!workspace.serve().stop().contains("is missing"));
}

#[test]
fn one_flipped_bit_costs_one_record_and_a_flipped_header_nothing() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let events: Vec<_> =
        (0..3).map(|n| json!({"type": "track", "event": "Kept", "messageId": format!("m{n}")})).collect();
    assert_eq!(server.batch(&events).status, 200);
    server.kill();
    forget(&workspace);
    let path = &segments(&workspace)[0];
    let mut bytes = std::fs::read(path).unwrap();
    // The last event that was answered for; and one copy of the header.
    let at = bytes.windows(4).rposition(|id| id == b"\"m2\"").unwrap();
    bytes[at + 1] ^= 0x20;
    bytes[21] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let said = workspace.serve().stop();
    assert!(said.contains("one copy of the header") && !said.contains("unfinished write"), "{said}");
    // It stays: what no longer says when it was received is not older than everything.
    workspace.serve().stop();
    assert_eq!(workspace.quarantined(), ["damaged-record"]);
    assert_eq!(workspace.status()["log"]["damage"], json!({"damaged-record": 1}));
    assert_eq!(ids(&workspace), 2);
}

#[test]
fn the_logs_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    workspace.serve().stop();
    let log = workspace.data().join("log");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&log).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    for name in ["key", "key.copy", "manifest"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
}

#[test]
fn without_its_key_the_log_is_not_opened_and_the_error_says_what_to_do() {
    let workspace = filled(1);
    std::fs::remove_file(workspace.data().join("log/key")).unwrap();
    let said = workspace.serve().stop();
    assert!(said.contains("made again from the other"), "{said}");
    for name in ["key", "key.copy"] {
        std::fs::remove_file(workspace.data().join("log").join(name)).unwrap();
    }
    let output = run(&["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the key of the log is lost") && said.contains("restore"), "{said}");
}

/// The files were written by the last build that had the first format: three lives, and numbers skipped between two.
#[test]
fn a_log_of_the_first_format_is_delivered_and_a_newer_one_is_refused() {
    let workspace = Workspace::new();
    let log = workspace.data().join("log");
    std::fs::create_dir_all(&log).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/log-format-1");
    for entry in std::fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, log.join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(tidegate_log::end(&log).unwrap(), 59);
    let server = workspace.serve();
    let event = json!({"type": "track", "event": "Old", "messageId": "new"});
    assert_eq!(server.batch(&[event]).status, 200);
    server.stop();
    let rows = workspace.warehouse().rows("SELECT id, n, context_app_name FROM old ORDER BY n");
    assert_eq!(rows.len(), 37);
    assert_eq!((rows[1].as_str(), rows[36].as_str()), ("old-1|1|before", "old-36|36|before"));
    assert_eq!(workspace.quarantined(), [] as [String; 0]);
    let report = tidegate_log::verify(&log).unwrap();
    assert!(report.is_whole() && report.records == 37, "{report:?}");
    // A format that this build does not know.
    let path = &segments(&workspace)[0];
    let mut bytes = std::fs::read(path).unwrap();
    bytes[8] = 9;
    let sum = crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(path, &bytes).unwrap();
    let output = run(&["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("format 9") && said.contains("newer build"), "{said}");
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let fold = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |s, _| (s >> 1) ^ (0x82f6_3b78 * (s & 1)));
    !bytes.iter().fold(!0, fold)
}
