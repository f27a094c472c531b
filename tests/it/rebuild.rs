//! The tables of a sync are made anew beside the old ones and take their place: whoever reads always finds a whole table, nothing is lost and
//! nothing twice, whenever somebody dies.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidegate_warehouse::evolve::Type;

use crate::conformance::postgres::Postgres;
use crate::conformance::sqlite::Sqlite;
use crate::conformance::{self, Rig, TablesSeen};
use crate::delivery::send;
use crate::reliability::{SYNC, drained};
use crate::support::admin::Admin;
use crate::support::http::{basic, request, try_request};
use crate::support::waiting::{PATIENCE, seldom, within};
use crate::support::{Server, Workspace};

fn event(name: &str, n: usize) -> Value {
    // One of them makes the column a text.
    let total = if n == 7 { json!("free") } else { json!(n as f64 / 4.0) };
    json!({"type": "track", "event": "Bought", "messageId": format!("{name}-{n}"), "userId": format!("u{}", n % 50),
        "properties": {"n": n, "total": total}})
}

fn events(name: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| event(name, n)).collect()
}

fn ids(name: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// From now on `total` is a number.
fn change_contract(workspace: &Workspace, admin: &Admin) {
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\n");
    workspace.write(
        "events/domains/shop/bought.yaml",
        "type: track\nname: Bought\nonSchemaViolation: ALLOW_EVENT\nonUndeclaredFields: ALLOW_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        total: { type: number }\n",
    );
    assert_eq!(admin.post("/admin/reload", &json!({})).status, 200);
}

fn rebuild_path(sync: &str) -> String {
    format!("/api/v1/syncs/{sync}/rebuild")
}

#[track_caller]
fn begun(admin: &Admin, order: &Value) -> Value {
    let reply = admin.post(&rebuild_path(SYNC), order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn shown(admin: &Admin, rebuild: &Value) -> Value {
    admin.get(&format!("/api/v1/rebuilds/{}", rebuild["id"]))
}

/// Waits until a rebuild is as wanted.
#[track_caller]
fn awaited(admin: &Admin, rebuild: &Value, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    within(PATIENCE, what, || {
        let rebuild = shown(admin, rebuild);
        if enough(&rebuild) { Ok(rebuild) } else { Err(rebuild.to_string()) }
    })
}

#[track_caller]
fn ended(admin: &Admin, rebuild: &Value) -> Value {
    awaited(admin, rebuild, "the rebuild ends", |rebuild| {
        rebuild["state"] != "running" && rebuild["state"] != "swapping"
    })
}

#[track_caller]
fn is_ready(admin: &Admin, rebuild: &Value) -> Value {
    awaited(admin, rebuild, "the new tables are as far as the old ones", |rebuild| rebuild["report"]["step"] == "ready")
}

fn ids_in(tables: &TablesSeen) -> BTreeSet<String> {
    tables["bought"].rows.keys().cloned().collect()
}

fn text<'v>(rebuild: &'v Value, name: &str) -> &'v str {
    rebuild["report"][name].as_str().unwrap_or_else(|| panic!("no {name} in {rebuild:#}"))
}

/// Says that it is over, also where whoever has it fails.
struct OverAtEnd<'a>(&'a AtomicBool);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn workspace_of<R: Rig>(rig: &R) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("destinations/warehouse.yaml", &rig.yaml());
    workspace
}

