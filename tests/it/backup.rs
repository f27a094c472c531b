//! Backups: taken while a server runs, verified, restored; nothing of a damaged or half one is ever used.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::delivery::Route;
use crate::reliability::{bad, check_deep, delivered, drained, each_once, event, files, ids, send, served};
use crate::support::far::{Act, Far};
use crate::support::waiting::until;
use crate::support::{Server, Warehouse, Workspace, basic, request, run, tidegate};

/// Events of a request under load.
const BATCH: usize = 100;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Takes a backup beside the workspace.
#[track_caller]
fn backup(workspace: &Workspace, name: &str, more: &[&str]) -> (PathBuf, Value) {
    let (path, to) = (workspace.path(), workspace.dir.path().join(name));
    let mut arguments = vec!["backup", text(&path), "--to", text(&to), "--json"];
    arguments.extend(more);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    let answer = serde_json::from_slice(&output.stdout).unwrap();
    (to, answer)
}

/// Moves the data directory away, and makes it anew of a backup. Answers where the old one is.
#[track_caller]
fn restore_anew(workspace: &Workspace, from: &Path, name: &str) -> PathBuf {
    let old = workspace.dir.path().join(name);
    std::fs::rename(workspace.data(), &old).unwrap();
    let (path, key) = (workspace.path(), old.join("instance.key"));
    let output = run(&["restore", text(from), "--to", text(&path), "--instance-key", text(&key)]);
    assert!(output.status.success(), "{}", said(&output));
    old
}

/// The names in a folder, hidden ones too.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Somebody who sends as fast as it goes.
struct SteadyLoad {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Vec<String>>>,
    sender: JoinHandle<()>,
}

impl SteadyLoad {
    fn begin(server: &Server) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_over, kept) = (Arc::clone(&stop), Arc::clone(&answered));
        let (address, key) = (server.address.clone(), server.key.clone());
        let sender = std::thread::spawn(move || {
            let mut next = 0;
            while !is_over.load(Ordering::Relaxed) {
                let ids: Vec<String> = (next..next + BATCH).map(|n| format!("load{n}")).collect();
                next += BATCH;
                let events: Vec<Value> = ids.iter().map(|id| event(id)).collect();
                let body = json!({ "batch": events }).to_string();
                let authorization = basic(&key);
                let headers = [("authorization", authorization.as_str())];
                if request(&address, "POST", "/v1/batch", &headers, body.as_bytes()).status == 200 {
                    kept.lock().unwrap().extend(ids);
                }
            }
        });
        Self { stop, answered, sender }
    }

    fn count(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    fn answered(&self) -> Vec<String> {
        self.answered.lock().unwrap().clone()
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap();
    }
}

