//! Who says what an object is: a folder's files, or whoever made it.

use serde_json::{Value, json};

use super::{AppliedServer, tables, write};

#[test]
fn an_apply_deletes_only_what_it_manages_and_only_when_told() {
    let applied = AppliedServer::new();
    let made = applied.admin.post("/api/v1/objects/lookup", &json!({"name": "mine", "spec": super::table("m")}));
    assert_eq!(made.status, 201, "{}", made.text());
    applied.applied(&tables([("geo", "a"), ("prices", "b")]), &json!({}));
    let less = tables([("geo", "a")]);
    let answer = applied.applied(&less, &json!({}));
    assert_eq!(
        (answer["deleted"].as_u64(), &answer["left"]),
        (Some(0), &json!([{"kind": "lookup", "name": "prices"}]))
    );
    assert_eq!(applied.names("lookup"), ["geo", "mine", "prices"]);
    let answer = applied.applied(&less, &json!({"prune": true}));
    assert_eq!(answer["deleted"].as_u64(), Some(1), "{answer}");
    assert_eq!(applied.names("lookup"), ["geo", "mine"]);
    let answer = applied.applied(&tables([]), &json!({"prune": true}));
    assert_eq!(answer["deleted"].as_u64(), Some(1), "{answer}");
    // Neither what somebody made nor what the server's own folder has.
    assert_eq!((applied.names("lookup"), applied.names("source")), (vec!["mine".into()], vec!["web".into()]));
    applied.server.stop();
}

#[test]
fn an_object_of_somebody_else_is_taken_over_only_when_told() {
    let applied = AppliedServer::new();
    let made = applied.admin.post("/api/v1/objects/lookup", &json!({"name": "geo", "spec": super::table("m")}));
    assert_eq!(made.status, 201, "{}", made.text());
    let files = tables([("geo", "a")]);
    let refused = applied.apply(&files, &json!({}));
    assert_eq!(refused.code(), "422 problems");
    assert!(refused.text().contains("geo"), "{}", refused.text());
    assert_eq!(applied.object("lookup", "geo")["spec"]["entries"]["value"], "m");
    applied.applied(&files, &json!({"take_over": true}));
    let shown = applied.object("lookup", "geo");
    assert_eq!((&shown["spec"]["entries"]["value"], shown["managed_by"].is_object()), (&json!("a"), true), "{shown}");
    applied.server.stop();
}

#[test]
fn what_a_folder_manages_is_read_only_and_drift_is_shown_and_undone() {
    let applied = AppliedServer::new();
    let files = tables([("geo", "a")]);
    applied.applied(&files, &json!({}));
    let folder = applied.elsewhere("folder");
    write(&folder, &files);
    let changed = json!({"name": "geo", "spec": super::table("by hand")}).to_string();
    let put = |more: &str| applied.admin.ask("PUT", &format!("/api/v1/objects/lookup/geo{more}"), changed.as_bytes());
    assert_eq!(put("").code(), "409 managed-by-file");
    assert_eq!(applied.admin.ask("DELETE", "/api/v1/objects/lookup/geo", b"").code(), "409 managed-by-file");
    assert_eq!(applied.planned(&folder, &[]), (Some(0), 0));
    let forced = put("?force=true");
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(applied.object("lookup", "geo")["managed_by"]["drifted"], true);
    let (code, planned) = applied.answered("plan", &folder, &[]);
    let change: &Value = &planned["changes"][0];
    assert_eq!((code, &change["name"], &change["drifted"]), (Some(2), &json!("geo"), &json!(true)), "{planned}");
    let (code, answer) = applied.answered("apply", &folder, &[]);
    assert_eq!((code, answer["updated"].as_u64()), (Some(0), Some(1)), "{answer}");
    let shown = applied.object("lookup", "geo");
    assert_eq!((&shown["spec"]["entries"]["value"], &shown["managed_by"]["drifted"]), (&json!("a"), &json!(false)));
    assert_eq!(applied.planned(&folder, &[]), (Some(0), 0));
    applied.server.stop();
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let applied = AppliedServer::new();
    let before = applied.revision();
    let body = json!({"documents": [{"kind": "lookup", "key": "geo", "document": super::table("a")}]});
    let reply = applied.admin.post("/api/v1/apply?dry_run=true", &body);
    let answer = reply.json();
    assert_eq!(
        (reply.status, answer["created"].as_u64(), &answer["dry_run"]),
        (200, Some(1), &json!(true)),
        "{answer}"
    );
    assert_eq!((applied.revision(), applied.names("lookup").len()), (before, 0));
    applied.server.stop();
}
