//! What stands in events is in no answer to whoever may not see them, and fields that stay masked are in none but an admin's.

use serde_json::{Value, json};

use super::ApiCaller;
use crate::reliability::drained;
use crate::support::waiting::within;
use crate::support::{Server, Workspace};

/// Stands in values, ids and names of events.
const CANARY: &str = "canary7d1f";
const SYNC: &str = "web-to-warehouse";
const QUERY: &str = "/api/v1/destinations/warehouse/query";

fn event(id: &str) -> Value {
    json!({"type": "track", "event": format!("{CANARY} bought"), "messageId": id, "userId": CANARY,
        "properties": {"card": {"number": format!("4111-{CANARY}"), "cvc": 123}, "plan": "pro-visible"},
        "context": {"traits": {"email": format!("{CANARY}@example.com")}}})
}

/// A server with an event that is delivered, and one in quarantine.
fn filled(more: &str) -> (Workspace, Server, ApiCaller) {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    workspace.append("tidegate.yaml", more);
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    let mut unfit = event("unfit");
    unfit["type"] = json!("nothing-of-the-kind");
    assert_eq!(server.batch(&[event("fit"), unfit]).status, 200);
    drained(&workspace);
    (workspace, server, admin)
}

/// Asks by a contract whether the card of an event has a number that begins so.
fn proposed() -> Value {
    let card = json!({"properties": {"number": {"type": "string", "pattern": "^4111"}}});
    let schema = json!({"type": "object", "properties": {"properties": {"properties": {"card": {"not": card}}}}});
    let event = json!({"type": "track", "name": format!("{CANARY} bought"), "schema": schema});
    json!({"proposed": [
        {"name": "domains/probe/domain.yaml", "spec": {"name": "Probe", "sources": ["web"]}},
        {"name": "domains/probe/bought.yaml", "spec": event},
    ]})
}

/// What a contract that is only proposed would do to events, as somebody is told.
fn outcomes(caller: &ApiCaller) -> Value {
    let reply = caller.ask("POST", "/api/v1/contract-traffic", &proposed());
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["sources"][0]["outcomes"].clone()
}

/// Every answer that may hold something of events, by what was asked.
fn answers(caller: &ApiCaller, entry: &Value) -> Vec<(String, String)> {
    let list = "/api/v1/quarantine";
    let mut asked: Vec<(&str, String, Value)> = [
        "/api/v1/trace?message_id=fit".to_owned(),
        "/api/v1/trace?message_id=unfit".to_owned(),
        list.to_owned(),
        format!("{list}/entries/{entry}"),
        format!("{list}/export"),
        format!("{list}/counts"),
        format!("{list}/jobs"),
        "/api/v1/running".to_owned(),
        "/api/v1/replays".to_owned(),
        "/api/v1/rebuilds".to_owned(),
        "/api/v1/audit".to_owned(),
        "/api/v1/conservation".to_owned(),
        "/api/v1/activity".to_owned(),
        "/api/v1/contract-traffic?infer=true".to_owned(),
        "/api/v1/contract-violations".to_owned(),
        "/api/v1/privacy/suppressed".to_owned(),
        "/admin/functions".to_owned(),
        "/admin/destinations".to_owned(),
    ]
    .map(|path| ("GET", path, Value::Null))
    .into();
    asked.push(("POST", format!("/api/v1/objects/sync/{SYNC}/test"), json!({})));
    asked.push(("POST", format!("{list}/try"), json!({"entries": {"all": true}})));
    asked.push(("POST", QUERY.to_owned(), json!({"sql": "SELECT * FROM tracks"})));
    asked.push(("POST", "/api/v1/contract-traffic".to_owned(), proposed()));
    let mut answers: Vec<(String, String)> = Vec::new();
    for (method, path, body) in asked {
        let reply = caller.ask(method, &path, &body);
        assert!(reply.status < 500, "{path}: {}", reply.text());
        answers.push((format!("{method} {path}"), reply.text()));
    }
    answers
}

fn entry_of(admin: &ApiCaller) -> Value {
    admin.get("/api/v1/quarantine")["entries"][0]["id"].clone()
}