fn made_anew_in<R: Rig + Sync>(rig: &R) {
    const EVENTS: usize = 5_000;
    let workspace = workspace_of(rig);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &events("Old", EVENTS));
    drained(&workspace);
    assert_eq!(rig.seen(None)["bought"].columns["total"], Type::Text);
    change_contract(&workspace, &admin);
    let dry = ended(&admin, &begun(&admin, &json!({"from": "beginning", "dry_run": true})));
    assert_eq!((&dry["state"], &dry["report"]["counts"]["came"]), (&json!("done"), &json!(EVENTS)), "{dry:#}");
    let is_over = AtomicBool::new(false);
    let rebuild = std::thread::scope(|scope| {
        let over = OverAtEnd(&is_over);
        let reader = scope.spawn(|| {
            let (mut most, mut looks) = (0, 0);
            while !is_over.load(Ordering::SeqCst) {
                let rows = rig.read("bought", &["id"]).unwrap().len();
                assert!(rows >= most && rows >= EVENTS, "a reader found {rows} rows after {most}");
                (most, looks) = (rows, looks + 1);
            }
            looks
        });
        let (address, key) = (server.address.clone(), basic(&server.key));
        let live = scope.spawn(move || {
            for batch in events("Live", 1_000).chunks(10) {
                let batch = json!({ "batch": batch }).to_string();
                let reply = request(&address, "POST", "/v1/batch", &[("authorization", &key)], batch.as_bytes());
                assert_eq!(reply.status, 200);
            }
        });
        let rebuild = begun(&admin, &json!({"from": "beginning", "swap": true}));
        let rebuild = ended(&admin, &rebuild);
        live.join().unwrap();
        drained(&workspace);
        drop(over);
        assert!(reader.join().unwrap() > 0);
        rebuild
    });
    assert_eq!(rebuild["state"], "done", "{rebuild:#}");
    let delivered = rebuild["report"]["counts"]["delivered"].as_u64().unwrap();
    assert!((EVENTS as u64..=EVENTS as u64 + 1_000).contains(&delivered), "{rebuild:#}");
    let wanted: BTreeSet<String> = ids("Old", EVENTS).into_iter().chain(ids("Live", 1_000)).collect();
    let after = rig.seen(None);
    assert!(ids_in(&after) == wanted, "{} rows", after["bought"].rows.len());
    assert_eq!(after["bought"].columns["total"], Type::Decimal, "the contract of now has made the column");
    assert_eq!(after["tracks"].rows.len(), wanted.len());
    let old = rig.seen(Some(text(&rebuild, "before")));
    assert_eq!(old["bought"].columns["total"], Type::Text);
    assert!(ids_in(&old).is_superset(&ids("Old", EVENTS)));
    assert!(rig.seen(Some(text(&rebuild, "rebuilt"))).is_empty(), "nothing is left in between");
    // The sync goes on in the new ones, also after another start.
    server.stop();
    let server = workspace.serve();
    send(&server, &events("Later", 20));
    drained(&workspace);
    let wanted: BTreeSet<String> = wanted.into_iter().chain(ids("Later", 20)).collect();
    assert!(ids_in(&rig.seen(None)) == wanted, "rows are lost or there twice");
    server.stop();
    workspace.conserves();
}

#[test]
fn a_file_is_made_anew_while_it_is_read_and_nobody_misses_a_row() {
    conformance::run::<Sqlite>("rebuild::sqlite", made_anew_in);
}

#[test]
fn tables_of_postgresql_are_made_anew_while_they_are_read_and_nobody_misses_a_row() {
    conformance::run::<Postgres>("rebuild::postgres", made_anew_in);
}

/// Lets a fail point stop the process while a rebuild is at work; it goes on after the next start, while more comes.
fn died_at<R: Rig>(rig: &R, failpoint: &str) {
    const EVENTS: usize = 8_000;
    let workspace = workspace_of(rig);
    let token = workspace.admin_token();
    let server = workspace.serve();
    change_contract(&workspace, &Admin::new(&server, &token));
    send(&server, &events("Old", EVENTS));
    drained(&workspace);
    server.stop();
    let mut server = workspace.serve_with(&[failpoint]);
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let order = json!({"from": "beginning", "swap": true}).to_string();
    // Whether the answer comes before the end does not matter: the job is in the state then.
    let _ = try_request(&server.admin, "POST", &rebuild_path(SYNC), &headers, order.as_bytes());
    server.wait();
    drop(server);
    let server = workspace.serve();
    send(&server, &events("Later", 200));
    let rebuild = ended(&Admin::new(&server, &token), &json!({"id": 1}));
    assert_eq!(rebuild["state"], "done", "{failpoint}: {rebuild:#}");
    drained(&workspace);
    let wanted: BTreeSet<String> = ids("Old", EVENTS).into_iter().chain(ids("Later", 200)).collect();
    let after = rig.seen(None);
    assert!(ids_in(&after) == wanted, "{failpoint}: {} rows", after["bought"].rows.len());
    let old = rig.seen(Some(text(&rebuild, "before")));
    assert!(ids_in(&old).is_superset(&ids("Old", EVENTS)), "{failpoint}: the old table is not whole");
    server.stop();
    workspace.conserves();
}

/// Where a rebuild can be met by the end of the process, in order.
const STEPS: [&str; 5] = [
    "rebuild_delivered=1*off->return",
    "rebuild_stepped=return",
    "rebuild_before_swap=return",
    "rebuild_swapping=return",
    "rebuild_swapped=return",
];

/// Each time in a place of its own.
fn died_everywhere<R: Rig>(_: &R) {
    for step in STEPS {
        died_at(&R::new().unwrap_or_else(|lack| panic!("{lack}")), step);
    }
}

