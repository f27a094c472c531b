//! Conditions on parts that break: each becomes true because the part really breaks, and is true no more once it is mended.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;

use jiff::ToSpan as _;
use rcgen::date_time_ymd;
use rusqlite::Connection;
use serde_json::json;

use super::conditions::{started, watched};
use super::{alert, breakable, is, people, statuses};
use crate::delivery::{Route, event, send};
use crate::support::far::{Act, Far};
use crate::support::guests::component;
use crate::support::tls::TestAuthority;
use crate::support::waiting::until;
use crate::support::{Workspace, run};

/// Adds an alert that tells a webhook to a workspace.
fn watch(workspace: &Workspace, text: &str) -> Far {
    let people = people();
    let notify =
        format!("notify:\n  hook: {{webhook: \"{}/hook\", allow_private_hosts: [127.0.0.1]}}", people.origin());
    alert(workspace, "one", &format!("{text}\n{notify}"));
    people
}

/// Both the beginning and the end were told, once.
fn both_are_told(people: &Far) {
    until("both are told", || statuses(people, "/hook").len() >= 2);
    assert_eq!(statuses(people, "/hook"), ["firing", "resolved"]);
}

#[test]
fn a_destination_that_refuses_events_fires_by_their_share_and_recovers_when_it_refuses_none() {
    let far = Far::new(|received| Act::status(if received.text().contains("refuse-me") { 400 } else { 200 }));
    let route = Route::new(&far);
    let text = "condition: delivery_errors\ndestination: crm\nthreshold: 50\nevents_min: 10\nwindow: 3 s";
    let people = watch(&route.workspace, text);
    let (server, admin) = started(&route.workspace);
    is(&admin, "one", "ok");
    let refused: Vec<_> = (0..20).map(|n| event(&format!("m{n}"), "u", json!({"say": "refuse-me"}))).collect();
    send(&server, &refused);
    let shown = is(&admin, "one", "firing");
    assert_eq!(shown["objects"][0]["object"], "destination crm", "{shown:#}");
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
}

#[test]
fn a_sync_whose_events_wait_for_too_long_is_late_until_they_are_delivered() {
    let (route, is_away) = breakable();
    let people = watch(&route.workspace, "condition: sync_late\nsync: web-to-crm\nthreshold: 1 s");
    let (server, admin) = started(&route.workspace);
    is(&admin, "one", "ok");
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    let shown = is(&admin, "one", "firing");
    assert!(shown["objects"][0]["text"].as_str().unwrap().starts_with("the oldest event has waited"), "{shown:#}");
    is_away.store(false, Ordering::Relaxed);
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
}

#[test]
fn a_function_that_is_stopped_fires_until_a_version_that_works_is_live() {
    let function = |workspace: &Workspace, guest: &str, settings: &serde_json::Value| {
        let text = format!("component: {}\nsettings: {settings}\n", component(guest).display());
        workspace.write("functions/broken.yaml", &text);
    };
    let (workspace, people) = watched("condition: function_failing\nfunction: broken");
    function(&workspace, "hostile/attacks", &json!({}));
    workspace
        .write("sources/web.yaml", &format!("kind: http\nwrite_key: {}\nfunctions: [broken]\n", workspace.write_key));
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    let fatal = |n: usize| event(&format!("bad-{n}"), "u", json!({"email": "a@example.com", "attack": "fatal"}));
    for n in 0..2 {
        send(&server, &[fatal(n)]);
        until("the broken batch is quarantined", || workspace.quarantined().len() == n + 1);
    }
    send(&server, &[fatal(2)]);
    let shown = is(&admin, "one", "firing");
    assert!(shown["objects"][0]["text"].as_str().unwrap().starts_with("it is stopped"), "{shown:#}");
    function(&workspace, "transform/redact-pii", &json!({"fields": {"email": "drop"}}));
    let reloaded = admin.post("/admin/reload", &json!({}));
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
    let status = workspace.status();
    assert!(!status["health"].to_string().contains("is stopped"), "{}", status["health"]);
}

