//! What a server tells those who watch it: numbers for Prometheus, probes, the exit code of `tidegate status`, spans for OpenTelemetry.

mod pages;
mod prometheus;
mod spans;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::delivery::{self, Route};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::waiting::seldom;
use crate::support::{Reply, Server, Workspace, basic, request, run};

const TOKEN: &str = "0123456789abcdef0123";

/// Asks the admin port, showing this.
fn ask(server: &Server, path: &str, token: Option<&str>) -> Reply {
    let shown = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = shown.iter().map(|shown| ("authorization", shown.as_str())).collect();
    request(&server.admin, "GET", path, &headers, b"")
}

/// The text of a scrape.
fn scraped(server: &Server) -> String {
    let reply = ask(server, "/metrics", Some(TOKEN));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    reply.text()
}

/// The samples of a text, by what stands before their values.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &'_ str| -> (usize, f64) {
        let at = line.rfind(' ').unwrap_or_else(|| panic!("{line}"));
        (at, line[at + 1..].parse().unwrap_or_else(|error| panic!("{line}: {error}")))
    };
    let mut found = BTreeMap::new();
    for line in lines {
        let (at, value) = sample(line);
        assert!(found.insert(&line[..at], value).is_none(), "twice: {line}");
    }
    found
}

/// Waits until these samples have these values; the last text.
fn wait_for(server: &Server, wanted: &[(&str, f64)]) -> String {
    seldom("the numbers are as wanted", || {
        let text = scraped(server);
        let found = samples(&text);
        let missing = wanted.iter().find(|(name, value)| found.get(name).is_none_or(|found| found != value));
        match missing {
            None => Ok(text.clone()),
            Some((name, value)) => Err(format!("{name} is {:?}, not {value}", found.get(name))),
        }
    })
}

/// A workspace whose numbers are read with [`TOKEN`].
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    with_token(&workspace);
    workspace
}

fn with_token(workspace: &Workspace) {
    workspace.append("tidegate.yaml", &format!("metrics:\n  token: {TOKEN}\n"));
}

#[test]
fn numbers_are_what_was_sent_and_have_nothing_of_events_in_them() {
    let workspace = workspace();
    let server = workspace.serve();
    let event = json!({"type": "track", "event": "A Secret Name", "userId": "ann@example.com", "messageId": "a"});
    assert_eq!(server.batch(&[event.clone(), event]).status, 200);
    assert_eq!(server.batch(&[json!({"type": "nosuch", "messageId": "b", "userId": "ann@example.com"})]).status, 200);
    let wrong_key = basic("no-such-key");
    let wrong = [("authorization", wrong_key.as_str())];
    assert_eq!(request(&server.address, "POST", "/v1/track", &wrong, b"{}").status, 401);
    let text = wait_for(
        &server,
        &[
            ("tidegate_ingest_events_total{environment=\"default\",source=\"web\"}", 3.0),
            ("tidegate_ingest_refusals_total{reason=\"unknown-write-key\"}", 1.0),
            ("tidegate_accepted_events_total{environment=\"default\",source=\"web\"}", 3.0),
            ("tidegate_source_events_total{environment=\"default\",source=\"web\",fate=\"duplicate\"}", 1.0),
            ("tidegate_source_events_total{environment=\"default\",source=\"web\",fate=\"quarantined\"}", 1.0),
            ("tidegate_sync_events_total{environment=\"default\",sync=\"web-to-warehouse\",fate=\"delivered\"}", 1.0),
            ("tidegate_sync_lag_records{environment=\"default\",sync=\"web-to-warehouse\",partition=\"0\"}", 0.0),
            ("tidegate_sync_oldest_undelivered_seconds{environment=\"default\",sync=\"web-to-warehouse\"}", 0.0),
            ("tidegate_refine_lag_records{environment=\"default\",partition=\"0\"}", 0.0),
            ("tidegate_log_records_total{environment=\"default\",partition=\"0\"}", 3.0),
            ("tidegate_quarantine_events{environment=\"default\"}", 1.0),
            ("tidegate_conservation_breaches{environment=\"default\"}", 0.0),
            ("tidegate_state_readable{environment=\"default\"}", 1.0),
            ("tidegate_acknowledge_seconds_count{environment=\"default\",source=\"web\"}", 2.0),
            ("tidegate_freshness_seconds_count{environment=\"default\",sync=\"web-to-warehouse\"}", 1.0),
        ],
    );
    let found = samples(&text);
    for at_least_one in [
        "tidegate_refine_seconds_count{environment=\"default\",partition=\"0\"}",
        "tidegate_load_seconds_count{environment=\"default\",sync=\"web-to-warehouse\"}",
        "tidegate_disk_free_bytes{environment=\"default\"}",
        "tidegate_log_bytes{environment=\"default\",partition=\"0\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(found.get(at_least_one).is_some_and(|value| *value >= 1.0), "{at_least_one} in {text}");
    }
    for part in ["Secret", "ann@example", "nosuch", workspace.write_key.as_str(), TOKEN] {
        assert!(!text.contains(part), "{part} in {text}");
    }
    // The buckets of a histogram add up.
    let buckets = found.iter().filter(|(name, _)| name.starts_with("tidegate_acknowledge_seconds_bucket"));
    assert_eq!(buckets.clone().count(), 19);
    assert!(buckets.clone().any(|(name, count)| name.contains("le=\"+Inf\"") && *count == 2.0), "{text}");
    server.stop();
    // What the state keeps goes on after a start.
    let server = workspace.serve();
    wait_for(
        &server,
        &[
            ("tidegate_accepted_events_total{environment=\"default\",source=\"web\"}", 3.0),
            ("tidegate_sync_events_total{environment=\"default\",sync=\"web-to-warehouse\",fate=\"delivered\"}", 1.0),
        ],
    );
    server.stop();
}

