//! The dedup index lost, damaged, or on a disk that takes nothing: retries are still recognised, all of them, and no event is
//! taken for its own retry.

use std::path::PathBuf;

use super::{check_deep, drained, each_once, ids, send, wait};
use crate::support::http::try_request;
use crate::support::waiting::until;
use crate::support::{Server, Workspace, basic};

/// Events from before; ids are kept in runs of some 125.
const BEFORE: usize = 600;

/// A small index, so that some hundred ids make several runs.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("tidegate.yaml", "dedup: {entries_max: 1000}\n");
    workspace
}

/// Sends the events in ranges of the log of their own, so that tails become full one after the other.
fn send_in_ranges(server: &Server, workspace: &Workspace) {
    for first in (0..BEFORE).step_by(100) {
        send(server, ids("m", first + 100).skip(first));
        drained(workspace);
    }
}

fn served() -> Workspace {
    let workspace = workspace();
    let server = workspace.serve();
    send_in_ranges(&server, &workspace);
    until("a tail becomes a run", || !files(&workspace, "run").is_empty());
    server.stop();
    workspace
}

fn files(workspace: &Workspace, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace.data().join("dedup")).unwrap().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

/// Sends everything once more, with some new ones; answers what the server said.
#[track_caller]
fn retries_are_recognised(workspace: &Workspace) -> String {
    retries_are_recognised_after(workspace, 0)
}

/// The same, where so many came twice before.
#[track_caller]
fn retries_are_recognised_after(workspace: &Workspace, before: usize) -> String {
    let server = workspace.try_serve(&["--log", "info"], &[]).unwrap();
    send(&server, ids("m", BEFORE).chain(ids("new", 7)));
    // A sync that met damage tries again.
    let status = drained(workspace);
    let said = server.stop();
    assert_eq!(status["sources"]["web"]["duplicates"], before + BEFORE, "{status}");
    each_once(workspace, ids("m", BEFORE).chain(ids("new", 7)));
    assert_eq!(check_deep(workspace).0, Some(0));
    said
}

#[test]
fn a_lost_index_is_read_from_the_log() {
    let workspace = served();
    assert!(!files(&workspace, "run").is_empty());
    std::fs::remove_dir_all(workspace.data().join("dedup")).unwrap();
    let said = retries_are_recognised(&workspace);
    assert!(said.contains("reading ids from the log for the dedup index"), "{said}");
}

#[test]
fn a_lost_run_is_read_from_the_log() {
    let workspace = served();
    std::fs::remove_file(files(&workspace, "run").remove(0)).unwrap();
    assert_eq!(check_deep(&workspace).0, Some(1));
    let said = retries_are_recognised(&workspace);
    assert!(said.contains("a part of the dedup index is lost"), "{said}");
}

#[test]
fn a_flipped_bit_in_the_marks_is_found_when_they_are_read() {
    let workspace = served();
    files(&workspace, "run").iter().for_each(|run| flip(run, 128 + 30));
    assert_eq!(check_deep(&workspace).0, Some(1));
    let said = retries_are_recognised(&workspace);
    assert!(said.contains("the dedup index is damaged; it is made anew from the log"), "{said}");
}

/// The damage is met while ids are read from the log, before anything is refined.
#[test]
fn a_flipped_bit_beside_a_lost_tail_is_mended_as_well() {
    let workspace = served();
    files(&workspace, "tail").iter().for_each(|tail| std::fs::remove_file(tail).unwrap());
    files(&workspace, "run").iter().for_each(|run| flip(run, 128 + 30));
    let server = workspace.serve();
    // What is there already comes again: the ids that the tail held are looked up in the runs.
    send(&server, ids("m", BEFORE));
    drained(&workspace);
    server.stop();
    let said = retries_are_recognised_after(&workspace, BEFORE);
    assert!(!said.contains("ERROR"), "{said}");
}

#[test]
fn an_index_of_another_state_is_not_believed() {
    let (workspace, other) = (served(), served());
    let dedup = workspace.data().join("dedup");
    std::fs::remove_dir_all(&dedup).unwrap();
    std::fs::rename(other.data().join("dedup"), &dedup).unwrap();
    let said = retries_are_recognised(&workspace);
    assert!(said.contains("reading ids from the log for the dedup index"), "{said}");
}

#[test]
fn a_disk_that_takes_no_run_holds_the_syncs_and_loses_nothing() {
    let workspace = workspace();
    let server = workspace.serve_with(&["dedup_run_write=return"]);
    // Ranges of the log of their own: two full tails may wait, a third cannot.
    for first in [0, 150, 300] {
        send(&server, ids("m", first + 150).skip(first));
        drained(&workspace);
    }
    send(&server, ids("m", BEFORE).skip(450));
    let failure = |status: &serde_json::Value| status["syncs"][super::SYNC]["failure"].as_str().map(str::to_owned);
    let status = wait(&workspace, "the sync says what is wrong", |status| failure(status).is_some());
    assert!(failure(&status).unwrap().contains("the log could not be refined: the dedup index"), "{status}");
    let said = server.stop();
    assert!(said.contains("the dedup index could not be written; it is tried again"), "{said}");
    assert!(said.contains("the log could not be refined; the sync waits and tries again"), "{said}");
    assert_eq!(workspace.status()["syncs"][super::SYNC]["lag"], 150);
    retries_are_recognised(&workspace);
}

#[test]
fn a_disk_that_takes_runs_again_is_used_again() {
    let workspace = workspace();
    let server = workspace.serve_with(&["dedup_run_write=3*return->off", "dedup_manifest_write=1*off->2*return->off"]);
    send_in_ranges(&server, &workspace);
    server.stop();
    retries_are_recognised(&workspace);
}

#[test]
fn what_no_tail_file_kept_is_read_from_the_log() {
    let workspace = workspace();
    let server = workspace.serve_with(&["dedup_tail_write=2*off->return"]);
    send_in_ranges(&server, &workspace);
    server.kill();
    let said = retries_are_recognised(&workspace);
    assert!(said.contains("reading ids from the log for the dedup index"), "{said}");
}

#[test]
fn what_was_refined_and_not_marked_before_a_kill_is_marked_after_it() {
    let workspace = workspace();
    let mut server = workspace.serve_with(&["refine_after_commit=2*off->return"]);
    // A range of the log each; the server dies in the third, and may do so before it has answered.
    for first in [0, 100] {
        send(&server, ids("m", first + 100).skip(first));
        drained(&workspace);
    }
    let last: Vec<_> = ids("m", BEFORE).skip(200).map(|id| super::event(&id)).collect();
    let body = serde_json::json!({ "batch": last }).to_string();
    let authorization = basic(&server.key);
    let _ = try_request(&server.address, "POST", "/v1/batch", &[("authorization", &authorization)], body.as_bytes());
    server.wait();
    drop(server);
    retries_are_recognised(&workspace);
}
