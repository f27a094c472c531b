//! Sources and syncs that come, change and go on.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{FIRST, Reloading, SECOND, changed, syncs};
use crate::support::Workspace;
use crate::support::waiting::until;

/// The port of a warehouse that takes connections and never answers.
fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    port
}

#[test]
fn only_what_differs_is_touched() {
    let workspace = Workspace::new();
    let port = silent();
    workspace.write("destinations/pg.yaml", &format!("kind: postgres\nurl: postgres://u:p@127.0.0.1:{port}/db\n"));
    workspace.write("syncs/other.yaml", "source: web\ndestination: pg\n");
    let running = Reloading::of(workspace);
    let before = running.configuration();
    // Said in another way.
    running
        .workspace
        .write("syncs/web-to-warehouse.yaml", "# The other way round.\ndestination: warehouse\nsource: \"web\"\n");
    let answer = running.reload();
    assert_eq!((changed(&answer), syncs(&answer)), (vec![], vec![]), "{answer:#}");
    let after = running.configuration();
    assert_eq!((&after["revision"], &after["files_differ"]), (&before["revision"], &json!([])), "{after}");
    // One of two.
    running
        .workspace
        .write("syncs/web-to-warehouse.yaml", "source: web\ndestination: warehouse\nfilter: {types: [page]}\n");
    let answer = running.settle();
    assert_eq!(syncs(&answer), [("web-to-warehouse".to_owned(), "regather".to_owned())]);
    assert_eq!(changed(&answer), ["changed sync web-to-warehouse"]);
    assert!(answer["revision"].as_u64() > before["revision"].as_u64(), "{answer}");
    let track = json!({"type": "track", "event": "Left Out", "messageId": "t", "userId": "u"});
    let page = json!({"type": "page", "messageId": "p", "userId": "u"});
    assert_eq!(running.server.batch(&[track, page]).status, 200);
    running.wait("both are through", |status| {
        status["syncs"]["web-to-warehouse"]["delivered"] == 1 && status["syncs"]["web-to-warehouse"]["filtered"] == 1
    });
    running.server.stop();
}

#[test]
fn a_new_source_a_new_sync_and_a_new_destination_come_in_one_reload() {
    let running = Reloading::new();
    running.workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {FIRST}\n"));
    running.workspace.write("destinations/second.yaml", "kind: sqlite\npath: data/second.db\n");
    running.workspace.write("syncs/app.yaml", "source: app\ndestination: second\n");
    assert_eq!(running.page(FIRST, "early"), 401);
    let answer = running.settle();
    assert_eq!(changed(&answer), ["added source app", "added destination second", "added sync app"]);
    assert_eq!(syncs(&answer), [("app".to_owned(), "start".to_owned())]);
    assert_eq!(running.page(FIRST, "a"), 200);
    assert_eq!(running.page(&running.workspace.write_key, "b"), 200);
    running.wait_for_delivered("app", 1);
    running.wait_for_delivered("web-to-warehouse", 1);
    running.server.stop();
    let second = crate::support::Warehouse::open(&running.workspace.data().join("second.db"));
    assert_eq!(second.rows("SELECT id FROM pages"), ["a"]);
    assert_eq!(running.workspace.warehouse().rows("SELECT id FROM pages"), ["b"]);
}

#[test]
fn a_sync_that_comes_later_gets_what_the_log_keeps_unless_it_starts_now() {
    let running = Reloading::new();
    assert_eq!(running.page(&running.workspace.write_key, "old"), 200);
    running.wait_for_delivered("web-to-warehouse", 1);
    running.workspace.write("syncs/all.yaml", "source: web\ndestination: warehouse\nschema: all\n");
    running.workspace.write("syncs/now.yaml", "source: web\ndestination: warehouse\nschema: now\nstart: now\n");
    running.settle();
    assert_eq!(running.page(&running.workspace.write_key, "new"), 200);
    running.wait_for_delivered("all", 2);
    running.wait_for_delivered("now", 1);
    running.server.stop();
    assert_eq!(running.workspace.warehouse().rows("SELECT id FROM all__pages ORDER BY id"), ["new", "old"]);
    assert_eq!(running.workspace.warehouse().rows("SELECT id FROM now__pages"), ["new"]);
}

#[test]
fn an_unchanged_sync_gets_events_after_its_source_changed() {
    let running = Reloading::new();
    assert_eq!(running.page(&running.workspace.write_key, "a"), 200);
    let web =
        format!("kind: http\nwrite_keys: {{old: {}, new: {SECOND}}}\nrate: 1000/s\n", running.workspace.write_key);
    running.workspace.write("sources/web.yaml", &web);
    let answer = running.settle();
    assert_eq!((changed(&answer), syncs(&answer)), (vec!["changed source web".to_owned()], vec![]), "{answer:#}");
    assert_eq!(running.page(SECOND, "b"), 200);
    assert_eq!(running.page(&running.workspace.write_key, "c"), 200);
    running.wait_for_delivered("web-to-warehouse", 3);
    running.workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {SECOND}\n"));
    running.settle();
    assert_eq!(running.page(&running.workspace.write_key, "d"), 401, "taken away by the time that the answer came");
    running.server.stop();
    assert_eq!(running.workspace.warehouse().count("pages"), 3);
}