#[test]
fn a_backup_under_load_comes_back_with_everything_that_was_answered_before_it() {
    let workspace = Workspace::new();
    // Several segments, of which some are sealed while it is made.
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 1 MiB}\n");
    let server = workspace.serve();
    assert_eq!(server.batch(&[bad(0), bad(1)]).status, 200);
    let load = SteadyLoad::begin(&server);
    until("there is a load", || load.count() >= 5_000);
    let before = load.answered();
    let (to, answer) = backup(&workspace, "backup", &[]);
    assert_eq!((&answer["ok"], &answer["contents"]["instance_key"]), (&json!(true), &json!("left-out")), "{answer}");
    let partition = &answer["contents"]["environments"][0]["partitions"][0];
    assert!(partition["end"].as_u64().unwrap() >= before.len() as u64, "{answer}");
    assert!(partition["refined_to"].as_u64() <= partition["end"].as_u64(), "{answer}");
    assert_eq!(answer["contents"]["notes"], json!([]), "{answer}");
    load.end();
    server.kill();
    let verified = run(&["backup", "verify", text(&to)]);
    assert!(verified.status.success(), "{}", said(&verified));
    // Once with the warehouse that is in it, and once with a new one.
    for (has_warehouse, old) in [(true, "old-1"), (false, "old-2")] {
        restore_anew(&workspace, &to, old);
        let (_, deep) = check_deep(&workspace);
        assert_eq!(deep["damage"], json!([]), "{deep}");
        if !has_warehouse {
            std::fs::remove_file(workspace.data().join("warehouse.db")).unwrap();
        }
        let server = workspace.serve();
        drained(&workspace);
        let said = server.stop();
        assert!(said.contains("was restored from a backup of") && said.contains("suppressed or forgotten"), "{said}");
        assert!(!said.contains("ERROR"), "{said}");
        let found = delivered(&workspace);
        assert!(found.values().all(|count| *count == 1), "{found:?}");
        let missing: Vec<&String> = before.iter().filter(|id| !found.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} of {}: {missing:?}", missing.len(), before.len());
        assert_eq!(workspace.quarantined().len(), 2);
        workspace.conserves();
        // It goes on as any other, and says so once.
        let server = workspace.serve();
        send(&server, ids("later", 10));
        // A retry of what was there before is known.
        send(&server, before.iter().take(10).cloned());
        drained(&workspace);
        assert!(!server.stop().contains("was restored"));
        assert_eq!(delivered(&workspace).len(), found.len() + 10);
        workspace.conserves();
    }
}

#[test]
fn a_backup_of_a_stopped_directory_has_all_of_it_and_the_next_one_only_what_is_new() {
    let workspace = served(300);
    let before = files(&workspace.data());
    let (first, answer) = backup(&workspace, "first", &["--with-instance-key"]);
    assert_eq!(answer["contents"]["instance_key"], "contained", "{answer}");
    let is_compared =
        |name: &String| !name.contains("backup.lock") && !name.ends_with("-shm") && !name.ends_with("-wal");
    let unchanged = |found: std::collections::BTreeMap<String, Vec<u8>>| -> Vec<(String, Vec<u8>)> {
        found.into_iter().filter(|(name, _)| is_compared(name)).collect()
    };
    assert!(unchanged(files(&workspace.data())) == unchanged(before), "a backup changes nothing");
    let server = workspace.serve();
    send(&server, ids("later", 20));
    drained(&workspace);
    server.stop();
    let (second, answer) = backup(&workspace, "second", &["--since", text(&first), "--with-instance-key"]);
    assert!(answer["linked_bytes"].as_u64().unwrap() > 0, "{answer}");
    // They stand alone: the first one may go.
    std::fs::remove_dir_all(&first).unwrap();
    std::fs::rename(workspace.data(), workspace.dir.path().join("old")).unwrap();
    let path = workspace.path();
    let output = run(&["restore", text(&second), "--to", text(&path), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["needs_instance_key"]), (&json!(true), &json!(false)), "{answer}");
    let server = workspace.serve();
    drained(&workspace);
    server.stop();
    each_once(&workspace, ids("m", 300).chain(ids("later", 20)));
    workspace.conserves();
}

#[test]
fn a_damaged_backup_is_refused_with_the_name_of_the_file() {
    let workspace = served(50);
    let (to, _) = backup(&workspace, "backup", &[]);
    let path = workspace.path();
    let restored = workspace.dir.path().join("restored");
    let is_refused = |name: &str| {
        for arguments in [
            vec!["backup", "verify", text(&to)],
            vec!["restore", text(&to), "--to", text(&path), "--data", text(&restored)],
        ] {
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
            assert!(said(&output).contains(name), "{name}: {}", said(&output));
        }
        assert!(!restored.exists());
        assert!(!names(workspace.dir.path()).iter().any(|name| name.ends_with(".restoring")));
    };
    let mut all: Vec<String> = files(&to).into_keys().collect();
    all.push("data/catalog.db".to_owned());
    assert!(all.iter().any(|name| name.starts_with("data/log/") && name.ends_with(".log")), "{all:?}");
    for name in all {
        let file = to.join(&name);
        let whole = std::fs::read(&file).unwrap();
        let shown = if name.starts_with("backup.json") { "backup.json" } else { name.as_str() };
        if !whole.is_empty() {
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 0x10;
            std::fs::write(&file, flipped).unwrap();
            // In the text of the checksum beside the contents anything but the digits may change.
            if name != "backup.json.sha256" {
                is_refused(shown);
            }
            std::fs::write(&file, &whole[..whole.len() / 3]).unwrap();
            is_refused(shown);
        }
        std::fs::remove_file(&file).unwrap();
        is_refused(shown);
        std::fs::write(&file, &whole).unwrap();
    }
    assert!(run(&["backup", "verify", text(&to)]).status.success());
}

