//! Forms of alerts, replays, privacy and SQL: what they do, what they say of wrong input, and what a viewer gets.

use serde_json::{Value, json};

use super::{NONE, ServedConsole, made_user, out_of_place, page};
use crate::support::browser::CookieJar;
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Reply, tidegate};

/// A form that is refused: its page stands again, with this status, and says this.
#[track_caller]
fn refused(browser: &mut CookieJar, (path, fields): (&str, &str), status: u16, says: &str) -> String {
    let reply = browser.form(path, fields);
    let html = reply.text();
    assert_eq!(reply.status, status, "{path} {fields}: {html}");
    assert!(html.contains(says), "{path} {fields} does not say {says}: {html}");
    assert_eq!(out_of_place(&html), None, "{html}");
    html
}

#[track_caller]
fn led(reply: &Reply) -> String {
    assert_eq!(reply.status, 303, "{}", reply.text());
    reply.header("location").unwrap().to_owned()
}

#[test]
fn an_alert_is_made_muted_tested_and_edited_by_forms() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    let wrong = "name=late&condition=sync_late&object=nowhere&owner=%3Cb%3E&channel=";
    let html = refused(&mut root, ("/alerts/new", wrong), 422, "nowhere");
    assert!(html.contains("value=\"&lt;b&gt;\"") && !html.contains("<b>"), "{html}");
    assert_eq!(
        led(&root.form("/alerts/new", "name=late&condition=sync_late&threshold=15+min&owner=%3Cb%3E&channel=")),
        "/alerts"
    );
    let html = within(PATIENCE, "the alert is watched", || {
        let html = page(&mut root, "/alerts");
        if html.contains("/alerts/late/mute") { Ok(html) } else { Err(html) }
    });
    assert!(html.contains("owner &lt;b&gt;"), "{html}");
    let html = refused(&mut root, ("/alerts/late/mute", "for=soon&reason=%3Ci%3E"), 422, "id=\"wrong-for\"");
    assert!(html.contains("value=\"soon\"") && html.contains("value=\"&lt;i&gt;\""), "{html}");
    assert!(!html.contains("data-updates"), "what is said stays until somebody has read it: {html}");
    assert_eq!(led(&root.form("/alerts/late/mute", "for=2+h&reason=%3Ci%3E")), "/alerts");
    let html = page(&mut root, "/alerts");
    assert!(
        html.contains("muted until") && html.contains("&lt;i&gt;") && html.contains("/alerts/late/unmute"),
        "{html}"
    );
    assert_eq!(led(&root.form("/alerts/late/unmute", "")), "/alerts");
    let tested = root.form("/alerts/late/test", "");
    assert_eq!(tested.status, 200);
    assert!(tested.text().contains("It has no channel"), "{}", tested.text());
    let html = page(&mut root, "/alerts/late/edit");
    let revision = served.admin.get("/api/v1/objects/alert/late")["revision"].clone();
    assert!(html.contains("&quot;threshold&quot;: &quot;15 min&quot;"), "{html}");
    refused(&mut root, ("/alerts/late/edit", &format!("revision={revision}&spec=%7B")), 422, "it is not JSON");
    refused(&mut root, ("/alerts/late/edit", "revision=1&spec=%7B%7D"), 422, "somebody has changed it");
    let spec = "%7B%22condition%22%3A%22sync_late%22%2C%22threshold%22%3A%221+h%22%7D";
    assert_eq!(led(&root.form("/alerts/late/edit", &format!("revision={revision}&spec={spec}"))), "/alerts");
    assert_eq!(served.admin.get("/api/v1/objects/alert/late")["spec"]["threshold"], "1 h");
    let seen = page(&mut vera, "/alerts");
    assert!(seen.contains("late") && !seen.contains("/alerts/new") && !seen.contains("/alerts/late/mute"), "{seen}");
    for (path, fields) in
        [("/alerts/late/mute", "for=2+h"), ("/alerts/late/test", ""), ("/alerts/new", "name=x&condition=disk")]
    {
        assert_eq!(vera.form(path, fields).status, 403, "{path}");
    }
    assert_eq!(root.form_from("https://evil.example", "/alerts/late/mute", "").status, 403);
    assert_eq!(root.form("/alerts/late/else", "").status, 404);
    served.server.stop();
}