#[test]
fn numbers_are_for_their_token_for_the_admin_token_or_for_everybody() {
    let workspace = workspace();
    let admin = workspace.admin_token();
    let server = workspace.serve();
    let status = |token: Option<&str>| ask(&server, "/metrics", token).status;
    assert_eq!([None, Some("wrong"), Some(TOKEN), Some(admin.as_str())].map(status), [401, 401, 200, 200]);
    // It opens nothing else.
    assert_eq!(ask(&server, "/admin/functions", Some(TOKEN)).status, 401);
    assert_eq!(ask(&server, "/admin/functions", Some(admin.as_str())).status, 200);
    server.stop();
    let open = Workspace::new();
    open.append("tidegate.yaml", "metrics:\n  open: true\n");
    let server = open.serve();
    assert_eq!(ask(&server, "/metrics", None).status, 200);
    assert_eq!(ask(&server, "/admin/functions", None).status, 401);
    server.stop();
    let short = Workspace::new();
    short.append("tidegate.yaml", "metrics:\n  token: short\ntraces:\n  endpoint: collector:4318\n");
    let said = run(&["check", short.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert_eq!(said.status.code(), Some(3), "{text}");
    assert!(
        text.contains("`metrics.token` is not 16 to 256") && text.contains("`traces.endpoint` is no address"),
        "{text}"
    );
    assert!(!text.contains("token: short"), "{text}");
}

#[test]
fn a_server_is_live_and_says_which_part_of_it_is_not_ready() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    for (path, status) in [("/livez", "live"), ("/readyz", "ready")] {
        let reply = ask(&server, path, None);
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!(status)), "{path}");
    }
    // Whoever opens it from now on finds nothing.
    std::fs::rename(workspace.data().join("state.db"), workspace.data().join("state.moved")).unwrap();
    let reply = seldom("it is not ready", || {
        let reply = ask(&server, "/readyz", None);
        if reply.status == 503 { Ok(reply) } else { Err(reply.text()) }
    });
    let answer = reply.json();
    assert_eq!(answer["parts"][0]["part"], "state", "{answer}");
    assert_eq!(answer["parts"][0]["environment"], "default", "{answer}");
    assert_eq!(ask(&server, "/livez", None).status, 200);
    server.kill();
}