#[test]
fn a_full_disk_in_the_middle_leaves_nothing() {
    let workspace = served(50);
    let path = workspace.path();
    let before = names(workspace.dir.path());
    for after in [1, 3, 5] {
        let to = workspace.dir.path().join("backup");
        let output = tidegate()
            .args(["backup", text(&path), "--to", text(&to)])
            .env("FAILPOINTS", format!("backup_write={after}*off->return"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("could not write"), "{}", said(&output));
        assert_eq!(names(workspace.dir.path()), before);
    }
    let (to, _) = backup(&workspace, "backup", &[]);
    let before = names(workspace.dir.path());
    let data = workspace.dir.path().join("restored");
    let output = tidegate()
        .args(["restore", text(&to), "--to", text(&path), "--data", text(&data)])
        .env("FAILPOINTS", "restore_write=2*off->return")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(names(workspace.dir.path()), before);
    // One that was killed leaves what the next one removes.
    let cut = tidegate()
        .args(["backup", text(&path), "--to", text(&workspace.dir.path().join("cut"))])
        .env("FAILPOINTS", "backup_before_rename=return")
        .output()
        .unwrap();
    assert!(!cut.status.success());
    assert!(names(workspace.dir.path()).iter().any(|name| name.ends_with(".partial")));
    backup(&workspace, "cut", &[]);
    assert!(!names(workspace.dir.path()).iter().any(|name| name.ends_with(".partial")));
}

#[test]
fn what_is_there_is_never_overwritten_and_two_backups_at_once_are_one() {
    let workspace = served(50);
    let (to, _) = backup(&workspace, "backup", &[]);
    let (path, data) = (workspace.path(), files(&workspace.data()));
    let is_refused = |arguments: &[&str], words: &str| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    };
    is_refused(&["restore", text(&to), "--to", text(&path)], "not empty");
    is_refused(&["backup", text(&path), "--to", text(&to)], "it is there already");
    let within = workspace.data().join("backup");
    is_refused(&["backup", text(&path), "--to", text(&within)], "in the data directory");
    let archive = workspace.dir.path().join("backup.tar.zst");
    is_refused(&["backup", text(&path), "--to", text(&archive)], "tar --zstd");
    is_refused(&["backup", "verify", text(&path)], "backup.json");
    assert_eq!(files(&workspace.data()), data);
    let held = std::fs::File::options().write(true).open(workspace.data().join("backup.lock")).unwrap();
    held.lock().unwrap();
    let second = workspace.dir.path().join("second");
    is_refused(&["backup", text(&path), "--to", text(&second)], "a backup of this data directory is being made");
    drop(held);
    backup(&workspace, "second", &[]);
}