#[test]
fn a_certificate_of_a_port_that_ends_soon_fires_until_there_is_a_new_one() {
    let (workspace, people) = watched("condition: certificate\nthreshold: 14 d");
    let authority = TestAuthority::new();
    let put = |(certificate, key): (String, String)| {
        workspace.write("tls/server.key", &key);
        let file = workspace.path().join("tls/server.key");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        workspace.write("tls/server.pem", &certificate);
    };
    let end = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().checked_add(10.days()).unwrap();
    let (year, month, day) = (i32::from(end.year()), end.month().unsigned_abs(), end.day().unsigned_abs());
    put(authority.sign_with(&["localhost"], |params| params.not_after = date_time_ymd(year, month, day)));
    workspace.append("tidegate.yaml", "\ntls: {certificate: tls/server.pem, key: tls/server.key}\n");
    let (server, admin) = started(&workspace);
    let shown = is(&admin, "one", "firing");
    assert_eq!(shown["objects"][0]["object"], "certificate tls/server.pem", "{shown:#}");
    workspace.write("tls/server.pem", "half of a certificate");
    let looked = admin.post("/api/v1/alerts/one/unmute", &json!({})).json();
    assert_eq!(looked["objects"][0]["state"], "firing", "who cannot read it does not know better: {looked:#}");
    put(authority.sign(&["localhost"]));
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
}

#[test]
fn a_disk_that_is_nearly_full_fires_until_there_is_room() {
    let (workspace, people) = watched("condition: disk\nthreshold: 6");
    let token = workspace.admin_token();
    let server = workspace.serve_with(&["alerts_in_haste=return", "alerts_disk_full=return"]);
    let admin = crate::support::admin::Admin::new(&server, &token);
    is(&admin, "one", "firing");
    until("it is told", || statuses(&people, "/hook") == ["firing"]);
    server.stop();
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
}

#[test]
fn an_hour_with_far_more_events_than_the_same_hours_of_earlier_weeks_fires() {
    let (workspace, people) = watched("condition: volume_spike\nsource: web");
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    server.stop();
    let state = Connection::open(workspace.data().join("state.db")).unwrap();
    let now: i64 = state.query_row("SELECT unixepoch() / 3600", [], |row| row.get(0)).unwrap();
    for hour in (1..=4).flat_map(|weeks| (now - weeks * 168 - 4)..=(now - weeks * 168 + 1)) {
        let sql = "INSERT INTO fate_hours (is_sync, scope, hour, name, came, made, duplicates, quarantined, expired, suppressed, dropped,
                filtered, pending, delivered, by_ledger, went_on)
            VALUES (0, 'web', ?1, 'Bought', 10, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        assert_eq!(state.execute(sql, [hour]).unwrap(), 1);
    }
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    let events: Vec<_> = (0..150).map(|n| event(&format!("m{n}"), "u", json!({}))).collect();
    send(&server, &events);
    let shown = is(&admin, "one", "firing");
    assert!(shown["objects"][0]["text"].as_str().unwrap().contains("where 10 are usual"), "{shown:#}");
    until("it is told", || statuses(&people, "/hook") == ["firing"]);
    server.stop();
    let usual = "UPDATE fate_hours SET came = 1000, duplicates = 1000 WHERE scope = 'web' AND hour < ?1";
    assert!(state.execute(usual, [now - 100]).unwrap() > 0);
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
}

#[test]
fn events_that_are_not_accounted_for_fire_until_somebody_has_seen_to_it() {
    let (workspace, people) = watched("condition: conservation");
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    send(&server, &[event("a", "u", json!({}))]);
    crate::reliability::drained(&workspace);
    server.stop();
    let changed = |by: i64| {
        let state = Connection::open(workspace.data().join("state.db")).unwrap();
        assert!(state.execute("UPDATE fate_hours SET came = came + ?1 WHERE is_sync = 0", [by]).unwrap() > 0);
    };
    changed(7);
    let (server, admin) = started(&workspace);
    is(&admin, "one", "firing");
    until("it is told", || statuses(&people, "/hook") == ["firing"]);
    server.stop();
    changed(-7);
    let path = workspace.path();
    let forgotten = run(&["audit", "conservation", path.to_str().unwrap(), "--forget-breaches"]);
    assert!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    both_are_told(&people);
    server.stop();
}
