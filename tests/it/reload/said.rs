//! How people hear of it: the signal, the command, the status.

use std::process::Output;

use serde_json::{Value, json};

use super::{FIRST, Reloading};
use crate::process::Running;
use crate::support::{Workspace, tidegate};

#[test]
fn sighup_reloads_and_says_what_is_wrong() {
    let workspace = Workspace::new();
    let mut server = Running::start(&workspace, &[]);
    let post =
        |server: &Running| server.post(FIRST, &[json!({"type": "page", "messageId": "a", "userId": "u"})]).status;
    workspace.write("sources/app.yaml", "kind: http\nwrite_key: short\n");
    server.signal("HUP");
    server.wait_for_line("the running configuration goes on");
    let log = server.log();
    assert!(log.contains("sources/app.yaml") && log.contains("shorter than 16"), "{log}");
    assert_eq!(post(&server), 401);
    workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    server.signal("HUP");
    server.wait_for("the new source takes events", |server| (post(server) == 200).then_some(()));
    server.wait_for_line("the workspace was read again");
    assert!(server.is_running());
}

/// `tidegate reload` of the server that runs.
fn reload(running: &Reloading, token: &str, more: &[&str]) -> Output {
    let (path, url) = (running.workspace.path(), format!("http://{}", running.server.admin));
    let mut command = tidegate();
    command.args(["reload", path.to_str().unwrap(), "--server", &url]).args(more);
    command.env("TIDEGATE_ADMIN_TOKEN", token).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_command_says_what_came_of_it() {
    let running = Reloading::new();
    let token = running.workspace.admin_token();
    let output = reload(&running, &token, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("nothing is different; revision "), "{}", text(&output));
    running.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    running.workspace.append("tidegate.yaml", "\ndedup: {window: 1 h}\n");
    let output = reload(&running, &token, &[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in ["source app", "dedup", "counts from the next start", "the workspace runs; revision "] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains(FIRST), "{said}");
    // What counts from the next start is still said.
    let answer: Value = serde_json::from_slice(&reload(&running, &token, &["--json"]).stdout).unwrap();
    assert_eq!((&answer["needs_restart"], &answer["changed"]), (&json!(["dedup"]), &json!([])), "{answer:#}");
    running.workspace.write("sources/app.yaml", "kind: http\nwrite_key: short\n");
    let output = reload(&running, &token, &[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for words in ["sources/app.yaml:2", "shorter than 16", "fix:", "1 problem; the running configuration goes on"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let answer: Value = serde_json::from_slice(&reload(&running, &token, &["--json"]).stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["problems"][0]["line"]), (&json!(false), &json!(2)), "{answer:#}");
    running.server.stop();
}

#[test]
fn status_says_which_revision_runs_and_which_files_differ() {
    let running = Reloading::new();
    let first = running.configuration();
    assert!(first["revision"].as_u64() > Some(0) && first["since"].is_string(), "{first}");
    assert_eq!((&first["files_differ"], &first["objects"]), (&json!([]), &json!([])), "{first}");
    running.workspace.append("sources/web.yaml", "\nrate: 500/s\n");
    running.workspace.write("syncs/second.yaml", "source: web\ndestination: warehouse\nschema: second\n");
    let differ = running.configuration();
    assert_eq!(differ["files_differ"], json!(["sources/web.yaml", "syncs/second.yaml"]));
    assert_eq!(differ["revision"], first["revision"]);
    let shown = || {
        let output = tidegate().args(["status", running.workspace.path().to_str().unwrap()]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown().contains("2 differ: sources/web.yaml, syncs/second.yaml"), "{}", shown());
    let answer = running.settle();
    let after = running.configuration();
    assert_eq!((&after["revision"], &after["files_differ"]), (&answer["revision"], &json!([])), "{after}");
    assert!(after["revision"].as_u64() > first["revision"].as_u64(), "{after}");
    assert!(shown().contains("files: as running"), "{}", shown());
    let Reloading { workspace, server, .. } = running;
    server.stop();
    // A start of the same is the same revision.
    let server = workspace.serve();
    assert_eq!(workspace.status()["configuration"]["revision"], after["revision"]);
    server.stop();
}

#[test]
fn a_file_that_changed_and_was_not_read_counts_from_the_next_start() {
    let running = Reloading::new();
    running.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    let Reloading { workspace, server, .. } = running;
    server.stop();
    let server = workspace.serve();
    assert_eq!(workspace.status()["configuration"]["files_differ"], json!([]));
    server.stop();
}
