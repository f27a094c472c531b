//! Who may see what has become of an event, and who may listen.

use serde_json::{Value, json};

use super::served;
use crate::reliability::drained;

#[test]
fn who_may_not_see_events_is_told_their_fates_without_their_values() {
    let (workspace, server, admin) = served();
    let event = json!({"type": "track", "event": "Paid", "messageId": "traced", "userId": "ann-hunter2",
        "properties": {"plan": "hunter2"}});
    assert_eq!(server.batch(&[event]).status, 200);
    drained(&workspace);
    let on = |kind: &str| json!({"level": "view", "on": {"kind": kind}});
    admin.made("role", "looker", json!({"access": [on("source"), on("sync")]}));
    admin.made("role", "half", json!({"access": [on("source")], "see_payloads": [{}]}));
    let on_all = [on("source"), on("sync"), on("destination")];
    admin.made("role", "seer", json!({"access": on_all, "see_payloads": [{}]}));
    let on_sources = json!([{"kind": "source"}]);
    admin.made("role", "of-source", json!({"access": [on("source"), on("sync")], "see_payloads": on_sources}));
    let looker = admin.user(&server, "noa", Some("looker"));
    let half = admin.user(&server, "hal", Some("half"));
    let seer = admin.user(&server, "ada", Some("seer"));
    let of_source = admin.user(&server, "sid", Some("of-source"));
    let elsewhere = admin.user(&server, "far", None);
    let by_id = "/api/v1/trace?message_id=traced";
    let masked = looker.get(by_id);
    assert_eq!((&masked["masked"], &masked["records"][0]["masked"]), (&json!(true), &json!(true)));
    assert_eq!(masked["records"][0]["syncs"][0]["fate"], "delivered", "{masked}");
    assert!(!masked.to_string().contains("hunter2"), "{masked}");
    // Whether something is found would tell what stands in an event.
    assert_eq!(looker.get("/api/v1/trace?user=ann-hunter2")["records"], json!([]));
    assert_eq!(looker.get("/api/v1/trace?event=Paid")["records"], json!([]));
    let without_syncs = half.get(by_id);
    assert_eq!(without_syncs["records"][0]["original"]["userId"], "ann-hunter2", "{without_syncs}");
    // Whoever may view its source may know of a sync, and not what it made of an event.
    let of_sync = &without_syncs["records"][0]["syncs"][0];
    assert_eq!((&of_sync["fate"], &of_sync["masked"]), (&json!("delivered"), &json!(true)), "{without_syncs}");
    assert!(!of_sync.to_string().contains("hunter2"), "{of_sync}");
    // Of what goes on to a sync nothing is said by the rights on its source alone: no statement, no note.
    let found = of_source.get(by_id);
    let record = &found["records"][0];
    assert_eq!((&record["original"]["userId"], &record["masked"]), (&json!("ann-hunter2"), &json!(false)));
    let of_sync = &record["syncs"][0];
    assert_eq!((&of_sync["masked"], &of_sync["sql"], &of_sync["notes"]), (&json!(true), &json!([]), &json!([])));
    assert!(!of_sync.to_string().contains("hunter2"), "{of_sync}");
    let seen = seer.get("/api/v1/trace?user=ann-hunter2&event=Paid");
    assert_eq!(seen["records"][0]["syncs"][0]["found"][0]["table"], "tracks", "{seen}");
    assert_eq!(elsewhere.ask("GET", by_id, &Value::Null).status, 404);
    assert_eq!(elsewhere.ask("GET", "/api/v1/tap", &Value::Null).status, 404);
    let noted = admin.get("/api/v1/audit?action=events_traced&workspace=default");
    assert!(!noted["entries"].as_array().unwrap().is_empty(), "{noted}");
    server.stop();
}