#[test]
fn a_start_behind_a_restore_says_which_destinations_may_get_events_twice() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let server = route.workspace.serve();
    assert_eq!(server.batch(&[event("a"), event("b")]).status, 200);
    route.wait_for_end(2);
    let (to, _) = backup(&route.workspace, "backup", &[]);
    assert_eq!(server.batch(&[event("c")]).status, 200);
    route.wait_for_end(3);
    server.kill();
    restore_anew(&route.workspace, &to, "old");
    let server = route.workspace.serve();
    // Whoever sent it sends it again: it is not in the log any more, and the plugin keeps no ledger.
    assert_eq!(server.batch(&[event("c")]).status, 200);
    route.wait_for_end(3);
    let said = server.stop();
    assert!(said.contains("keep no ledger") && said.contains("web-to-crm from offset 2"), "{said}");
    assert_eq!(crate::delivery::ids(&far.seen()).len(), 4);
}

#[test]
fn a_ledger_that_cannot_be_asked_behind_a_restore_takes_no_new_event_for_an_old_one() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    send(&server, ids("m", 20));
    drained(&workspace);
    let (to, _) = backup(&workspace, "backup", &[]);
    send(&server, ids("later", 30));
    drained(&workspace);
    server.stop();
    let old = restore_anew(&workspace, &to, "old");
    // As with a warehouse that is elsewhere: it has what came after the backup.
    for name in names(&old).iter().filter(|name| name.starts_with("warehouse.db")) {
        std::fs::copy(old.join(name), workspace.data().join(name)).unwrap();
    }
    let sync = workspace.path().join("syncs/web-to-warehouse.yaml");
    let text = std::fs::read_to_string(&sync).unwrap();
    std::fs::write(&sync, format!("{text}\npaused: true\n")).unwrap();
    let server = workspace.serve();
    // More than what the warehouse has ahead of the log.
    send(&server, ids("new", 50));
    let said = server.stop();
    assert!(said.contains("not every sync's ledger can be asked"), "{said}");
    std::fs::write(&sync, text).unwrap();
    let server = workspace.serve();
    drained(&workspace);
    server.stop();
    each_once(&workspace, ids("m", 20).chain(ids("later", 30)).chain(ids("new", 50)));
}

#[test]
fn environments_are_in_the_backup_of_their_server() {
    let workspace = Workspace::new();
    let key = "staging-key-0123456789";
    workspace.append("tidegate.yaml", "\nenvironments: {staging: {}}\n");
    workspace.write("environments/staging/sources/web.yaml", &format!("kind: http\nwrite_key: {key}\n"));
    workspace.write("environments/staging/destinations/warehouse.yaml", "kind: sqlite\n");
    workspace.write("environments/staging/syncs/web-to-warehouse.yaml", "source: web\ndestination: warehouse\n");
    let server = workspace.serve();
    send(&server, ids("main", 20));
    let sent = request(
        &server.address,
        "POST",
        "/v1/track",
        &[("authorization", &basic(key))],
        event("staged").to_string().as_bytes(),
    );
    assert_eq!(sent.status, 200);
    let staging = workspace.data().join("environments/staging/warehouse.db");
    let path = workspace.path();
    until("the staged event is delivered", || {
        let output = run(&["status", text(&path), "--environment", "staging", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["syncs"]["web-to-warehouse"]["delivered"] == 1
    });
    drained(&workspace);
    std::fs::write(workspace.data().join("notes.txt"), "somebody's").unwrap();
    let (to, answer) = backup(&workspace, "backup", &[]);
    let environments: Vec<&Value> = answer["contents"]["environments"].as_array().unwrap().iter().collect();
    let of = |environment: &Value| (environment["name"].clone(), environment["partitions"][0]["end"].clone());
    let found: Vec<_> = environments.into_iter().map(of).collect();
    assert_eq!(found, [(json!("default"), json!(20)), (json!("staging"), json!(1))], "{answer}");
    assert_eq!(answer["contents"]["left_out"], json!(["notes.txt"]), "{answer}");
    server.stop();
    restore_anew(&workspace, &to, "old");
    let server = workspace.serve();
    drained(&workspace);
    server.stop();
    each_once(&workspace, ids("main", 20));
    assert_eq!(Warehouse::open(&staging).count("bought"), 1);
}
