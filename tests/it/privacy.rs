//! Somebody is left out, or forgotten: no byte of them is left, and nobody else notices.

mod tools;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::delivery::Route;
use crate::reliability::{SYNC, check_deep, drained};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::http::try_request;
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Server, Workspace, run};

/// Stands in everything of one person, and nowhere else.
const MARKER: &str = "marker-5e1f7a";

fn track(n: u32, user: &str) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": user,
        "properties": {"n": n, "note": format!("of {user}")}})
}

fn identify(n: u32, user: &str) -> Value {
    json!({"type": "identify", "messageId": format!("i{n}"), "userId": user,
        "traits": {"email": format!("{user}@example.com")}})
}

/// An event without a type: it goes to quarantine.
fn unfit(n: u32, user: &str) -> Value {
    json!({"messageId": format!("q{n}"), "userId": user})
}

/// Files below a folder in which the marker stands.
fn with_marker(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(with_marker(&path));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

fn subjects() -> Value {
    json!([{"kind": "user", "value": MARKER}])
}

fn forget(admin: &Admin, order: &Value) -> Value {
    let reply = admin.post("/api/v1/privacy/forget", order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    done(admin, &reply.json()["id"])
}

fn done(admin: &Admin, id: &Value) -> Value {
    within(PATIENCE, "the job ends", || {
        let job = admin.get(&format!("/api/v1/privacy/jobs/{id}"));
        if job["state"] == "done" { Ok(job) } else { Err(job.to_string()) }
    })
}

fn place<'j>(job: &'j Value, name: &str) -> &'j Value {
    let places = job["report"]["places"].as_array().unwrap();
    places.iter().find(|place| place["place"] == name).unwrap_or_else(|| panic!("no {name} in {job}"))
}

/// Sends events of so many people, and some of the marker among them; in quarantine there is one of each kind.
fn fill(server: &Server, events: u32) -> u32 {
    let mut of_marker = 0;
    let mut batch = vec![identify(0, "other"), identify(1, MARKER), unfit(0, "other"), unfit(1, MARKER)];
    for n in 0..events {
        let is_marker = n % 100 == 7;
        of_marker += u32::from(is_marker);
        batch.push(track(n, &if is_marker { MARKER.to_owned() } else { format!("user-{}", n % 50) }));
        if batch.len() >= 500 {
            assert_eq!(server.batch(&batch).status, 200);
            batch.clear();
        }
    }
    if !batch.is_empty() {
        assert_eq!(server.batch(&batch).status, 200);
    }
    of_marker
}

