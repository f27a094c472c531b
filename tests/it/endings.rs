//! Syncs and sources that stop for now, and those that end: nothing waits for what is gone, nothing is lost unseen, and a name that was
//! ended begins anew.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::delivery::Route;
use crate::reload::{FIRST, Reloading, changed, syncs};
use crate::support::far::{Act, Far};
use crate::support::http::Reply;
use crate::support::waiting::until;
use crate::support::{Warehouse, Workspace, basic, request, run};

/// A second source with a sync to a file of its own.
fn two_sources() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: data/second.db\n");
    workspace.write("syncs/app.yaml", "source: app\ndestination: second\n");
    workspace
}

/// Delivers one event of the second source, and holds its file from then on.
fn behind(running: &Reloading) -> Connection {
    assert_eq!(running.page(FIRST, "a"), 200);
    running.wait_for_delivered("app", 1);
    let held = Connection::open(running.workspace.data().join("second.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    held
}

fn take_away(running: &Reloading) {
    for file in ["sources/app.yaml", "destinations/second.yaml", "syncs/app.yaml"] {
        running.remove(file);
    }
}

/// Has the folder read again; `how` says what becomes of what waits for the syncs that are gone.
fn reload(running: &Reloading, how: &Value) -> Reply {
    running.admin.post("/admin/reload", how)
}

#[track_caller]
fn reloaded(running: &Reloading, how: &Value) -> Value {
    let reply = reload(running, how);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The only sync that has ended, once it has.
fn ended(running: &Reloading) -> Value {
    let status = running
        .wait("a sync ends", |status| status["endings"]["ended"].as_array().is_some_and(|ended| ended.len() == 1));
    status["endings"]["ended"][0].clone()
}

fn pages(file: &std::path::Path) -> Vec<String> {
    Warehouse::open(file).rows("SELECT id FROM pages ORDER BY id")
}

#[test]
fn a_source_that_is_deleted_with_events_behind_asks_what_becomes_of_them_and_drains() {
    let running = Reloading::of(two_sources());
    let held = behind(&running);
    assert_eq!(running.page(FIRST, "b"), 200);
    take_away(&running);
    let reply = reload(&running, &json!({}));
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(reply.code(), "409 needs-ending", "{}", reply.text());
    assert!(detail.contains("1 records") && detail.contains("--drain app"), "{detail}");
    let strange = reload(&running, &json!({"drain": ["web"]}));
    assert_eq!(strange.status, 422, "{}", strange.text());
    assert_eq!(reload(&running, &json!({"drain": ["app"], "abandon": ["app"]})).code(), "422 two-endings");
    let answer = reloaded(&running, &json!({"drain": ["app"]}));
    assert_eq!(answer["draining"], json!(["app"]), "{answer:#}");
    assert_eq!(changed(&answer), ["removed source app", "removed destination second", "removed sync app"]);
    assert_eq!(running.page(FIRST, "c"), 401, "the door is shut");
    let status = running.workspace.status();
    assert_eq!(status["endings"]["ending"]["app"], json!({"how": "drain", "records": 1, "pending": 0}), "{status:#}");
    assert_eq!(status["syncs"]["app"]["ending"], "draining");
    // Reloads do not disturb it.
    assert_eq!(reloaded(&running, &json!({}))["draining"], json!(["app"]));
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    let app = ended(&running);
    assert_eq!((&app["sync"], &app["delivered"], &app["abandoned"]), (&json!("app"), &json!(2), &json!(0)));
    let status = running.workspace.status();
    assert!(status["syncs"]["app"].is_null() && status["endings"]["ending"] == json!({}), "{status:#}");
    assert_eq!(reloaded(&running, &json!({}))["draining"], json!([]));
    assert!(!running.workspace.data().join("endings.json").exists());
    let second = running.workspace.data().join("second.db");
    running.server.stop();
    assert_eq!(pages(&second), ["a", "b"]);
}

#[test]
fn what_is_given_up_is_counted_and_everything_accepted_is_accounted_for() {
    let running = Reloading::of(two_sources());
    let held = behind(&running);
    for id in ["b", "c", "d"] {
        assert_eq!(running.page(FIRST, id), 200);
        // What another source sends is not counted.
        assert_eq!(running.page(&running.workspace.write_key, &format!("web-{id}")), 200);
    }
    running.wait_for_delivered("web-to-warehouse", 3);
    take_away(&running);
    reloaded(&running, &json!({"abandon": ["app"]}));
    let app = ended(&running);
    assert_eq!((&app["delivered"], &app["abandoned"]), (&json!(1), &json!(3)), "{app}");
    let status = running.workspace.status();
    assert_eq!(status["sources"]["app"]["accepted"], 4, "{status:#}");
    assert_eq!(status["endings"]["abandoned"], 3);
    held.execute_batch("ROLLBACK").unwrap();
    let second = running.workspace.data().join("second.db");
    running.server.stop();
    assert_eq!(pages(&second), ["a"]);
}

#[test]
fn a_drain_goes_on_after_kill_9_and_may_be_given_up() {
    let running = Reloading::of(two_sources());
    let held = behind(&running);
    assert_eq!(running.page(FIRST, "b"), 200);
    take_away(&running);
    assert_eq!(reloaded(&running, &json!({"drain": ["app"]}))["draining"], json!(["app"]));
    let Reloading { workspace, server, .. } = running;
    server.kill();
    let kept = workspace.data().join("endings.json");
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(!text.contains(FIRST), "no write key is kept: {text}");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let running = Reloading::of(workspace);
    assert_eq!(running.page(FIRST, "c"), 401);
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    let app = ended(&running);
    assert_eq!((&app["delivered"], &app["abandoned"]), (&json!(2), &json!(0)), "{app}");
    let second = running.workspace.data().join("second.db");
    running.server.stop();
    assert_eq!(pages(&second), ["a", "b"]);
}

#[test]
fn a_drain_that_takes_too_long_is_given_up_by_its_name() {
    let running = Reloading::of(two_sources());
    let held = behind(&running);
    assert_eq!(running.page(FIRST, "b"), 200);
    take_away(&running);
    reloaded(&running, &json!({"drain": ["app"]}));
    let answer = reloaded(&running, &json!({"abandon": ["app"]}));
    assert_eq!((&answer["draining"], &answer["syncs"]), (&json!([]), &json!({"app": "end"})), "{answer:#}");
    let app = ended(&running);
    assert_eq!((&app["delivered"], &app["abandoned"]), (&json!(1), &json!(1)), "{app}");
    drop(held);
    running.server.stop();
}

#[test]
fn a_sync_made_again_under_its_name_starts_anew() {
    let far = Far::new(|_| Act::status(200));
    let running = Reloading::of(Route::new(&far).workspace);
    let file = running.workspace.path().join("syncs/web-to-crm.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let send = |id: &str| assert_eq!(running.page(&running.workspace.write_key, id), 200);
    let sent = |id: &str| far.seen().iter().filter(|received| received.text().contains(id)).count();
    send("first-event");
    running.wait_for_delivered("web-to-crm", 1);
    running.remove("syncs/web-to-crm.yaml");
    assert_eq!(syncs(&running.settle()), [("web-to-crm".to_owned(), "end".to_owned())]);
    assert_eq!(ended(&running)["delivered"], 1);
    send("second-event");
    running.wait_for_delivered("web-to-warehouse", 2);
    // One to a tool gets what comes from now on.
    running.workspace.write("syncs/web-to-crm.yaml", &text);
    assert_eq!(syncs(&running.settle()), [("web-to-crm".to_owned(), "start".to_owned())]);
    send("third-event");
    running.wait_for_delivered("web-to-crm", 1);
    assert_eq!(["first-event", "second-event", "third-event"].map(sent), [1, 0, 1]);
    // And once more, told to begin at the beginning.
    running.remove("syncs/web-to-crm.yaml");
    running.settle();
    running.workspace.write("syncs/web-to-crm.yaml", &format!("{text}start: beginning\n"));
    running.settle();
    running.wait_for_delivered("web-to-crm", 3);
    assert_eq!(["first-event", "second-event", "third-event"].map(sent), [2, 1, 2]);
    running.server.stop();
}

#[test]
fn a_sync_made_again_while_the_one_before_drains_begins_once_that_has_ended() {
    let running = Reloading::of(two_sources());
    let held = behind(&running);
    assert_eq!(running.page(FIRST, "b"), 200);
    running.remove("syncs/app.yaml");
    assert_eq!(reloaded(&running, &json!({"drain": ["app"]}))["draining"], json!(["app"]));
    running.workspace.write("syncs/app.yaml", "source: app\ndestination: second\n");
    assert!(syncs(&reloaded(&running, &json!({}))).is_empty(), "the one before goes on");
    assert_eq!(running.page(FIRST, "c"), 200);
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    assert_eq!(ended(&running)["abandoned"], 0);
    assert_eq!(running.page(FIRST, "d"), 200);
    running.wait("the new one delivers", |status| status["syncs"]["app"]["lag"] == 0);
    // Nothing of the one before is left, which the next start would end.
    let Reloading { workspace, server, .. } = running;
    server.stop();
    let running = Reloading::of(workspace);
    assert_eq!(running.page(FIRST, "e"), 200);
    running.wait("it goes on", |status| status["syncs"]["app"]["lag"] == 0);
    assert_eq!(running.workspace.status()["endings"]["ended"].as_array().unwrap().len(), 1);
    let second = running.workspace.data().join("second.db");
    running.server.stop();
    assert_eq!(pages(&second), ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_drain_is_given_up_though_another_sync_of_its_name_waits_to_begin() {
    let running = Reloading::of(two_sources());
    let held = behind(&running);
    assert_eq!(running.page(FIRST, "b"), 200);
    running.remove("syncs/app.yaml");
    reloaded(&running, &json!({"drain": ["app"]}));
    running.workspace.write("syncs/app.yaml", "source: app\ndestination: second\n");
    let answer = reloaded(&running, &json!({"abandon": ["app"]}));
    assert_eq!(syncs(&answer), [("app".to_owned(), "replace".to_owned())]);
    assert_eq!(ended(&running)["abandoned"], 1);
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    // Its ledger stays, and it has what the log keeps above that.
    running.wait("the new one delivers", |status| status["syncs"]["app"]["lag"] == 0);
    let second = running.workspace.data().join("second.db");
    running.server.stop();
    assert_eq!(pages(&second), ["a", "b"]);
}

#[test]
fn a_sync_to_a_warehouse_made_again_writes_no_row_twice() {
    let running = Reloading::of(two_sources());
    assert_eq!(running.page(FIRST, "a"), 200);
    running.wait_for_delivered("app", 1);
    running.remove("syncs/app.yaml");
    running.settle();
    assert_eq!(running.page(FIRST, "b"), 200);
    running.workspace.write("syncs/app.yaml", "source: app\ndestination: second\n");
    running.settle();
    assert_eq!(running.page(FIRST, "c"), 200);
    running.wait("it has what its tables had not", |status| status["syncs"]["app"]["lag"] == 0);
    let second = running.workspace.data().join("second.db");
    running.server.stop();
    assert_eq!(pages(&second), ["a", "b", "c"]);
}

#[test]
fn a_sync_that_finds_everything_in_its_ledger_is_not_behind() {
    let running = Reloading::of(two_sources());
    for id in ["a", "b", "c"] {
        assert_eq!(running.page(FIRST, id), 200);
    }
    running.wait_for_delivered("app", 3);
    running.remove("syncs/app.yaml");
    running.settle();
    running.workspace.write("syncs/app.yaml", "source: app\ndestination: second\n");
    running.settle();
    // Nobody sends anything more.
    running.wait("it has come as far as its ledger", |status| status["syncs"]["app"]["lag"] == 0);
    // And it is in the report, though nothing is counted of it.
    let report_of_it = || running.workspace.conservation(&["--sync", "app"]);
    until("it has its line", || report_of_it().1["syncs"][0]["sync"] == "app");
    let (code, report) = report_of_it();
    let of_it = &report["syncs"][0];
    assert_eq!((code, &of_it["sync"], &of_it["source"]), (0, &json!("app"), &json!("app")), "{report:#}");
    let numbers = [&of_it["counts"]["came"], &of_it["counts"]["delivered"], &of_it["waiting"], &of_it["not_for_it"]];
    assert_eq!(numbers, [&json!(0), &json!(0), &json!(0), &of_it["went_on"]], "{of_it}");
    running.server.stop();
    assert_eq!(pages(&running.workspace.data().join("second.db")), ["a", "b", "c"]);
}

#[test]
fn pending_events_ask_before_a_plugin_becomes_a_warehouse() {
    let status = Arc::new(AtomicU16::new(503));
    let answers = Arc::clone(&status);
    let far = Far::new(move |_| Act::status(answers.load(Ordering::SeqCst)));
    let running = Reloading::of(Route::new(&far).workspace);
    assert_eq!(running.page(&running.workspace.write_key, "first-event"), 200);
    running.wait("it is pending", |status| status["syncs"]["web-to-crm"]["pending"] == 1);
    running.workspace.write("destinations/crm.yaml", "kind: sqlite\npath: data/crm.db\n");
    assert_eq!(reload(&running, &json!({})).code(), "409 needs-ending");
    let answer = reloaded(&running, &json!({"drain": ["web-to-crm"]}));
    assert_eq!(answer["draining"], json!(["web-to-crm"]), "{answer:#}");
    status.store(200, Ordering::SeqCst);
    let crm = ended(&running);
    assert_eq!((&crm["delivered"], &crm["abandoned"]), (&json!(1), &json!(0)), "{crm}");
    // The one of its name to the warehouse has all that the log keeps.
    running.wait_for_delivered("web-to-crm", 1);
    let file = running.workspace.data().join("crm.db");
    running.server.stop();
    assert_eq!(pages(&file), ["first-event"]);
}

#[test]
fn a_start_without_the_state_of_a_drain_to_a_tool_is_refused() {
    let far = Far::new(|_| Act::status(503));
    let running = Reloading::of(Route::new(&far).workspace);
    assert_eq!(running.page(&running.workspace.write_key, "first-event"), 200);
    running.wait("it is pending", |status| status["syncs"]["web-to-crm"]["pending"] == 1);
    running.remove("syncs/web-to-crm.yaml");
    assert_eq!(reloaded(&running, &json!({"drain": ["web-to-crm"]}))["draining"], json!(["web-to-crm"]));
    let Reloading { workspace, server, .. } = running;
    server.kill();
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(workspace.data().join(file));
    }
    let said = crate::reliability::refused(&workspace);
    assert!(said.contains("web-to-crm") && said.contains("--rebuild-state"), "{said}");
}

#[test]
fn a_sync_that_is_to_read_from_another_source_ends_and_begins_anew() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    route.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    let running = Reloading::of(route.workspace);
    let sent = |id: &str| far.seen().iter().filter(|received| received.text().contains(id)).count();
    assert_eq!(running.page(FIRST, "early-event"), 200);
    assert_eq!(running.page(&running.workspace.write_key, "web-event"), 200);
    running.wait_for_delivered("web-to-crm", 1);
    running.workspace.write("syncs/web-to-crm.yaml", "source: app\ndestination: crm\n");
    let refused = reload(&running, &json!({}));
    assert_eq!(refused.code(), "409 needs-ending");
    assert!(refused.text().contains("--drain web-to-crm"), "{}", refused.text());
    reloaded(&running, &json!({"drain": ["web-to-crm"]}));
    assert_eq!(ended(&running)["delivered"], 1);
    running.wait("the new one is there", |status| status["configuration"]["objects"] == json!([]));
    let mut events = 0;
    until("the new one takes events", || {
        events += 1;
        assert_eq!(running.page(FIRST, &format!("late-event-{events}")), 200);
        sent("late-event") > 0
    });
    assert_eq!((sent("web-event"), sent("early-event")), (1, 0));
    running.server.stop();
}

#[test]
fn a_paused_sync_holds_the_log_and_goes_on_where_it_was() {
    let running = Reloading::new();
    let page = |running: &Reloading, id: &str| assert_eq!(running.page(&running.workspace.write_key, id), 200);
    page(&running, "a");
    running.wait_for_delivered("web-to-warehouse", 1);
    let pause = |running: &Reloading, what: &str| {
        running.admin.post(&format!("/api/v1/objects/sync/web-to-warehouse/{what}"), &json!({}))
    };
    let reply = pause(&running, "pause");
    assert_eq!((reply.status, &reply.json()["objects"][0]["done"]), (200, &json!("updated")), "{}", reply.text());
    assert_eq!(pause(&running, "pause").json()["objects"][0]["done"], "unchanged");
    page(&running, "b");
    let is_held = |status: &Value| {
        let sync = &status["syncs"]["web-to-warehouse"];
        sync["delivered"] == 1 && sync["lag"] == 1
    };
    let status = running.wait("it waits", is_held);
    let paused = json!([{"kind": "sync", "key": "web-to-warehouse"}]);
    assert_eq!(status["configuration"]["paused"], paused, "{status:#}");
    let text = run(&["status", running.workspace.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("paused:") && text.contains("sync web-to-warehouse"), "{text}");
    // It is in no file, and so no reload takes it back; neither does a start.
    assert!(syncs(&running.reload()).is_empty());
    let Reloading { workspace, server, .. } = running;
    server.stop();
    let running = Reloading::with(workspace, &["trim_in_haste=return"]);
    page(&running, "c");
    let status = running.workspace.status();
    assert_eq!((&status["syncs"]["web-to-warehouse"]["lag"], &status["configuration"]["paused"]), (&json!(2), &paused));
    assert_eq!(pause(&running, "resume").status, 200);
    running.wait_for_delivered("web-to-warehouse", 3);
    // By its file.
    let file = running.workspace.path().join("syncs/web-to-warehouse.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    running.workspace.append("syncs/web-to-warehouse.yaml", "\npaused: true\n");
    assert_eq!(syncs(&running.settle()), [("web-to-warehouse".to_owned(), "pause".to_owned())]);
    page(&running, "d");
    running.wait("it waits again", |status| status["syncs"]["web-to-warehouse"]["lag"] == 1);
    // What is paused does not drain.
    running.remove("syncs/web-to-warehouse.yaml");
    let refused = reload(&running, &json!({"drain": ["web-to-warehouse"]}));
    assert!(refused.status == 409 && refused.text().contains("is paused"), "{}", refused.text());
    std::fs::write(&file, text).unwrap();
    assert_eq!(syncs(&running.settle()), [("web-to-warehouse".to_owned(), "resume".to_owned())]);
    running.wait_for_delivered("web-to-warehouse", 4);
    let warehouse = running.workspace.data().join("warehouse.db");
    running.server.stop();
    assert_eq!(pages(&warehouse), ["a", "b", "c", "d"]);
}

#[test]
fn a_paused_source_answers_503_and_is_sent_to_again_after_it_resumes() {
    let running = Reloading::new();
    let send = |id: &str| {
        let body = json!({"type": "page", "messageId": id, "userId": "u"}).to_string();
        let key = basic(&running.workspace.write_key);
        request(&running.server.address, "POST", "/v1/page", &[("authorization", &key)], body.as_bytes())
    };
    let said = |what: &str| {
        let url = format!("http://{}", running.server.admin);
        let output = run(&["object", what, "source", "web", "--server", &url, "--token", running.admin.token()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said("pause"), "source web is paused\n");
    let reply = send("a");
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true), "{}", reply.text());
    assert!(reply.text().contains("source-paused"), "{}", reply.text());
    assert_eq!(said("resume"), "source web goes on\n");
    assert_eq!(send("a").status, 200);
    running.wait_for_delivered("web-to-warehouse", 1);
    let refused = running.admin.post("/api/v1/objects/function/web/pause", &json!({}));
    assert_eq!(refused.status, 404, "{}", refused.text());
    running.server.stop();
}

#[test]
fn a_pause_of_a_destination_that_hangs_is_answered_in_bounded_time() {
    let far = Far::new(|_| Act::Hang);
    let running = Reloading::of(Route::new(&far).workspace);
    assert_eq!(running.page(&running.workspace.write_key, "a"), 200);
    until("the far side hangs", || !far.seen().is_empty());
    let asked = Instant::now();
    let reply = running.admin.post("/api/v1/objects/destination/crm/pause", &json!({}));
    assert!([200, 202].contains(&reply.status), "{}", reply.text());
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    running.wait("everything follows", |status| status["configuration"]["objects"] == json!([]));
    running.wait_for_delivered("web-to-warehouse", 1);
    let paused = running.configuration()["paused"].clone();
    assert_eq!(paused, json!([{"kind": "destination", "key": "crm"}]));
    running.server.stop();
}