#[test]
fn killed_at_any_step_a_rebuild_of_a_file_goes_on_and_loses_nothing() {
    conformance::run::<Sqlite>("rebuild::sqlite_killed", died_everywhere);
}

#[test]
fn killed_at_any_step_a_rebuild_in_postgresql_goes_on_and_loses_nothing() {
    conformance::run::<Postgres>("rebuild::postgres_killed", died_everywhere);
}

#[test]
fn without_an_order_to_swap_the_new_tables_follow_until_there_is_one() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &events("Old", 300));
    drained(&workspace);
    let rebuild = begun(&admin, &json!({"from": "beginning", "schema": "fresh"}));
    let ready = is_ready(&admin, &rebuild);
    assert_eq!((text(&ready, "rebuilt"), &ready["state"]), ("fresh", &json!("running")), "{ready:#}");
    send(&server, &events("More", 50));
    drained(&workspace);
    seldom("the new tables have it too", || {
        let rows = workspace.warehouse().count("fresh__bought");
        if rows == 350 { Ok(()) } else { Err(rows.to_string()) }
    });
    let again = admin.post(&rebuild_path(SYNC), &json!({"from": "beginning"}));
    assert_eq!(again.code(), "409 rebuild-runs", "{}", again.text());
    let asked = admin.post(&format!("/api/v1/syncs/{SYNC}/swap"), &json!({}));
    assert_eq!((asked.status, &asked.json()["swap"]), (200, &json!(true)), "{}", asked.text());
    let done = ended(&admin, &rebuild);
    assert_eq!(done["state"], "done", "{done:#}");
    let warehouse = workspace.warehouse();
    assert_eq!((warehouse.count("bought"), warehouse.has("fresh__bought")), (350, false));
    assert_eq!(warehouse.count(&format!("{}__bought", text(&done, "before"))), 350);
    let ledger = warehouse.rows("SELECT sync FROM _tidegate_ledger");
    assert_eq!(ledger, [SYNC], "the row of the rebuild is the sync's now");
    server.stop();
    workspace.conserves();
}

#[test]
fn a_log_of_several_partitions_is_rebuilt_whole() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {partitions: 3}\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &events("Old", 2_000));
    drained(&workspace);
    let done = ended(&admin, &begun(&admin, &json!({"from": "beginning", "swap": true})));
    assert_eq!((&done["state"], done["report"]["parts"].as_array().unwrap().len()), (&json!("done"), 3), "{done:#}");
    send(&server, &events("Later", 100));
    drained(&workspace);
    let found: BTreeSet<String> = workspace.warehouse().rows("SELECT id FROM bought").into_iter().collect();
    assert!(found == ids("Old", 2_000).into_iter().chain(ids("Later", 100)).collect(), "{} rows", found.len());
    server.stop();
    workspace.conserves();
}

#[test]
fn one_that_is_cancelled_leaves_the_sync_as_it_was() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &events("Old", 100));
    drained(&workspace);
    let rebuild = begun(&admin, &json!({"from": "beginning", "schema": "fresh"}));
    is_ready(&admin, &rebuild);
    let cancelled = admin.post(&format!("/api/v1/rebuilds/{}/cancel", rebuild["id"]), &json!({}));
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")), "{}", cancelled.text());
    let swap = admin.post(&format!("/api/v1/syncs/{SYNC}/swap"), &json!({}));
    assert_eq!(swap.code(), "409 no-rebuild", "{}", swap.text());
    send(&server, &events("More", 10));
    drained(&workspace);
    let warehouse = workspace.warehouse();
    assert_eq!((warehouse.count("bought"), warehouse.count("fresh__bought")), (110, 100));
    // What is there already is in the way of the next.
    let failed = ended(&admin, &begun(&admin, &json!({"from": "beginning", "schema": "fresh"})));
    assert_eq!(failed["state"], "failed", "{failed:#}");
    assert!(text(&failed, "failure").contains("there are tables in \"fresh\" already"), "{failed:#}");
    server.stop();
    workspace.conserves();
}