#[test]
fn a_key_moves_from_one_source_to_another_in_one_reload() {
    let workspace = Workspace::new();
    let write = |workspace: &Workspace, web: &str, app: &str| {
        workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {web}\n"));
        workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {app}\n"));
    };
    write(&workspace, FIRST, SECOND);
    workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\nschema: app\n");
    let running = Reloading::of(workspace);
    let stop = Arc::new(AtomicBool::new(false));
    let (address, stopped) = (running.server.address.clone(), Arc::clone(&stop));
    let sending = std::thread::spawn(move || {
        let mut statuses = std::collections::BTreeSet::new();
        for n in 0.. {
            if stopped.load(Ordering::SeqCst) {
                break;
            }
            let body = json!({"type": "page", "messageId": format!("m{n}"), "userId": "u"}).to_string();
            let headers = [("authorization", crate::support::basic(FIRST))];
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            statuses.insert(crate::support::request(&address, "POST", "/v1/page", &headers, body.as_bytes()).status);
        }
        statuses
    });
    for n in 0..20 {
        let (web, app) = if n % 2 == 0 { (SECOND, FIRST) } else { (FIRST, SECOND) };
        write(&running.workspace, web, app);
        running.reload();
    }
    stop.store(true, Ordering::SeqCst);
    let statuses = sending.join().unwrap();
    // A request that the move overtakes is told to come again.
    assert!(!statuses.contains(&401) && statuses.contains(&200), "{statuses:?}");
    running.server.stop();
}

#[test]
fn a_destination_that_never_answers_is_edited_100_times() {
    let workspace = Workspace::new();
    let port = silent();
    let write = |workspace: &Workspace, n: u32| {
        let url = format!("postgres://u:p@127.0.0.1:{port}/db{n}");
        workspace.write("destinations/pg.yaml", &format!("kind: postgres\nurl: {url}\n"));
    };
    write(&workspace, 0);
    workspace.write("syncs/other.yaml", "source: web\ndestination: pg\n");
    let running = Reloading::of(workspace);
    let mut longest = Duration::ZERO;
    for n in 1..=100 {
        write(&running.workspace, n);
        let began = Instant::now();
        let answer = running.reload();
        longest = longest.max(began.elapsed());
        assert_eq!(answer["syncs"]["other"], "reopen", "{answer}");
        assert_eq!(running.page(&running.workspace.write_key, &format!("m{n}")), 200);
    }
    // The bound is 1.5 seconds; a busy machine adds to it.
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    running.wait_for_delivered("web-to-warehouse", 100);
    running.server.stop();
    assert_eq!(running.workspace.warehouse().count("pages"), 100);
}

#[test]
fn a_sync_that_came_later_is_not_trimmed_away() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 1 MiB, retention_bytes: 1 MiB, retention_age: 1 s}\n");
    let port = silent();
    let running = Reloading::with(workspace, &["trim_in_haste=return"]);
    let filler = "x".repeat(20_000);
    let send = |from: u64| {
        let page =
            |n| json!({"type": "page", "messageId": format!("m{n}"), "userId": "u", "properties": {"filler": filler}});
        for first in (from..from + 600).step_by(20) {
            let pages: Vec<_> = (first..first + 20).map(page).collect();
            assert_eq!(running.server.batch(&pages).status, 200);
        }
    };
    let oldest = || {
        let dir = tidegate_log::partition_dir(&running.workspace.data().join("log"), 0);
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "log")).min().unwrap()
    };
    let first = oldest();
    send(0);
    until("what every sync has had goes", || oldest() != first);
    let url = format!("postgres://u:p@127.0.0.1:{port}/db");
    running.workspace.write("destinations/pg.yaml", &format!("kind: postgres\nurl: {url}\n"));
    running.workspace.write("syncs/later.yaml", "source: web\ndestination: pg\n");
    running.reload();
    running.wait_for_delivered("web-to-warehouse", 600);
    let kept = oldest();
    send(600);
    running.wait_for_delivered("web-to-warehouse", 1_200);
    // The log looks many times a second at what it may give up, and the sync that came later has had nothing.
    send(1_200);
    running.wait_for_delivered("web-to-warehouse", 1_800);
    assert_eq!(oldest(), kept);
    running.server.stop();
}
