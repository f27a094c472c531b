//! Of an event of which functions have made several, one part was stopped: it alone comes back, or it is told why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{drained, ended, retried, rule};
use crate::delivery::{Route, event, ids, send};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Server, Workspace, guests};

/// A source whose events a function makes three of, the second of which the tool refuses.
struct SecondRefused {
    far: Far,
    route: Route,
    server: Server,
    admin: Admin,
    is_mended: Arc<AtomicBool>,
    entry: Value,
}

fn pieces(route: &Route, count: u32) {
    let component = guests::component("hostile/attacks");
    let settings = json!({"mode": "pieces", "pieces": count});
    route
        .workspace
        .write("functions/pieces.yaml", &format!("component: {}\nsettings: {settings}\n", component.display()));
}

impl SecondRefused {
    fn new() -> Self {
        let is_mended = Arc::new(AtomicBool::new(false));
        let mended = Arc::clone(&is_mended);
        let far = Far::new(move |received| {
            let is_bad = received.text().contains("\"piece\":1") && !mended.load(Ordering::SeqCst);
            Act::status(if is_bad { 422 } else { 200 })
        });
        let route = Route::new(&far);
        route.setting("per_request", "50");
        pieces(&route, 3);
        route.workspace.append("sources/web.yaml", "\nfunctions: [pieces]\n");
        let token = route.workspace.admin_token();
        let server = route.workspace.serve();
        let admin = Admin::new(&server, &token);
        send(&server, &[event("m", "u", json!({"n": 1}))]);
        let sync = route.wait_for_end(3);
        assert_eq!((&sync["delivered"], &sync["quarantined"]), (&json!(2), &json!(1)), "{sync}");
        let entry = admin.get("/api/v1/quarantine?sync=web-to-crm")["entries"][0].clone();
        assert_eq!((&entry["part"], &entry["stage"]), (&json!(1), &json!("destination")), "{entry}");
        Self { far, route, server, admin, is_mended, entry }
    }

    fn reload(&self) {
        let reply = self.admin.post("/admin/reload", &json!({}));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Retries what there is, and waits until the job says so.
    fn retry(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let job = ended(&self.admin, &retried(&self.admin, &json!({"entries": {"sync": "web-to-crm"}})));
        self.told(&job, what, is_so)
    }

    fn told(&self, job: &Value, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        within(PATIENCE, what, || {
            let job = self.admin.get(&format!("/api/v1/quarantine/jobs/{}", job["id"]));
            if is_so(&job) { Ok(job) } else { Err(job.to_string()) }
        })
    }

    fn entries(&self) -> u64 {
        self.route.workspace.status()["quarantine"]["events"].as_u64().unwrap()
    }
}

#[test]
fn a_part_that_functions_do_not_make_any_more_is_counted_and_told() {
    let case = SecondRefused::new();
    pieces(&case.route, 1);
    case.reload();
    let tried = case.admin.post("/api/v1/quarantine/try", &json!({"entries": {"all": true}})).json();
    assert_eq!(tried["summary"], json!({"dropped": 1}), "{tried}");
    assert_eq!(tried["entries"][0]["code"], "not-made", "{tried}");
    let seen = ids(&case.far.seen()).len();
    let job = case.retry("the job tells of it", |job| job["filtered"] == json!({"not-made": 1}));
    assert_eq!((&job["sent"], &job["refined"], &job["quarantined"]), (&json!(1), &json!(1), &json!(0)), "{job}");
    assert_eq!(case.entries(), 0);
    let sync = case.route.sync();
    assert_eq!((&sync["filtered"], &sync["delivered"]), (&json!(1), &json!(2)), "{sync}");
    assert_eq!(ids(&case.far.seen()).len(), seen, "nothing went there");
    case.server.stop();
    assert_eq!(case.route.workspace.warehouse().count("bought"), 3, "and nothing elsewhere");
    case.route.workspace.conserves();
}

#[test]
fn an_event_that_functions_drop_meanwhile_is_counted_in_its_job() {
    let case = SecondRefused::new();
    pieces(&case.route, 0);
    case.reload();
    case.retry("the job tells of it", |job| job["filtered"] == json!({"dropped": 1}));
    assert_eq!(case.entries(), 0);
    case.server.stop();
    case.route.workspace.conserves();
}

/// Functions of the sync itself have made the part, so that its source hands out the whole.
#[test]
fn a_part_that_functions_of_the_sync_make_comes_again_alone_and_is_accounted_for() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let far = Far::new(move |received| {
        let is_bad = received.text().contains("\"piece\":1") && !mended.load(Ordering::SeqCst);
        Act::status(if is_bad { 422 } else { 200 })
    });
    let route = Route::new(&far);
    pieces(&route, 3);
    route.workspace.append("syncs/web-to-crm.yaml", "\nfunctions: [pieces]\n");
    let token = route.workspace.admin_token();
    let server = route.workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &[event("m", "u", json!({"n": 1}))]);
    let sync = route.wait("it has had all of them", |sync| sync["quarantined"] == 1 && sync["lag"] == 0);
    assert_eq!(sync["delivered"], 2, "{sync}");
    is_mended.store(true, Ordering::SeqCst);
    let seen = far.seen().len();
    ended(&admin, &retried(&admin, &json!({"entries": {"sync": "web-to-crm"}})));
    until("it has left the quarantine", || route.workspace.status()["quarantine"]["events"] == 0);
    route.wait("it is there", |sync| sync["delivered"] == 3 && sync["lag"] == 0);
    server.stop();
    assert_eq!(ids(&far.seen()[seen..]), ["m#1"]);
    route.workspace.conserves();
}