#[test]
fn status_exits_with_1_while_something_fails_and_with_0_when_all_is_well() {
    let workspace = workspace();
    let path = workspace.path().to_str().unwrap().to_owned();
    let status = || {
        let output = run(&["status", &path, "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer["health"].clone())
    };
    let server = workspace.serve();
    assert_eq!(server.batch(&[json!({"type": "page", "messageId": "a"})]).status, 200);
    seldom("the event is delivered", || {
        let status = workspace.status();
        if status["syncs"]["web-to-warehouse"]["delivered"] == 1 { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(status(), (Some(0), json!({"well": true, "reasons": []})));
    server.stop();
    workspace
        .write("destinations/away.yaml", "kind: postgres\nurl: postgres://me:hush@127.0.0.1:1/db\nsslmode: disable\n");
    workspace.write("syncs/web-to-away.yaml", "source: web\ndestination: away\n");
    let server = workspace.serve();
    seldom("the sync fails", || {
        let (code, health) = status();
        let fails = health["reasons"] == json!(["sync web-to-away fails"]);
        if code == Some(1) && fails { Ok(()) } else { Err(health.to_string()) }
    });
    let text = run(&["status", &path]);
    assert_eq!(text.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&text.stdout).contains("not well: sync web-to-away fails"));
    // A destination that is away makes nothing unready.
    assert_eq!(ask(&server, "/readyz", None).status, 200);
    let sync = "environment=\"default\",sync=\"web-to-away\"";
    let text = wait_for(&server, &[(&format!("tidegate_sync_failing{{{sync}}}"), 1.0)]);
    let found = samples(&text);
    assert!(found[&*format!("tidegate_sync_failures_total{{{sync}}}")] >= 1.0, "{text}");
    assert_eq!(found[&*format!("tidegate_sync_lag_records{{{sync},partition=\"0\"}}")], 1.0, "{text}");
    assert!(found[&*format!("tidegate_sync_oldest_undelivered_seconds{{{sync}}}")] > 0.0, "{text}");
    server.stop();
}

#[test]
fn a_sync_that_is_paused_does_not_fail_until_it_goes_on() {
    let workspace = workspace();
    workspace
        .write("destinations/away.yaml", "kind: postgres\nurl: postgres://me:hush@127.0.0.1:1/db\nsslmode: disable\n");
    workspace.write("syncs/web-to-away.yaml", "source: web\ndestination: away\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(server.batch(&[json!({"type": "page", "messageId": "a"})]).status, 200);
    let failing = "tidegate_sync_failing{environment=\"default\",sync=\"web-to-away\"}";
    let paused = "tidegate_sync_paused{environment=\"default\",sync=\"web-to-away\"}";
    let shows = |wanted: Value| {
        seldom("it is shown so", || {
            let activity = admin.get("/api/v1/activity");
            let sync = activity["syncs"].as_array().unwrap().iter().find(|sync| sync["sync"] == "web-to-away").unwrap();
            let shown = json!({"failing": sync["failing"], "paused": sync["paused"]});
            if shown == wanted { Ok(()) } else { Err(shown.to_string()) }
        });
    };
    let changed = |path: &str| {
        let reply = admin.ask("POST", path, b"");
        // 202 where a worker is still on its way to its end.
        assert!(matches!(reply.status, 200 | 202), "{path}: {}", reply.text());
    };
    wait_for(&server, &[(failing, 1.0)]);
    for object in ["sync/web-to-away", "destination/away"] {
        changed(&format!("/api/v1/objects/{object}/pause"));
        wait_for(&server, &[(failing, 0.0), (paused, 1.0)]);
        shows(json!({"failing": false, "paused": true}));
        seldom("all is well", || {
            let health = workspace.status()["health"].clone();
            if health["well"] == true { Ok(()) } else { Err(health.to_string()) }
        });
        changed(&format!("/api/v1/objects/{object}/resume"));
        wait_for(&server, &[(failing, 1.0), (paused, 0.0)]);
        shows(json!({"failing": true, "paused": false}));
    }
    server.stop();
}

#[test]
fn answers_of_a_destination_are_counted_by_their_class_with_the_times_that_it_was_asked_again() {
    let far = Far::new(|_| Act::status(503));
    let route = Route::new(&far);
    with_token(&route.workspace);
    let server = route.workspace.serve();
    delivery::send(&server, &[delivery::event("a", "ann", json!({}))]);
    seldom("the event was sent again", || {
        let text = scraped(&server);
        let found = samples(&text);
        let of = |class: &str| {
            let name = format!(
                "tidegate_delivery_answers_total{{environment=\"default\",destination=\"crm\",status=\"{class}\"}}"
            );
            found.get(&*name).copied().unwrap_or(0.0)
        };
        let retries = "tidegate_delivery_retries_total{environment=\"default\",destination=\"crm\"}";
        let times = "tidegate_delivery_seconds_count{environment=\"default\",destination=\"crm\"}";
        let retries = found.get(retries).copied().unwrap_or(0.0);
        let is_counted = of("5xx") >= 1.0 && retries >= 1.0 && found.get(times).is_some_and(|count| *count >= 1.0);
        assert!(of("2xx") < 1.0, "{text}");
        if is_counted { Ok(()) } else { Err(text.clone()) }
    });
    server.kill();
}
