//! Versions go live, are tried and are taken back under load: every event meets exactly one, none is lost or doubled.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_plugin::embed;

use crate::reliability::{SYNC, wait};
use crate::support::admin::Admin;
use crate::support::http::{basic, try_request};
use crate::support::waiting::until;
use crate::support::{Server, Warehouse, Workspace, guests, run};

/// A version of the function `stamp`; its settings say what it stamps.
fn version(note: &str) -> Vec<u8> {
    let manifest = json!({
        "name": "stamp", "kind": "fields", "description": note,
        "settings": {"type": "object", "properties": {"stamp": {"type": "string"}}},
    });
    embed(&std::fs::read(guests::component("hostile/stamp")).unwrap(), &manifest, &[])
}

/// Clients that send until told to stop, and note what was answered.
fn load(
    server: &Server,
    acked: &Arc<Mutex<HashSet<String>>>,
    stop: &Arc<AtomicBool>,
) -> Vec<std::thread::JoinHandle<()>> {
    (0..3)
        .map(|client| {
            let (address, key) = (server.address.clone(), basic(&server.key));
            let (acked, stop) = (Arc::clone(acked), Arc::clone(stop));
            std::thread::spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let ids: Vec<String> = (0..5).map(|e| format!("{client}-{n}-{e}")).collect();
                    let event =
                        |id: &String| json!({"type": "track", "event": "Swap", "messageId": id, "properties": {}});
                    let body = json!({"batch": ids.iter().map(event).collect::<Vec<_>>()}).to_string();
                    match try_request(&address, "POST", "/v1/batch", &[("authorization", &key)], body.as_bytes()) {
                        Ok(reply) if reply.status == 200 => acked.lock().unwrap().extend(ids),
                        _ => return,
                    }
                }
            })
        })
        .collect()
}

/// The stamp of each event, none of them there twice.
fn stamps(warehouse: &Warehouse) -> HashMap<String, String> {
    let rows = warehouse.rows("SELECT id || ' ' || coalesce(stamp, 'none') FROM swap");
    let stamps: HashMap<String, String> =
        rows.iter().filter_map(|row| row.split_once(' ')).map(|(id, stamp)| (id.into(), stamp.into())).collect();
    assert_eq!(stamps.len(), rows.len(), "an event is there twice");
    stamps
}