fn replay(caller: &ApiCaller) -> Value {
    let order = json!({"sync": SYNC, "from": "beginning", "dry_run": true});
    let reply = caller.ask("POST", "/api/v1/replays", &order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let path = format!("/api/v1/replays/{}", reply.json()["id"]);
    within(crate::support::waiting::PATIENCE, "the replay is counted", || {
        let found = caller.get(&path);
        if found["state"] == "done" { Ok(found) } else { Err(found.to_string()) }
    })
}

fn no_condition_of_values_is_taken(caller: &ApiCaller) {
    for condition in [json!({"user": CANARY}), json!({"events": [format!("{CANARY} bought")]})] {
        let mut order = json!({"sync": SYNC, "from": "beginning", "dry_run": true});
        order.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
        assert_eq!(caller.ask("POST", "/api/v1/replays", &order).code(), "403 forbidden");
    }
}

#[test]
fn no_route_tells_what_stands_in_events_whoever_may_not_see_them() {
    let (_workspace, server, admin) = filled("");
    let entry = entry_of(&admin);
    let connect = json!([{"level": "connect"}]);
    admin.made("role", "tester", json!({"access": connect}));
    let tester = admin.user(&server, "noa", Some("tester"));
    let viewer = admin.user(&server, "vic", Some("viewer"));
    for (who, caller) in [("a viewer", &viewer), ("a tester", &tester)] {
        for (asked, answer) in answers(caller, &entry) {
            assert!(!answer.to_lowercase().contains(CANARY), "{who}, {asked}: {answer}");
            assert!(!answer.contains("pro-visible"), "{who}, {asked}: {answer}");
        }
        // Whether something is found would tell what stands in an event.
        let found = caller.get(&format!("/api/v1/trace?user={CANARY}"));
        assert_eq!(found["records"], json!([]), "{who}");
        let found = caller.get(&format!("/api/v1/quarantine?text={CANARY}"));
        assert_eq!(found["entries"], json!([]), "{who}");
        assert_eq!(outcomes(caller), json!({}), "{who}");
    }
    let replayed = replay(&tester);
    assert!(!replayed.to_string().contains(CANARY), "{replayed}");
    assert_eq!(replayed["report"]["names"]["***"]["events"], 1, "{replayed}");
    no_condition_of_values_is_taken(&tester);
    // Who may see them does.
    let seen = answers(&admin, &entry);
    assert!(seen.iter().filter(|(_, answer)| answer.contains(CANARY)).count() > 5, "{seen:?}");
    server.stop();
}

#[test]
fn fields_that_stay_masked_are_seen_by_admins_alone() {
    let (_workspace, server, admin) = filled("\nprivacy:\n  mask: [properties.card.*, traits.email, userId, event]\n");
    let entry = entry_of(&admin);
    admin.made("role", "seer", json!({"access": [{"level": "connect"}], "see_payloads": [{}]}));
    let seer = admin.user(&server, "ada", Some("seer"));
    let mut has_rest = 0;
    for (asked, answer) in answers(&seer, &entry) {
        assert!(!answer.to_lowercase().contains(CANARY), "{asked}: {answer}");
        has_rest += usize::from(answer.contains("pro-visible"));
    }
    assert!(has_rest >= 4, "what is not masked is seen: {has_rest}");
    let shown = seer.get(&format!("/api/v1/quarantine/entries/{entry}"));
    assert_eq!((&shown["masked"], &shown["event"]["properties"]["card"]["cvc"]), (&json!(false), &json!(0)), "{shown}");
    assert_eq!(seer.get(&format!("/api/v1/trace?user={CANARY}"))["records"], json!([]));
    assert_eq!(seer.get(&format!("/api/v1/quarantine?text={CANARY}"))["entries"], json!([]));
    let replayed = replay(&seer);
    assert!(!replayed.to_string().contains(CANARY), "{replayed}");
    assert_eq!(replayed["report"]["names"]["***"]["events"], 1, "{replayed}");
    no_condition_of_values_is_taken(&seer);
    assert_eq!(outcomes(&seer), json!({}));
    assert_ne!(outcomes(&admin), json!({}));
    assert_eq!(seer.ask("POST", QUERY, &json!({"sql": "SELECT 1"})).code(), "403 forbidden");
    assert_eq!(admin.ask("POST", QUERY, &json!({"sql": "SELECT count(*) FROM tracks"})).status, 200);
    let shown = admin.get(&format!("/api/v1/quarantine/entries/{entry}"));
    assert_eq!(shown["event"]["properties"]["card"]["cvc"], 123, "{shown}");
    server.stop();
}
