//! Each condition that counts events fires when it should, and recovers.

use rusqlite::Connection;
use serde_json::json;

use super::{HASTE, alert, is, one, people, quarantined, statuses};
use crate::delivery::{event, send};
use crate::support::admin::Admin;
use crate::support::waiting::until;
use crate::support::{Server, Workspace, run};

/// A workspace with an alert that tells a webhook, and a server that runs it.
pub(super) fn watched(text: &str) -> (Workspace, crate::support::far::Far) {
    let (workspace, people) = (Workspace::new(), people());
    let notify =
        format!("notify:\n  hook: {{webhook: \"{}/hook\", allow_private_hosts: [127.0.0.1]}}", people.origin());
    alert(&workspace, "one", &format!("{text}\n{notify}"));
    (workspace, people)
}

pub(super) fn started(workspace: &Workspace) -> (Server, Admin) {
    let token = workspace.admin_token();
    let server = workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    (server, admin)
}

#[test]
fn a_quarantine_that_grows_fires_and_recovers_when_it_grows_no_more() {
    let (workspace, people) = watched("condition: quarantine_growth\nthreshold: 5\nwindow: 3 s");
    let (server, admin) = started(&workspace);
    quarantined(&server, 0, 2);
    is(&admin, "one", "ok");
    quarantined(&server, 2, 10);
    is(&admin, "one", "firing");
    is(&admin, "one", "ok");
    until("both are told", || statuses(&people, "/hook").len() == 2);
    assert_eq!(statuses(&people, "/hook"), ["firing", "resolved"]);
    server.stop();
}

#[test]
fn violations_fire_by_their_share_of_the_events_of_a_source() {
    let (workspace, people) = watched("condition: violations\nsource: web\nthreshold: 20\nevents_min: 10\nwindow: 3 s");
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: BLOCK_EVENT\n");
    let bought = "type: track\nname: Bought\nonSchemaViolation: BLOCK_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        n: { type: integer }\n";
    workspace.write("events/domains/shop/bought.yaml", bought);
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    let events: Vec<_> = (0..40)
        .map(|n| event(&format!("e{n}"), "u", if n % 2 == 0 { json!({"n": 1}) } else { json!({"n": "x"}) }))
        .collect();
    send(&server, &events);
    is(&admin, "one", "firing");
    is(&admin, "one", "ok");
    until("both are told", || statuses(&people, "/hook").len() == 2);
    server.stop();
}

#[test]
fn a_source_that_had_events_and_has_none_fires_until_the_next_one() {
    let (workspace, people) = watched("condition: source_silent\nsource: web\nwindow: 2 s");
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    send(&server, &[event("a", "u", json!({}))]);
    is(&admin, "one", "firing");
    let mut sent = 0;
    until("it is silent no more", || {
        sent += 1;
        send(&server, &[event(&format!("n{sent}"), "u", json!({}))]);
        one(&admin, "one")["state"] == "ok"
    });
    until("both are told", || statuses(&people, "/hook").len() >= 2);
    assert_eq!(statuses(&people, "/hook")[..2], ["firing", "resolved"]);
    server.stop();
}

#[test]
fn an_hour_with_far_fewer_events_than_the_same_hours_of_earlier_weeks_fires() {
    let (workspace, people) = watched("condition: volume_drop\nsource: web");
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    server.stop();
    // Four weeks in which a thousand events came in each hour.
    let state = Connection::open(workspace.data().join("state.db")).unwrap();
    let now: i64 = state.query_row("SELECT unixepoch() / 3600", [], |row| row.get(0)).unwrap();
    for hour in (1..=4).flat_map(|weeks| (now - weeks * 168 - 4)..=(now - weeks * 168 + 1)) {
        let sql = "INSERT INTO fate_hours (is_sync, scope, hour, name, came, made, duplicates, quarantined, expired, suppressed, dropped,
                filtered, pending, delivered, by_ledger, went_on)
            VALUES (0, 'web', ?1, 'Bought', 1000, 0, 1000, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        assert_eq!(state.execute(sql, [hour]).unwrap(), 1);
    }
    let (server, admin) = started(&workspace);
    let shown = is(&admin, "one", "firing");
    assert!(shown["objects"][0]["text"].as_str().unwrap().contains("1000 are usual"), "{shown:#}");
    until("it is told", || statuses(&people, "/hook") == ["firing"]);
    server.stop();
    let hours = "UPDATE fate_hours SET came = 0, duplicates = 0 WHERE scope = 'web'";
    state.execute(hours, []).unwrap();
    let (server, admin) = started(&workspace);
    is(&admin, "one", "ok");
    until("the recovery is told", || statuses(&people, "/hook") == ["firing", "resolved"]);
    server.stop();
}

#[test]
fn a_file_that_is_wrong_is_said_by_its_line() {
    let (workspace, _people) = watched("condition: sync_failing\nsync: nosuch");
    workspace.write("alerts/two.yaml", "condition: sync_failing\nfor: soon\nnotify:\n  a: {slack: nothing}\n");
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for part in ["alerts/one.yaml:2", "alerts/two.yaml:2", "alerts/two.yaml:4", "there is no sync"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