#[test]
fn two_rebuilds_do_not_share_a_schema() {
    let workspace = Workspace::new();
    workspace.write("syncs/apart.yaml", "source: web\ndestination: warehouse\nschema: apart\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    // Nothing was sent: there is no table yet by which the second could see the first.
    let first = begun(&admin, &json!({"from": "beginning", "schema": "fresh"}));
    is_ready(&admin, &first);
    let second = admin.post(&rebuild_path("apart"), &json!({"from": "beginning", "schema": "fresh"}));
    assert_eq!(second.status, 200, "{}", second.text());
    let failed = ended(&admin, &second.json());
    assert_eq!(failed["state"], "failed", "{failed:#}");
    assert!(text(&failed, "failure").contains("makes its tables in \"fresh\""), "{failed:#}");
    server.stop();
}

#[test]
fn new_tables_from_before_somebody_was_forgotten_say_so() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &events("Old", 100));
    drained(&workspace);
    let rebuild = begun(&admin, &json!({"from": "beginning"}));
    is_ready(&admin, &rebuild);
    let forget = admin.post("/api/v1/privacy/forget", &json!({"subjects": [{"kind": "user", "value": "u1"}]}));
    assert_eq!(forget.status, 200, "{}", forget.text());
    let asked = admin.post(&format!("/api/v1/syncs/{SYNC}/swap"), &json!({}));
    assert_eq!(asked.status, 200, "{}", asked.text());
    let done = ended(&admin, &rebuild);
    assert_eq!(done["state"], "done", "{done:#}");
    assert!(done["report"]["notes"].to_string().contains("somebody was forgotten"), "{done:#}");
    server.stop();
}

#[test]
fn what_cannot_be_rebuilt_says_why_and_what_to_do_instead() {
    let workspace = Workspace::new();
    workspace.write("destinations/lake.yaml", "kind: lake\n");
    workspace.write("syncs/web-to-lake.yaml", "source: web\ndestination: lake\n");
    workspace.write("syncs/apart.yaml", "source: web\ndestination: warehouse\nschema: apart\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for (sync, order, says) in [
        ("web-to-lake", json!({"from": "beginning"}), "a `schema` of its own"),
        ("apart", json!({"from": "beginning", "schema": "apart"}), "is the schema that is read"),
    ] {
        let reply = admin.post(&rebuild_path(sync), &order);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let failed = ended(&admin, &reply.json());
        assert_eq!(failed["state"], "failed", "{failed:#}");
        assert!(text(&failed, "failure").contains(says), "{says}: {failed:#}");
    }
    for (order, code, field) in [
        (json!({"from": "yesterday"}), "range", "from"),
        (json!({"from": "7"}), "range", "from"),
        (json!({"from": "beginning", "schema": "a__b"}), "schema", "schema"),
        (json!({"from": "beginning", "schema": "A"}), "schema", "schema"),
    ] {
        let reply = admin.post(&rebuild_path(SYNC), &order);
        assert_eq!((reply.status, &reply.json()["code"]), (422, &json!(code)), "{order}: {}", reply.text());
        assert_eq!(reply.json()["field"], field, "{order}: {}", reply.text());
    }
    assert_eq!(admin.post(&rebuild_path("none"), &json!({"from": "beginning"})).status, 404);
    assert_eq!(admin.post("/api/v1/syncs/none/swap", &json!({})).status, 404);
    assert_eq!(admin.post("/api/v1/rebuilds/77/cancel", &json!({})).status, 404);
    server.stop();
}

/// What a command prints for programs, and whether it did what it was asked.
fn said(server: &Server, token: &str, words: &[&str]) -> (bool, Value) {
    let output = crate::support::tidegate()
        .args(words)
        .args(["--server", &format!("http://{}", server.admin), "--json"])
        .env("TIDEGATE_ADMIN_TOKEN", token)
        .output()
        .unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

#[test]
fn commands_wait_for_the_end_and_show_it() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    send(&server, &events("Old", 30));
    drained(&workspace);
    let (is_good, ready) = said(&server, &token, &["sync", "rebuild", SYNC, "--from", "beginning"]);
    assert!(is_good && ready["report"]["step"] == "ready" && ready["state"] == "running", "{ready:#}");
    let (is_good, done) = said(&server, &token, &["sync", "swap", SYNC]);
    assert!(is_good && done["state"] == "done", "{done:#}");
    let (is_good, shown) = said(&server, &token, &["sync", "rebuilds", "show", "1"]);
    assert!(is_good && shown == done, "{shown:#}");
    let (_, listed) = said(&server, &token, &["sync", "rebuilds", "list"]);
    assert_eq!(listed["rebuilds"], json!([done]));
    assert!(!said(&server, &token, &["sync", "swap", SYNC]).0, "there is nothing to swap");
    assert!(!said(&server, &token, &["sync", "rebuild", SYNC, "--from", "yesterday"]).0);
    server.stop();
}
