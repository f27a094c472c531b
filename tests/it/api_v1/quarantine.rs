//! Who may see what is in quarantine, and who may send it on.

use serde_json::{Value, json};

use super::commands::{ServerCommands, text};
use super::{ApiCaller, served};
use crate::reliability::drained;
use crate::support::waiting::until;

#[test]
fn who_may_not_see_events_gets_their_fields_and_who_may_not_manage_retries_nothing() {
    let (workspace, server, admin) = served();
    let wrong = json!({"type": "track", "messageId": "w", "userId": "ann-hunter2"});
    assert_eq!(server.batch(&[wrong]).status, 200);
    drained(&workspace);
    let on_source = |level: &str| json!([{"level": level, "on": {"kind": "source"}}]);
    admin.made("role", "looker", json!({"access": on_source("view")}));
    admin.made("role", "seer", json!({"access": on_source("view"), "see_payloads": [{}]}));
    admin.made("role", "mender", json!({"access": on_source("manage"), "see_payloads": [{}]}));
    let looker = admin.user(&server, "noa", Some("looker"));
    let seer = admin.user(&server, "ada", Some("seer"));
    let mender = admin.user(&server, "ben", Some("mender"));
    let elsewhere = admin.user(&server, "far", None);
    let list = "/api/v1/quarantine";
    let masked = looker.get(list);
    assert_eq!((&masked["entries"][0]["masked"], &masked["entries"][0]["message"]), (&json!(true), &Value::Null));
    assert_eq!(masked["entries"][0]["event"]["userId"], "***", "{masked}");
    assert!(!masked.to_string().contains("hunter2"), "{masked}");
    let id = masked["entries"][0]["id"].clone();
    let one = looker.get(&format!("{list}/entries/{id}"));
    assert!(one["original"].is_null() && !one.to_string().contains("hunter2"), "{one}");
    // Whether a text is found would tell what stands in an event.
    assert_eq!(looker.get(&format!("{list}?text=hunter2"))["entries"], json!([]));
    assert_eq!(looker.get(&format!("{list}/export"))["events"], json!([]));
    assert_eq!(looker.get(&format!("{list}/counts"))["groups"][0]["event_name"], Value::Null);
    let seen = seer.get(&format!("{list}/entries/{id}"));
    assert_eq!(seen["original"]["event"]["userId"], "ann-hunter2", "{seen}");
    assert_eq!(seer.get(&format!("{list}?text=hunter2"))["entries"].as_array().unwrap().len(), 1);
    assert_eq!(elsewhere.ask("GET", list, &Value::Null).status, 404);
    let order = json!({"entries": {"source": "web"}});
    let retry = |caller: &ApiCaller, order: &Value| caller.ask("POST", "/api/v1/quarantine/retry", order).status;
    assert_eq!((retry(&looker, &order), retry(&seer, &order)), (403, 403));
    assert_eq!(retry(&seer, &json!({"entries": {"all": true}})), 403);
    assert_eq!(seer.ask("POST", "/api/v1/quarantine/purge", &order).status, 403);
    let edit = json!({"event": {"type": "track", "event": "Mended"}});
    assert_eq!(seer.ask("POST", &format!("{list}/entries/{id}/edit"), &edit).status, 403);
    assert_eq!(retry(&mender, &order), 200);
    let jobs = mender.get("/api/v1/quarantine/jobs");
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    assert_eq!(seer.get("/api/v1/quarantine/jobs")["jobs"], json!([]), "it is nobody else's");
    let noted = admin.get("/api/v1/audit?action=quarantine_retried&workspace=default");
    assert_eq!(noted["entries"].as_array().unwrap().len(), 1, "{noted}");
    server.stop();
}

#[test]
fn the_commands_show_try_retry_edit_and_remove() {
    let (workspace, server, admin) = served();
    let wrong = |id: &str| json!({"type": "track", "messageId": id, "userId": "ann"});
    assert_eq!(server.batch(&[wrong("w0"), wrong("w1")]).status, 200);
    drained(&workspace);
    let commands = ServerCommands::new(&server, &admin);
    let counted = commands.json(&["quarantine", "count", "--since", "1h"], 0);
    assert_eq!((&counted["total"], &counted["groups"][0]["code"]), (&json!(2), &json!("missing-event-name")));
    let shown = commands.json(&["quarantine", "show", "1"], 0);
    assert_eq!(shown["original"]["event"]["messageId"], "w0", "{shown}");
    let tried = commands.json(&["quarantine", "try", "--code", "missing-event-name"], 0);
    assert_eq!(tried["summary"], json!({"quarantined": 2}), "{tried}");
    let job = commands.json(&["quarantine", "retry", "--all"], 0);
    assert_eq!((&job["state"], &job["sent"]), (&json!("done"), &json!(2)), "{job}");
    until("they have failed again", || {
        let entries = admin.get("/api/v1/quarantine")["entries"].as_array().unwrap().clone();
        entries.len() == 2 && entries.iter().all(|entry| entry["attempts"] == 1)
    });
    let file = workspace.dir.path().join("mended.yaml");
    std::fs::write(&file, "type: track\nevent: Mended\n").unwrap();
    let job = commands.json(&["quarantine", "edit", "1", "--file", file.to_str().unwrap()], 0);
    assert_eq!(job["sent"], 1, "{job}");
    until("it has left", || workspace.status()["quarantine"]["events"] == 1);
    let refused = commands.run(&["quarantine", "retry"]);
    assert!(!refused.status.success() && text(&refused).contains("no condition"), "{}", text(&refused));
    let refused = commands.run(&["quarantine", "remove", "--all"]);
    assert!(!refused.status.success() && text(&refused).contains("say --yes"), "{}", text(&refused));
    let removed = commands.json(&["quarantine", "remove", "--all", "--yes"], 0);
    assert_eq!((&removed["matched"], &removed["purged"]), (&json!(1), &json!(1)), "{removed}");
    let listed = commands.run(&["quarantine", "list"]);
    assert!(text(&listed).contains("Nothing in quarantine"), "{}", text(&listed));
    drained(&workspace);
    server.stop();
    assert_eq!(workspace.warehouse().rows("SELECT id FROM mended"), ["w0"]);
}