#[test]
fn every_event_meets_one_version_while_releases_change_under_load() {
    let workspace = Workspace::new();
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: DATA/second.db\n");
    workspace.write("syncs/second.yaml", "source: web\ndestination: second\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let (one, two) = (admin.taken("stamp", &version("one")), admin.taken("stamp", &version("two")));
    let stamp = |text: &str| json!({ "stamp": text });
    admin.live("stamp", &one, stamp("1"));
    admin.attach("stamp", "web");

    let (acked, stop) = (Arc::new(Mutex::new(HashSet::new())), Arc::new(AtomicBool::new(false)));
    let clients = load(&server, &acked, &stop);
    let more = |events: usize| {
        let goal = acked.lock().unwrap().len() + events;
        until("more events are answered", || acked.lock().unwrap().len() >= goal);
    };
    let post = |what: &str, body: &Value| {
        let reply = admin.post(&format!("/admin/functions/stamp/{what}"), body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    for _ in 0..5 {
        more(300);
        admin.live("stamp", &two, stamp("2"));
        more(300);
        post("rollback", &json!({}));
        more(300);
        post("canary", &json!({"sha256": two, "share": 50, "settings": stamp("3")}));
        more(300);
        admin.live("stamp", &one, stamp("4"));
        more(300);
        admin.live("stamp", &one, stamp("1"));
    }
    // The process dies in the middle, and what waits goes on under the function chains of then.
    server.kill();
    for client in clients {
        client.join().unwrap();
    }
    workspace.serve().stop();

    let acked = acked.lock().unwrap();
    let (first, second) =
        (stamps(&workspace.warehouse()), stamps(&Warehouse::open(&workspace.data().join("second.db"))));
    let lost: Vec<_> = acked.iter().filter(|id| !first.contains_key(*id)).take(5).collect();
    assert!(lost.is_empty(), "answered with 200 and lost: {lost:?}");
    assert_eq!(first.len(), second.len());
    for (id, stamp) in &first {
        assert!(["1", "2", "3", "4"].contains(&stamp.as_str()), "{id} met {stamp}");
        assert_eq!(Some(stamp), second.get(id), "{id} met another version on its way to the second warehouse");
    }
    let kinds: HashSet<&String> = first.values().collect();
    println!("{} events, stamps {kinds:?}", first.len());
    assert!(kinds.len() >= 3, "hardly a version was met at all: {kinds:?}");
}

#[test]
fn a_shadow_changes_no_event_and_its_differences_are_kept_field_by_field() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let (one, two) = (admin.taken("stamp", &version("one")), admin.taken("stamp", &version("two")));
    admin.live("stamp", &one, json!({"stamp": "live"}));
    let candidate = json!({"sha256": two, "shadow": true, "settings": {"stamp": "rival"}});
    let reply = admin.post("/admin/functions/stamp/canary", &candidate);
    assert_eq!(reply.status, 200, "{}", reply.text());
    admin.attach("stamp", "web");
    let times = admin.get("/admin/functions/stamp")["meters"]["times"].clone();
    assert_eq!(times, json!({"batches": 0, "p50_us": null, "p99_us": null}), "nothing came yet");
    let event = |id: &str| json!({"type": "track", "event": "Swap", "messageId": id, "properties": {}});
    server.batch(&[event("a"), event("b")]);
    until("both events are in their table", || {
        workspace.warehouse().has("swap") && workspace.warehouse().count("swap") == 2
    });
    let shown = admin.get("/admin/functions/stamp");
    let url = format!("http://{}", server.admin);
    let top = run(&["--json", "top", "--once", "--interval", "1", "--server", &url, "--token", &token]);
    server.stop();
    assert_eq!(stamps(&workspace.warehouse()).values().collect::<HashSet<_>>(), HashSet::from([&"live".to_owned()]));
    let found = &shown["meters"]["comparisons"][0];
    assert_eq!((found["same"].as_u64(), found["different"].as_u64()), (Some(0), Some(2)), "{shown}");
    assert_eq!(found["samples"]["a"][0], "/properties/stamp: \"live\" became \"rival\"", "{shown}");
    let times = &shown["meters"]["times"];
    let (half, nearly_all) = (times["p50_us"].as_u64(), times["p99_us"].as_u64());
    assert!(times["batches"].as_u64() >= Some(1) && half.is_some() && half <= nearly_all, "{shown}");
    let top: Value = serde_json::from_slice(&top.stdout).unwrap();
    let function = &top["functions"][0];
    let (half, nearly_all) = (function["p50_seconds"].as_f64(), function["p99_seconds"].as_f64());
    assert!(function["function"] == "stamp" && half.is_some() && half <= nearly_all, "{top}");
}

#[test]
fn a_component_that_is_replaced_goes_on_for_a_sync_that_lags() {
    let workspace = Workspace::new();
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: DATA/second.db\n");
    workspace.write("syncs/second.yaml", "source: web\ndestination: second\n");
    workspace.append("sources/web.yaml", "functions: [stamp]\n");
    let component = workspace.path().join("functions/stamp.wasm");
    let file = |note: &str| {
        std::fs::write(&component, version(note)).unwrap();
        workspace
            .write("functions/stamp.yaml", &format!("component: functions/stamp.wasm\nsettings: {{stamp: {note}}}\n"));
    };
    file("one");
    workspace.serve().stop();
    let held = rusqlite::Connection::open(workspace.data().join("second.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let event = |id: &str| json!({"type": "track", "event": "Swap", "messageId": id, "properties": {}});
    let server = workspace.serve();
    assert_eq!(server.batch(&[event("then")]).status, 200);
    wait(&workspace, "the sync that does not lag has it", |status| status["syncs"][SYNC]["lag"] == 0);
    server.kill();
    // Replaced twice: what is not live at the start is kept as well.
    for note in ["two", "three"] {
        file(note);
        workspace.serve().kill();
    }
    let server = workspace.serve();
    assert_eq!(server.batch(&[event("now")]).status, 200);
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    let both = |status: &Value| [SYNC, "second"].iter().all(|sync| status["syncs"][sync]["lag"] == 0);
    wait(&workspace, "both syncs have everything", both);
    server.stop();
    let met = HashMap::from([("then".to_owned(), "one".to_owned()), ("now".to_owned(), "three".to_owned())]);
    assert_eq!(stamps(&workspace.warehouse()), met);
    assert_eq!(stamps(&Warehouse::open(&workspace.data().join("second.db"))), met);
    // Of the components those are left that events went through, or go through now.
    let kept = std::fs::read_dir(workspace.data().join("store/components")).unwrap().count();
    assert_eq!(kept, 2);
}
