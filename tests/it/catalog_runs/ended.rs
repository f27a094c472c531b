//! Syncs of the catalog that stop for now, and those that end.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{CatalogRun, KEY};
use crate::reload::Reloading;

/// Delivers one event to the file of the sync `app-to-db`, holds the file from then on, and sends another.
fn behind() -> (CatalogRun, Connection) {
    let run = CatalogRun::with_app("DATA/other.db");
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    let held = Connection::open(run.0.workspace.data().join("other.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    run.page("b");
    (run, held)
}

fn let_go(held: Connection) {
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
}

/// The only sync that has ended, once it has.
fn ended(run: &CatalogRun) -> Value {
    let has_ended = |status: &Value| status["endings"]["ended"].as_array().is_some_and(|ended| ended.len() == 1);
    run.0.wait("a sync ends", has_ended)["endings"]["ended"][0].clone()
}

const SYNC: &str = "/objects/sync/app-to-db";

#[test]
fn a_sync_that_is_deleted_over_the_api_drains_also_over_a_kill_and_has_the_secrets_that_it_names() {
    let (run, held) = behind();
    let refused = run.ask("DELETE", SYNC, &Value::Null);
    assert_eq!(refused.code(), "409 needs-ending", "{}", refused.text());
    assert!(refused.text().contains("drain=true"), "{}", refused.text());
    assert_eq!(run.done("GET", SYNC, &Value::Null)["name"], "app-to-db", "nothing was changed");
    let tried = run.ask("DELETE", &format!("{SYNC}?dry_run=true"), &Value::Null);
    assert_eq!(tried.code(), "409 needs-ending", "{}", tried.text());
    run.done("DELETE", &format!("{SYNC}?dry_run=true&drain=true"), &Value::Null);
    assert_eq!(run.0.workspace.status()["endings"]["ending"], json!({}), "nothing was changed");
    let both = run.ask("DELETE", &format!("{SYNC}?drain=true&abandon=true"), &Value::Null);
    assert_eq!(both.code(), "422 two-endings");
    let none = run.ask("DELETE", "/objects/destination/db?drain=true", &Value::Null);
    assert_eq!(none.code(), "422 no-ending");
    run.done("DELETE", &format!("{SYNC}?drain=true"), &Value::Null);
    assert_eq!(run.ask("GET", SYNC, &Value::Null).status, 404);
    run.done("DELETE", "/objects/source/app", &Value::Null);
    run.done("DELETE", "/objects/destination/db", &Value::Null);
    // No object of the catalog names it any more, but what drains does.
    let secret = run.ask("DELETE", "/objects/secret/place", &Value::Null);
    assert_eq!(secret.code(), "422 problems", "{}", secret.text());
    assert!(secret.text().contains("(draining)"), "{}", secret.text());
    assert_eq!(run.0.page(KEY, "c"), 401, "the door is shut");
    assert_eq!(run.0.workspace.status()["syncs"]["app-to-db"]["ending"], "draining");
    let Reloading { workspace, server, .. } = run.0;
    server.kill();
    let run = CatalogRun(Reloading::of(workspace));
    assert_eq!(run.0.page(KEY, "c"), 401);
    let_go(held);
    let sync = ended(&run);
    assert_eq!((&sync["delivered"], &sync["abandoned"]), (&json!(2), &json!(0)), "{sync}");
    run.done("DELETE", "/objects/secret/place", &Value::Null);
    assert_eq!(run.pages("other.db"), ["a", "b"]);
}

#[test]
fn a_sync_that_is_deleted_over_the_api_is_given_up_where_that_is_asked_for() {
    let (run, held) = behind();
    run.done("DELETE", &format!("{SYNC}?abandon=true"), &Value::Null);
    let sync = ended(&run);
    assert_eq!((&sync["delivered"], &sync["abandoned"]), (&json!(1), &json!(1)), "{sync}");
    let_go(held);
    assert_eq!(run.pages("other.db"), ["a"]);
}

#[test]
fn an_end_that_is_cut_off_before_the_catalog_has_it_is_none_and_after_that_it_is_one() {
    for (failpoint, delivered) in [("endings_written=panic", 3), ("catalog_committed=panic", 2)] {
        let (run, held) = behind();
        let_go(held);
        run.0.wait_for_delivered("app-to-db", 2);
        let Reloading { workspace, server, .. } = run.0;
        server.stop();
        let run = CatalogRun(Reloading::with(workspace, &[failpoint]));
        assert_eq!(run.ask("DELETE", SYNC, &Value::Null).status, 503);
        // Somebody else's change comes to the revision that this one was to make.
        run.done("POST", "/sources/app/write-keys", &json!({"name": "later"}));
        let Reloading { workspace, server, .. } = run.0;
        server.kill();
        let run = CatalogRun(Reloading::of(workspace));
        let is_there = run.ask("GET", SYNC, &Value::Null).status == 200;
        assert_eq!(is_there, delivered == 3, "{failpoint}");
        run.page("c");
        if is_there {
            run.0.wait_for_delivered("app-to-db", 3);
            assert_eq!(run.0.workspace.status()["endings"]["ended"], json!([]));
        } else {
            assert_eq!(ended(&run)["abandoned"], 0);
        }
        let pages = run.pages("other.db");
        assert_eq!(pages.len(), delivered, "{failpoint}: {pages:?}");
    }
}

#[test]
fn a_drain_that_the_state_could_not_take_over_goes_on_after_the_next_start() {
    let (run, held) = behind();
    let_go(held);
    run.0.wait_for_delivered("app-to-db", 2);
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    let run = CatalogRun(Reloading::with(workspace, &["rules_recorded=return"]));
    let held = Connection::open(run.0.workspace.data().join("other.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    run.page("c");
    let refused = run.ask("DELETE", &format!("{SYNC}?drain=true"), &Value::Null);
    assert_eq!(refused.code(), "503 not-in-place", "{}", refused.text());
    assert_eq!(run.ask("GET", SYNC, &Value::Null).status, 404, "the catalog has the change");
    let Reloading { workspace, server, .. } = run.0;
    server.kill();
    let run = CatalogRun(Reloading::of(workspace));
    let_go(held);
    let sync = ended(&run);
    assert_eq!((&sync["delivered"], &sync["abandoned"]), (&json!(3), &json!(0)), "{sync}");
    assert_eq!(run.pages("other.db"), ["a", "b", "c"]);
}

/// Of one client; far more than come while the drain is waited for.
const ORDERS_MAX: usize = 100_000;

#[test]
fn a_drain_ends_though_orders_come_without_a_pause() {
    let (run, held) = behind();
    run.done("DELETE", &format!("{SYNC}?drain=true"), &Value::Null);
    let is_over = AtomicBool::new(false);
    let (admin, is_over) = (&run.0.admin, &is_over);
    let order_on = |number: usize| {
        for value in (0..ORDERS_MAX).take_while(|_| !is_over.load(Ordering::Relaxed)) {
            let value = json!({"value": format!("{value}")}).to_string();
            admin.ask("PUT", &format!("/api/v1/secrets/busy-{number}"), value.as_bytes());
        }
    };
    std::thread::scope(|scope| {
        // One order is carried out, and the others wait.
        (0..4).for_each(|number| drop(scope.spawn(move || order_on(number))));
        let_go(held);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ended(&run)));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(found.unwrap()["delivered"], 2);
    });
    assert_eq!(run.pages("other.db"), ["a", "b"]);
}

#[test]
fn a_sync_of_the_catalog_that_is_paused_stays_so_over_a_restart_and_goes_on_where_it_was() {
    let run = CatalogRun::with_app("DATA/other.db");
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    run.done("POST", &format!("{SYNC}/pause"), &Value::Null);
    assert_eq!(run.done("GET", SYNC, &Value::Null)["paused"], true);
    run.page("b");
    let paused = json!([{"kind": "sync", "key": "app-to-db"}]);
    let status = run.0.wait("it waits", |status| status["syncs"]["app-to-db"]["lag"] == 1);
    assert_eq!(status["configuration"]["paused"], paused, "{status:#}");
    let run = run.again();
    let status = run.0.workspace.status();
    assert_eq!((&status["syncs"]["app-to-db"]["lag"], &status["configuration"]["paused"]), (&json!(1), &paused));
    run.done("POST", &format!("{SYNC}/resume"), &Value::Null);
    run.0.wait_for_delivered("app-to-db", 2);
    assert_eq!(run.pages("other.db"), ["a", "b"]);
}
