//! How fast a job goes, and who comes first.

use serde_json::{Value, json};

use super::{ended, left, mend, quarantine, retried, shop, strict};
use crate::support::admin::Admin;
use crate::support::waiting::until;
use crate::support::{Warehouse, run};

#[test]
fn a_job_keeps_its_rate_and_says_how_far_it_is() {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..60);
    mend(&workspace, &admin);
    let job = retried(&admin, &json!({"entries": {"all": true}, "rate": 20}));
    assert_eq!((&job["matched"], &job["rate"]), (&json!(60), &json!(20)), "{job}");
    let mut sent = 0;
    until("all are sent", || {
        let job = admin.get(&format!("/api/v1/quarantine/jobs/{}", job["id"]));
        let [now, refined] = ["sent", "refined"].map(|field| job[field].as_u64().unwrap());
        assert!(now >= sent && refined <= now, "{job} behind {sent}");
        sent = now;
        job["state"] == "done"
    });
    left(&workspace, 0);
    let job = ended(&admin, &job);
    assert_eq!((&job["sent"], &job["refined"], &job["filtered"]), (&json!(60), &json!(60), &json!({})), "{job}");
    let url = format!("http://{}", server.admin);
    let shown = run(&["quarantine", "jobs", "--server", &url, "--token", &token]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("refined") && shown.contains("60"), "{shown}");
    server.stop();
    // By the times that the server has written down: 29 pauses of a tenth of a second lie between 30 steps.
    let state = Warehouse::open(&workspace.data().join("state.db"));
    assert_eq!(state.rows("SELECT ended_at_us - at_us >= 2500000 FROM quarantine_jobs"), ["1"]);
    assert_eq!(workspace.warehouse().count("strict"), 60);
}

#[test]
fn nothing_is_sent_again_while_many_live_events_wait_to_be_refined() {
    const LIVE: u64 = 6_000;
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    quarantine(&workspace, &server, 0..5);
    mend(&workspace, &Admin::new(&server, &token));
    server.stop();
    let server = workspace.serve_with(&["refine_after_commit=sleep(200)"]);
    let admin = Admin::new(&server, &token);
    let live: Vec<Value> = (0..LIVE).map(|n| strict(&format!("live-{n}"))).collect();
    for batch in live.chunks(500) {
        assert_eq!(server.batch(batch).status, 200);
    }
    let job = retried(&admin, &json!({"entries": {"all": true}, "rate": 100_000}));
    until("the first are sent", || {
        admin.get(&format!("/api/v1/quarantine/jobs/{}", job["id"]))["sent"].as_u64().unwrap() > 0
    });
    // Two log ranges may wait.
    let accepted = workspace.status()["sources"]["web"]["accepted"].as_u64().unwrap();
    assert!(accepted >= 5 + LIVE - 2_048, "only {accepted} were refined");
    ended(&admin, &job);
    left(&workspace, 0);
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("strict"), LIVE + 5);
    assert_eq!(warehouse.rows("SELECT count(DISTINCT id) FROM strict"), [(LIVE + 5).to_string()]);
}
