//! What is refused, whole.

use serde_json::json;

use super::{FIRST, Reloading};
use crate::delivery::Route;
use crate::support::far::{Act, Far};
use crate::support::run;

#[test]
fn a_folder_with_problems_is_refused_whole_and_everything_goes_on() {
    let running = Reloading::new();
    let before = running.configuration();
    let source = std::fs::read_to_string(running.workspace.path().join("sources/web.yaml")).unwrap();
    // What is right in it does not change either.
    running.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    for (file, text, words) in [
        ("sources/web.yaml", "kind: http\nwrite_key: short\n", "shorter than 16"),
        ("functions/gone.yaml", "component: gone.wasm\n", "gone.wasm"),
        ("lookups/gone.yaml", "kind: table\npath: gone.csv\n", "gone.csv"),
        ("destinations/gone.yaml", "kind: nothing\n", "nothing"),
        ("syncs/gone.yaml", "source: web\ndestination: nowhere\n", "nowhere"),
        ("events/domains/gone.yaml", "a: [\n", "gone.yaml"),
        ("tidegate.yaml", "log: {partitions: no}\n", "partitions"),
    ] {
        let path = running.workspace.path().join(file);
        let kept = std::fs::read_to_string(&path).ok();
        running.workspace.write(file, text);
        let reply = running.ask();
        let answer = reply.json();
        assert_eq!((reply.status, answer["code"].as_str()), (422, Some("problems")), "{file}: {answer}");
        let problems = answer["problems"].as_array().unwrap();
        let is_named = |one: &serde_json::Value| {
            one["file"].as_str().unwrap().ends_with(file) && !one["fix"].as_str().unwrap().is_empty()
        };
        assert!(problems.iter().any(is_named), "{file}: {answer:#}");
        assert!(answer["problems"].to_string().contains(words), "{file}: {answer:#}");
        match kept {
            Some(kept) => std::fs::write(&path, kept).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
    running.workspace.write("sources/web.yaml", &source);
    let after = running.configuration();
    assert_eq!(after["revision"], before["revision"]);
    assert_eq!(running.page(FIRST, "a"), 401, "nothing of it runs");
    assert_eq!(running.page(&running.workspace.write_key, "b"), 200);
    running.wait_for_delivered("web-to-warehouse", 1);
    running.settle();
    assert_eq!(running.page(FIRST, "c"), 200);
    running.server.stop();
}

#[test]
fn a_sync_for_which_events_wait_is_not_taken_away() {
    let far = Far::new(|_| Act::status(503));
    let route = Route::new(&far);
    let running = Reloading::of(route.workspace);
    assert_eq!(running.page(&running.workspace.write_key, "a"), 200);
    running.wait("it is pending", |status| status["syncs"]["web-to-crm"]["pending"] == 1);
    let kept = std::fs::read_to_string(running.workspace.path().join("syncs/web-to-crm.yaml")).unwrap();
    running.remove("syncs/web-to-crm.yaml");
    let reply = running.ask();
    let answer = reply.json();
    assert_eq!((reply.status, answer["code"].as_str()), (409, Some("needs-ending")), "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("web-to-crm") && detail.contains("1 pending"), "{detail}");
    // Neither is one that would be another under its name.
    running.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    running.workspace.write("syncs/web-to-crm.yaml", "source: app\ndestination: crm\n");
    let answer = running.ask().json();
    assert_eq!(answer["code"], "needs-ending", "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("under another name"), "{answer}");
    running.workspace.write("syncs/web-to-crm.yaml", &kept);
    running.settle();
    running.server.stop();
}

#[test]
fn a_source_with_a_sync_behind_stays_open_and_one_that_has_delivered_goes() {
    let running = Reloading::new();
    running.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    running.workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\nschema: app\n");
    running.settle();
    let file = running.workspace.data().join("warehouse.db");
    let held = rusqlite::Connection::open(file).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(running.page(FIRST, "a"), 200);
    running.remove("sources/app.yaml");
    running.remove("syncs/app.yaml");
    let answer = running.ask().json();
    assert_eq!(answer["code"], "needs-ending", "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("sync app"), "{answer}");
    assert_eq!(running.page(FIRST, "b"), 200, "the source takes events as before");
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    running.wait_for_delivered("app", 2);
    let answer = running.settle();
    assert_eq!(answer["syncs"]["app"], "end", "{answer}");
    assert_eq!(running.page(FIRST, "c"), 401);
    assert_eq!(running.page(&running.workspace.write_key, "d"), 200);
    running.server.stop();
    assert_eq!(running.workspace.warehouse().count("app__pages"), 2);
    assert_eq!(running.workspace.warehouse().count("pages"), 1);
}

#[test]
fn what_cannot_be_loaded_is_refused_whole() {
    let running = Reloading::new();
    running.workspace.write("lookups/names.yaml", "kind: table\npath: names.csv\nkey: a\nvalue: b\ngrant_to: [f]\n");
    std::fs::write(running.workspace.path().join("names.csv"), "x,y\n1,2\n").unwrap();
    let reply = running.ask();
    assert_eq!((reply.status, reply.json()["code"].clone()), (422, json!("cannot-run")), "{}", reply.text());
    assert!(reply.text().contains("lookup names"), "{}", reply.text());
    running.remove("lookups/names.yaml");
    running.settle();
    running.server.stop();
}

#[test]
fn nobody_reloads_without_the_token() {
    let running = Reloading::new();
    let reply = crate::support::request(&running.server.admin, "POST", "/admin/reload", &[], b"");
    assert_eq!(reply.status, 401);
    let path = running.workspace.path();
    let url = format!("http://{}", running.server.admin);
    let output = run(&["reload", path.to_str().unwrap(), "--server", &url]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    running.server.stop();
}
