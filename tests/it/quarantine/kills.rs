//! The process dies while events are retried; each is in the table once.

use serde_json::json;

use super::{left, mend, quarantine, shop};
use crate::support::Workspace;
use crate::support::admin::Admin;
use crate::support::http::try_request;

const EVENTS: u32 = 120;

/// A workspace with a mended contract and everything in quarantine, stopped in order; with its admin token.
fn prepared() -> (Workspace, String) {
    let workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    quarantine(&workspace, &server, 0..EVENTS);
    mend(&workspace, &Admin::new(&server, &token));
    server.stop();
    (workspace, token)
}

/// Lets a fail point stop the process while a job is at work, and starts again until it is done.
fn died_at(failpoint: &str) {
    let (workspace, token) = prepared();
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let order = json!({"entries": {"all": true}, "rate": 200}).to_string();
    let mut server = workspace.serve_with(&[failpoint]);
    // Whether the answer comes before the end does not matter: the job is in the state then, or nothing was begun.
    let begun = try_request(&server.admin, "POST", "/api/v1/quarantine/retry", &headers, order.as_bytes());
    server.wait();
    drop(server);
    // It dies once more on what it has to do again.
    if let Ok(mut server) = workspace.try_serve_with(&[failpoint]) {
        server.wait();
    }
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    if begun.is_err() && admin.get("/api/v1/quarantine/jobs")["jobs"] == json!([]) {
        super::retried(&admin, &json!({"entries": {"all": true}, "rate": 10_000}));
    }
    left(&workspace, 0);
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("strict"), u64::from(EVENTS), "{failpoint}");
    assert_eq!(warehouse.rows("SELECT count(DISTINCT id) FROM strict"), [EVENTS.to_string()], "{failpoint}");
    assert_eq!(crate::reliability::check_deep(&workspace).0, Some(0), "{failpoint}");
}

#[test]
fn killed_between_the_marks_and_the_log() {
    died_at("retries_marked=1*off->return");
}

#[test]
fn killed_behind_the_log() {
    died_at("retries_appended=1*off->return");
}

#[test]
fn killed_before_the_entries_leave_the_quarantine() {
    died_at("refine_before_commit=1*off->return");
}

#[test]
fn killed_when_they_have_left_it_and_the_dedup_index_does_not_know() {
    died_at("refine_after_commit=1*off->return");
}

#[test]
fn killed_before_the_cursor_of_the_sync_moves() {
    died_at("sync_before_cursor=1*off->return");
}

#[test]
fn killed_again_and_again_anywhere() {
    let (workspace, token) = prepared();
    let server = workspace.serve();
    super::retried(&Admin::new(&server, &token), &json!({"entries": {"all": true}, "rate": 60}));
    server.kill();
    for cycle in 0..4_u64 {
        let server = workspace.serve();
        let goal = 20 * (cycle + 1);
        crate::support::waiting::until("some are sent", || {
            let jobs = Admin::new(&server, &token).get("/api/v1/quarantine/jobs");
            jobs["jobs"][0]["sent"].as_u64().unwrap_or(0) >= goal
        });
        server.kill();
    }
    let server = workspace.serve();
    left(&workspace, 0);
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("strict"), u64::from(EVENTS));
    assert_eq!(warehouse.rows("SELECT count(DISTINCT id) FROM strict"), [EVENTS.to_string()]);
    workspace.conserves();
}