/// Removes the marker from the tables as an operator would.
fn forget_tables(workspace: &Workspace, more: &[&str]) -> Value {
    let path = workspace.path();
    let words = ["privacy", "warehouses", path.to_str().unwrap(), "--user", MARKER, "--json"];
    let output = run(&[&words[..], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn who_is_suppressed_goes_nowhere_and_their_neighbours_do() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[track(1, MARKER)]).status, 200);
    drained(&workspace);
    let order = json!({"subjects": [{"kind": "user", "value": MARKER},
        {"kind": "trait", "name": "email", "value": " ANN@example.com "}]});
    let mut dry = order.clone();
    dry["dry_run"] = json!(true);
    let reply = admin.post("/api/v1/privacy/suppress", &dry);
    assert_eq!((reply.status, &reply.json()["changed"]), (200, &json!(2)), "{}", reply.text());
    assert_eq!(admin.get("/api/v1/privacy/suppressed")["subjects"], json!([]));
    let reply = admin.post("/api/v1/privacy/suppress", &order);
    assert_eq!((reply.status, &reply.json()["changed"]), (200, &json!(2)), "{}", reply.text());
    assert_eq!(admin.post("/api/v1/privacy/suppress", &order).json()["changed"], 0);
    let listed = admin.get("/api/v1/privacy/suppressed");
    assert_eq!(listed["subjects"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains(MARKER) && !listed.to_string().to_lowercase().contains("ann@"), "{listed}");
    let by_email = json!({"type": "track", "event": "Bought", "messageId": "e1", "anonymousId": "a",
        "context": {"traits": {"email": "ann@example.com"}}});
    assert_eq!(server.batch(&[track(2, MARKER), track(3, "other"), by_email, unfit(4, MARKER)]).status, 200);
    let status = drained(&workspace);
    let source = &status["sources"]["web"];
    assert_eq!((&source["accepted"], &source["suppressed"]), (&json!(5), &json!(3)), "{status}");
    assert_eq!((&source["quarantined"], &status["syncs"][SYNC]["delivered"]), (&json!(0), &json!(2)), "{status}");
    let reply = admin.post("/api/v1/privacy/unsuppress", &order);
    assert_eq!((reply.status, &reply.json()["changed"]), (200, &json!(2)), "{}", reply.text());
    assert_eq!(server.batch(&[track(5, MARKER)]).status, 200);
    drained(&workspace);
    server.stop();
    assert_eq!(workspace.warehouse().rows("SELECT id FROM bought ORDER BY id"), ["m1", "m3", "m5"]);
    assert_eq!(check_deep(&workspace).0, Some(0));
}

#[test]
fn no_byte_of_somebody_is_left_and_a_sync_that_lags_gets_everybody_else() {
    const EVENTS: u32 = 20_000;
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    workspace.write("destinations/late.yaml", "kind: sqlite\npath: data/late.db\n");
    let late = "source: web\ndestination: late\nschema: late\n";
    workspace.write("syncs/late.yaml", &format!("{late}paused: true\n"));
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let of_marker = fill(&server, EVENTS);
    drained(&workspace);
    assert!(!with_marker(&workspace.data()).is_empty());
    let records = of_marker + 2;
    // A dry run counts, and changes nothing.
    let tried = forget(&admin, &json!({"subjects": subjects(), "dry_run": true}));
    assert_eq!(
        (&place(&tried, "log")["found"], &place(&tried, "log")["removed"]),
        (&json!(records), &json!(0)),
        "{tried}"
    );
    assert_eq!((&place(&tried, "quarantine")["found"], &tried["report"]["segments"]), (&json!(1), &json!([])));
    assert_eq!(workspace.quarantined().len(), 2);
    assert_eq!(admin.get("/api/v1/privacy/suppressed")["subjects"], json!([]));
    let job = forget(&admin, &json!({"subjects": subjects()}));
    assert_eq!(
        (&place(&job, "log")["found"], &place(&job, "log")["removed"]),
        (&json!(records), &json!(records)),
        "{job}"
    );
    assert_eq!(place(&job, "quarantine")["removed"], 1, "{job}");
    let segments = job["report"]["segments"].as_array().unwrap();
    assert!(segments.iter().all(|segment| segment["sha256_before"] != segment["sha256_after"]), "{job}");
    assert!(!job.to_string().contains(MARKER), "{job}");
    assert_eq!(workspace.quarantined().len(), 1);
    // What is left is what has been delivered.
    let left = with_marker(&workspace.data());
    assert!(left.iter().all(|path| path.to_string_lossy().contains("warehouse.db")), "{left:?}");
    let verified = admin.post("/api/v1/privacy/verify", &json!({"subjects": subjects()})).json();
    assert_eq!(verified["found"].as_array().unwrap().len(), left.len(), "{verified}");
    let counted = forget_tables(&workspace, &["--run", "--dry-run"]);
    let gone = forget_tables(&workspace, &["--run"]);
    let rows =
        |answer: &Value| answer.as_array().unwrap().iter().find(|one| one["sync"] == SYNC).unwrap()["rows"].clone();
    assert_eq!(rows(&counted), json!({"bought": of_marker, "identifies": 1, "tracks": of_marker}), "{counted}");
    assert_eq!(rows(&gone), rows(&counted));
    assert_eq!(with_marker(&workspace.data()), Vec::<PathBuf>::new());
    let verified = admin.post("/api/v1/privacy/verify", &json!({"subjects": subjects()})).json();
    assert_eq!(verified["found"], json!([]), "{verified}");
    // Again it finds nothing, and writes no segment anew.
    let again = forget(&admin, &json!({"subjects": subjects()}));
    assert_eq!((&place(&again, "log")["found"], &again["report"]["segments"]), (&json!(0), &json!([])), "{again}");
    // The sync that has not read any of it begins now.
    workspace.write("syncs/late.yaml", late);
    assert_eq!(admin.post("/admin/reload", &json!({})).status, 200);
    until("the late sync has come to the end", || {
        let status = workspace.status();
        status["syncs"]["late"]["lag"] == 0 && status["syncs"]["late"]["delivered"].as_u64() > Some(0)
    });
    let others = u64::from(EVENTS - of_marker);
    let status = workspace.status();
    assert_eq!(status["syncs"]["late"]["delivered"], others + 1, "{}", status["syncs"]["late"]);
    assert_eq!(status["sources"]["web"]["accepted"], EVENTS + 4, "{status}");
    // What was erased is counted as it was, so the log still has what was accepted.
    let report = admin.get("/api/v1/conservation?workspace=default&deep=true");
    assert_eq!(report["recount"]["differences"], json!([]), "{report:#}");
    server.stop();
    assert_eq!(workspace.warehouse().count("bought"), others);
    assert_eq!(with_marker(&workspace.data()), Vec::<PathBuf>::new());
    assert_eq!(check_deep(&workspace).0, Some(0));
    // All of them are accounted for, and under each name.
    for more in [&[][..], &["--event", "Bought"]] {
        let (code, report) = workspace.conservation(more);
        assert_eq!((code, &report["holds"]), (0, &json!(true)), "{report:#}");
    }
}

/// Lets a fail point stop the process while a job is at work, and starts again until it is done.
fn died_at(failpoint: &str) {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let of_marker = fill(&server, 3_000);
    drained(&workspace);
    server.stop();
    forget_tables(&workspace, &["--run"]);
    let mut server = workspace.serve_with(&[failpoint]);
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let order = json!({"subjects": subjects()});
    // Whether the answer comes before the end does not matter: the job is in the state then.
    let _ = try_request(&server.admin, "POST", "/api/v1/privacy/forget", &headers, order.to_string().as_bytes());
    server.wait();
    drop(server);
    assert_eq!(check_deep(&workspace).0, Some(0), "{failpoint}");
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let jobs = admin.get("/api/v1/privacy/jobs")["jobs"].as_array().unwrap().clone();
    let job = match jobs.first() {
        Some(job) => done(&admin, &job["id"]),
        None => forget(&admin, &order),
    };
    assert_eq!(place(&job, "log")["removed"], of_marker + 2, "{failpoint}: {job}");
    server.stop();
    assert_eq!(with_marker(&workspace.data()), Vec::<PathBuf>::new(), "{failpoint}");
    assert_eq!(workspace.quarantined().len(), 1, "{failpoint}");
    assert_eq!(workspace.warehouse().count("bought"), u64::from(3_000 - of_marker), "{failpoint}");
    assert_eq!(check_deep(&workspace).0, Some(0), "{failpoint}");
}

#[test]
fn killed_before_the_records_are_erased() {
    died_at("forget_kept=return");
}

#[test]
fn killed_when_the_new_segment_has_no_name_yet() {
    died_at("log_erase_written=return");
}

#[test]
fn killed_when_the_new_segment_has_its_name() {
    died_at("log_erase_renamed=return");
}

#[test]
fn killed_between_two_steps() {
    died_at("forget_stepped=3*off->return");
}

#[test]
fn killed_before_the_write_ahead_log_is_empty() {
    died_at("forget_vacuumed=return");
}

#[test]
fn what_waits_for_another_try_is_left_out_too() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let far = Far::new(move |_| Act::status(if well.load(Ordering::SeqCst) { 200 } else { 503 }));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[track(1, MARKER), track(2, "other"), track(3, MARKER)]).status, 200);
    route.wait("they are pending", |sync| sync["pending"] == 3);
    let reply = admin.post("/api/v1/privacy/suppress", &json!({"subjects": subjects()}));
    assert_eq!((reply.status, &reply.json()["pending"]), (200, &json!(2)), "{}", reply.text());
    route.wait("the others are left", |sync| sync["pending"] == 1);
    is_well.store(true, Ordering::SeqCst);
    let sync = route.wait("it is delivered", |sync| sync["pending"] == 0);
    assert_eq!((&sync["delivered"], &sync["quarantined"]), (&json!(1), &json!(0)), "{sync}");
    server.stop();
    route.workspace.conserves();
}