#[test]
fn a_replay_is_counted_first_and_then_sent() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    let html = refused(&mut root, ("/replay/try", "sync=web-to-warehouse&from=%3Cscript%3E"), 422, "id=\"wrong-from\"");
    assert!(html.contains("value=\"&lt;script&gt;\""), "{html}");
    refused(&mut root, ("/replay/try", "sync=web-to-warehouse&from=beginning&rate=fast"), 422, "id=\"wrong-rate\"");
    refused(&mut root, ("/replay/try", "sync=web-to-warehouse&from=9&to=2"), 422, "id=\"wrong-to\"");
    let fields = "sync=web-to-warehouse&from=beginning&events=&rules=then";
    let counted = root.form("/replay/try", fields);
    let html = counted.text();
    assert_eq!(counted.status, 200, "{html}");
    assert!(html.contains("Nothing was sent") && html.contains("name=\"from\" value=\"beginning\""), "{html}");
    assert_eq!(out_of_place(&html), None, "{html}");
    assert_eq!(vera.form("/replay/try", fields).status, 403);
    assert_eq!(root.form_from("https://evil.example", "/replay", fields).status, 403);
    let place = led(&root.form("/replay", fields));
    assert!(place.starts_with("/replay/"), "{place}");
    let done = within(PATIENCE, "the replay is done", || {
        let html = page(&mut root, &place);
        if html.contains(">done<") { Ok(html) } else { Err(html) }
    });
    assert_eq!(out_of_place(&done), None, "{done}");
    let list = page(&mut root, "/replay");
    assert!(list.contains("only counted") && list.contains(&format!("href=\"{place}\"")), "{list}");
    assert_eq!(led(&root.form(&format!("{place}/cancel"), "")), place);
    served.server.stop();
}

#[test]
fn somebody_is_left_out_and_forgotten_after_a_look_at_what_that_means() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    assert_eq!(vera.ask("GET", "/privacy", &NONE).status, 403);
    assert_eq!(vera.form("/privacy", "subjects=user+ann&what=suppress").status, 403);
    let html = refused(&mut root, ("/privacy/try", "subjects=%3Cb%3E&what=forget"), 422, "line 1 names nobody");
    assert!(html.contains("&lt;b&gt;</textarea>"), "{html}");
    refused(&mut root, ("/privacy/try", "subjects=pet+rex&what=suppress"), 422, "id=\"wrong-subjects\"");
    refused(&mut root, ("/privacy/try", "subjects=user+ann&what=else"), 422, "id=\"wrong-what\"");
    let tried = root.form("/privacy/try", "subjects=user+ann%0D%0Atrait+email%3Da%40b.c&what=suppress");
    assert_eq!(tried.status, 200, "{}", tried.text());
    assert!(tried.text().contains("Nothing was changed"), "{}", tried.text());
    assert!(served.admin.get("/api/v1/privacy/suppressed")["subjects"].as_array().unwrap().is_empty());
    assert_eq!(led(&root.form("/privacy", "subjects=user+ann&what=suppress")), "/privacy");
    let shown = page(&mut root, "/privacy");
    assert!(shown.contains("1 are left out") && !shown.contains(">ann<"), "{shown}");
    let tried = root.form("/privacy/try", "subjects=user+ann&what=forget");
    assert!(tried.text().contains("Forget them now"), "{}", tried.text());
    assert_eq!(out_of_place(&tried.text()), None, "{}", tried.text());
    let place = led(&root.form("/privacy", "subjects=user+ann&what=forget"));
    assert!(place.starts_with("/privacy/jobs/"), "{place}");
    until("the job is done", || page(&mut root, &place).contains(">done<"));
    let verified = root.form("/privacy/try", "subjects=user+nobody-of-this-name&what=verify");
    assert!(verified.text().contains("None of these ids"), "{}", verified.text());
    assert_eq!(led(&root.form("/privacy", "subjects=user+ann&what=unsuppress")), "/privacy");
    served.server.stop();
}

/// What must be refused, with the code.
const HOSTILE: [(&str, &str); 22] = [
    ("ATTACH 'state.db' AS s", "not-allowed"),
    ("PRAGMA table_info(tracks)", "not-allowed"),
    ("PRAGMA writable_schema = 1", "not-allowed"),
    ("SELECT * FROM pragma_database_list", "not-allowed"),
    ("SELECT load_extension('/tmp/x.so')", "not-allowed"),
    ("DELETE FROM tracks", "not-allowed"),
    ("UPDATE tracks SET id = 1", "not-allowed"),
    ("INSERT INTO tracks (id) VALUES ('x')", "not-allowed"),
    ("DROP TABLE tracks", "not-allowed"),
    ("CREATE TABLE t (a)", "not-allowed"),
    ("VACUUM INTO '/tmp/copy.db'", "not-allowed"),
    ("BEGIN EXCLUSIVE", "not-allowed"),
    ("SELECT sql FROM sqlite_master", "not-allowed"),
    ("SELECT * FROM _tidegate_ledger", "not-allowed"),
    ("/* SELECT */ DELETE FROM tracks", "not-allowed"),
    ("SELECT * FROM state.sqlite_master", "statement"),
    ("SELECT 1; DELETE FROM tracks", "statement"),
    ("-- SELECT 1", "statement"),
    ("", "statement"),
    ("SELECT ?", "statement"),
    ("SELECT length(printf('%.*c', 1000000000, 'x'))", "too-large"),
    ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", "too-slow"),
];