#[test]
fn a_contract_that_stops_the_whole_event_leaves_the_part_in_quarantine() {
    let case = SecondRefused::new();
    let workspace = &case.route.workspace;
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\n");
    workspace.write("events/domains/shop/bought.yaml", &rule("string").replace("Strict", "Bought"));
    case.reload();
    case.retry("it has failed again", |job| job["quarantined"] == 1);
    let again = case.admin.get("/api/v1/quarantine")["entries"].clone();
    assert_eq!(again.as_array().unwrap().len(), 1, "{again}");
    let again = &again[0];
    assert_eq!(
        (&again["id"], &again["part"], &again["attempts"]),
        (&case.entry["id"], &json!(1), &json!(1)),
        "{again}"
    );
    assert_eq!((&again["code"], &again["for_sync"]), (&json!("schema-violation"), &json!("web-to-crm")), "{again}");
    workspace.write("events/domains/shop/bought.yaml", &rule("integer").replace("Strict", "Bought"));
    case.reload();
    case.route.wait("its sync has passed it", |sync| sync["lag"] == 0);
    case.is_mended.store(true, Ordering::SeqCst);
    let seen = case.far.seen().len();
    ended(&case.admin, &retried(&case.admin, &json!({"entries": {"all": true}})));
    until("it is there", || !ids(&case.far.seen()[seen..]).is_empty());
    until("it has left", || case.entries() == 0);
    case.route.wait("all of it is settled", |sync| sync["lag"] == 0);
    case.server.stop();
    assert_eq!(ids(&case.far.seen()[seen..]), ["m#1"]);
    assert_eq!(case.route.workspace.warehouse().count("bought"), 3, "the warehouse had all of them");
    case.route.workspace.conserves();
}

/// The first of several has the number of the whole event.
#[test]
fn the_first_of_several_is_not_edited_either() {
    let workspace = Workspace::new();
    let component = guests::component("hostile/attacks");
    let function = |name: &str, settings: &Value| {
        let text = format!("component: {}\nsettings: {settings}\n", component.display());
        workspace.write(&format!("functions/{name}.yaml"), &text);
    };
    function("pieces", &json!({"mode": "pieces", "pieces": 3}));
    function("first", &json!({"mode": "refuse-piece", "piece": 0}));
    workspace.append("sources/web.yaml", "\nfunctions: [pieces, first]\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    send(&server, &[event("m", "u", json!({"n": 1}))]);
    drained(&workspace);
    let entry = admin.get("/api/v1/quarantine")["entries"][0].clone();
    assert_eq!((&entry["part"], &entry["code"]), (&json!(0), &json!("unwanted-piece")), "{entry}");
    let edit = json!({"event": {"type": "track", "event": "Bought", "properties": {"n": 2}}});
    let refused = admin.post(&format!("/api/v1/quarantine/entries/{}/edit", entry["id"]), &edit);
    assert_eq!(refused.code(), "422 part-of-event");
    server.stop();
    assert_eq!(workspace.warehouse().rows("SELECT id FROM bought ORDER BY id"), ["m#1", "m#2"]);
}

#[test]
fn a_part_is_not_edited_for_the_others_have_gone_on() {
    let case = SecondRefused::new();
    let path = format!("/api/v1/quarantine/entries/{}/edit", case.entry["id"]);
    let edit = json!({"event": {"type": "track", "event": "Bought", "properties": {"n": 2}}});
    let refused = case.admin.post(&path, &edit);
    assert_eq!(refused.code(), "422 part-of-event");
    assert!(refused.text().contains("messageId"), "it says the way round: {}", refused.text());
    assert_eq!(case.admin.get("/api/v1/quarantine/jobs")["jobs"], json!([]));
    case.server.stop();
    assert_eq!(case.route.workspace.warehouse().rows("SELECT DISTINCT n FROM bought"), ["1"]);
}