#[test]
fn a_retry_for_one_sync_of_somebody_who_is_suppressed_is_accounted_for() {
    let far = Far::new(|_| Act::status(422));
    let route = Route::new(&far);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[track(1, MARKER)]).status, 200);
    route.wait("it is refused", |sync| sync["quarantined"] == 1 && sync["lag"] == 0);
    let reply = admin.post("/api/v1/privacy/suppress", &json!({"subjects": subjects()}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = admin.post("/api/v1/quarantine/retry", &json!({"entries": {"sync": "web-to-crm"}}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    until("it has left the quarantine", || route.workspace.status()["quarantine"]["events"] == 0);
    route.wait("its sync has passed it", |sync| sync["lag"] == 0);
    let job = admin.get(&format!("/api/v1/quarantine/jobs/{}", reply.json()["id"]));
    assert_eq!(job["filtered"], json!({"suppressed": 1}), "{job}");
    server.stop();
    route.workspace.conserves();
    let (_, report) = route.workspace.conservation(&["--sync", "web-to-crm"]);
    let counts = &report["syncs"][0]["counts"];
    assert_eq!((&counts["came"], &counts["suppressed"]), (&json!(1), &json!(1)), "{report:#}");
}

#[test]
fn whoever_names_nobody_is_refused_with_the_field() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for (subjects, field) in [
        (json!([]), "subjects"),
        (json!([{"kind": "person", "value": "x"}]), "subjects.0.kind"),
        (json!([{"kind": "user", "value": " "}]), "subjects.0.value"),
        (json!([{"kind": "user", "value": "x"}, {"kind": "trait", "value": "x"}]), "subjects.1.name"),
    ] {
        let reply = admin.post("/api/v1/privacy/forget", &json!({"subjects": subjects}));
        assert_eq!((reply.status, &reply.json()["field"]), (422, &json!(field)), "{}", reply.text());
    }
    assert_eq!(admin.get("/api/v1/privacy/jobs")["jobs"], json!([]));
    server.stop();
}