#[test]
fn a_hostile_statement_is_refused_by_its_name_and_changes_nothing() {
    let served = ServedConsole::open();
    let place = "/api/v1/destinations/warehouse/query";
    let before = served.workspace.warehouse().count("tracks");
    for (sql, code) in HOSTILE {
        let reply = served.admin.post(place, &json!({ "sql": sql }));
        assert_eq!(reply.code(), format!("422 {code}"), "{sql}: {}", reply.text());
        let problem = reply.json();
        assert_eq!(problem["field"], "sql", "{sql}: {problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty() && !problem["fix"].as_str().unwrap().is_empty());
    }
    let long = format!("SELECT '{}'", "x".repeat(20_000));
    assert_eq!(served.admin.post(place, &json!({ "sql": long })).code(), "422 statement");
    assert_eq!(served.workspace.warehouse().count("tracks"), before);
    assert!(!std::path::Path::new("/tmp/copy.db").exists());
    // The sync goes on: nothing of this has taken its locks away.
    let sent = json!({"type": "track", "event": "After", "messageId": "after", "userId": "ann"});
    assert_eq!(served.server.batch(&[sent]).status, 200);
    until("the sync goes on", || {
        let reply = served.admin.post(place, &json!({"sql": "SELECT count(*) FROM tracks WHERE id = 'after'"}));
        reply.json()["rows"] == json!([[1]])
    });
    served.server.stop();
}

#[test]
fn sql_is_for_whoever_may_see_the_events_of_every_sync_to_the_destination() {
    let served = ServedConsole::open();
    let place = "/api/v1/destinations/warehouse/query";
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    let form = "destination=warehouse&sql=SELECT+event_text+AS+%22%3Cb%3E%22+FROM+tracks+WHERE+id+%3D+%27hostile%27";
    let reply = root.form("/sql", form);
    let html = reply.text();
    assert_eq!(reply.status, 200, "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("<bdi>&lt;b&gt;</bdi>"), "{html}");
    assert_eq!(out_of_place(&html), None, "{html}");
    let drawn =
        root.form("/sql", "destination=warehouse&sql=SELECT+%27a%27+AS+day,+1+AS+n+UNION+ALL+SELECT+%27b%27,+2");
    assert!(drawn.text().contains("<path class=\"line in\""), "{}", drawn.text());
    let file = root.form("/sql/csv", form);
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"rows.csv\""));
    assert_eq!(file.text(), "\"<b>\"\r\n\"<script>alert(1)</script>\"\r\n");
    refused(&mut root, ("/sql", "destination=warehouse&sql=SELEKT+%3Cb%3E"), 422, "id=\"wrong-sql\"");
    refused(&mut root, ("/sql", "destination=&sql=SELECT+1"), 422, "id=\"wrong-destination\"");
    let log = served.admin.get("/api/v1/audit?action=queried");
    assert!(log.to_string().contains("WHERE id = 'hostile'"), "{log}");
    let seen = page(&mut vera, "/sql");
    assert!(seen.contains("You may not see the events") && !seen.contains("<textarea"), "{seen}");
    assert_eq!(vera.form("/sql", form).status, 403);
    assert_eq!(vera.ask("POST", place, &json!({"sql": "SELECT 1"})).status, 403);
    assert_eq!(vera.ask("GET", place, &NONE).status, 403);
    // Who sees the events of the destination, and not those of the source, has them masked: and SQL cannot mask.
    let grants =
        |see: Value| json!({"name": "analyst", "spec": {"access": [{"level": "view", "on": {}}], "see_payloads": see}});
    let made = served.admin.post("/api/v1/objects/role", &grants(json!([{"kind": "destination"}])));
    assert_eq!(made.status, 201, "{}", made.text());
    made_user(&served.admin, "ada", "analyst");
    let mut ada = served.signed_in("ada");
    let denied = ada.ask("POST", place, &json!({"sql": "SELECT 1"}));
    assert_eq!(denied.status, 403, "{}", denied.text());
    assert!(denied.text().contains("see_payloads"), "{}", denied.text());
    let body = grants(json!([{"kind": "destination"}, {"kind": "source"}])).to_string();
    assert_eq!(served.admin.ask("PUT", "/api/v1/objects/role/analyst", body.as_bytes()).status, 200);
    assert_eq!(ada.ask("POST", place, &json!({"sql": "SELECT 1"})).json()["rows"], json!([[1]]));
    let tables = ada.ask("GET", place, &NONE).json();
    assert!(tables["tables"].as_array().unwrap().iter().any(|table| table["name"] == "tracks"), "{tables}");
    assert!(!tables.to_string().contains("_tidegate_ledger"), "{tables}");
    served.server.stop();
}

#[test]
fn a_command_reads_what_the_page_reads() {
    let served = ServedConsole::open();
    let address = format!("http://{}", served.server.admin);
    let run = |words: &[&str]| {
        let mut command = tidegate();
        command.arg("sql").args(words).args(["--server", &address, "--token", served.admin.token()]);
        command.output().unwrap()
    };
    let done = run(&["SELECT id FROM tracks WHERE id = 'hostile'", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&found["columns"], &found["rows"]), (&json!(["id"]), &json!([["hostile"]])));
    let listed = run(&[]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("tracks"));
    let wrong = run(&["--destination", "warehouse", "DELETE FROM tracks"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not allowed"));
    served.server.stop();
}
