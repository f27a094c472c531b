//! Contracts in the shapes of Hightouch's API. Their command line is in no registry: what it asks and what it takes is told here as its
//! source has it (`GET {base}/events/domains?source=…&limit=100&offset=…`, `{data, hasMore}`), and so are its API's examples.

use serde_json::{Value, json};

use super::{ApiCaller, served};
use crate::support::{Server, Workspace};

const EVENT: &str = "type: track\nname: Order Completed\nonSchemaViolation: ALLOW_EVENT\nincludeBuiltInContext: true\nschema:\n  \
     type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        \
     price: {$ref: '#/definitions/components/price'}\n";

/// A server whose folder has a contract for its one source, and one that is for another.
fn with_contracts() -> (Workspace, Server, ApiCaller) {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\ndescription: what is sold\n");
    workspace.write("events/domains/shop/order-completed.yaml", EVENT);
    workspace.write("events/domains/shop/seen.yaml", "type: page\nversion: v2\nschema: {type: object}\n");
    workspace.write("events/domains/shop/components/price.yaml", "name: Price\nschema: {type: number}\n");
    let other = "name: Else\nonUndeclaredSchema: BLOCK_EVENT\nsources: [app]\n";
    workspace.write("events/domains/else/domain.yaml", other);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    (workspace, server, admin)
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.is_null() || value.as_str().is_some_and(|word| words.contains(&word))
}

/// What their command line says of a domain that it does not take; nothing of one that it does. Null is not what it takes for a field
/// that is left out.
fn complaints(domain: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    must(is_text(&domain["name"]) && is_text(&domain["id"]) && is_text(&domain["slug"]), "name, id, slug");
    must(domain["workspaceId"].is_u64(), "workspaceId");
    must(is_one_of(&domain["onUndeclaredSchema"], &["ALLOW_EVENT", "BLOCK_EVENT"]), "onUndeclaredSchema");
    must(is_text(&domain["createdAt"]) && is_text(&domain["updatedAt"]), "times");
    for event in domain["events"].as_array().unwrap() {
        let kinds = ["track", "identify", "page", "screen", "group", "alias"];
        must(event["type"].is_string() && is_one_of(&event["type"], &kinds), "events.type");
        must(is_one_of(&event["onSchemaViolation"], &["ALLOW_EVENT", "BLOCK_EVENT"]), "events.onSchemaViolation");
        let policies = ["ALLOW_EVENT", "BLOCK_EVENT", "OMIT_FIELDS"];
        must(is_one_of(&event["onUndeclaredFields"], &policies), "events.onUndeclaredFields");
        must(event["schema"].is_object() && is_text(&event["slug"]) && is_text(&event["version"]), "events");
        must(!event.as_object().unwrap().values().any(Value::is_null), "events: null");
    }
    for component in domain["components"].as_array().unwrap() {
        must(is_text(&component["name"]) && component["schema"].is_object(), "components");
        must(component["imports"].as_array().unwrap().iter().all(Value::is_string), "components.imports");
        must(!component.as_object().unwrap().values().any(Value::is_null), "components: null");
    }
    for source in domain["eventSources"].as_array().unwrap() {
        must(is_text(&source["id"]) && is_text(&source["name"]), "eventSources");
    }
    must(!domain.as_object().unwrap().values().any(Value::is_null), "null");
    wrong
}

#[test]
fn their_command_line_reads_the_domains_of_a_source_page_by_page() {
    let (_workspace, server, admin) = with_contracts();
    let page = admin.get("/api/v1/events/domains?source=web&limit=100&offset=0");
    assert_eq!((&page["hasMore"], page["data"].as_array().unwrap().len()), (&json!(false), 1), "{page}");
    let shop = &page["data"][0];
    assert_eq!(complaints(shop), [""; 0], "{shop}");
    assert_eq!((&shop["name"], &shop["slug"]), (&json!("Shop"), &json!("shop")));
    assert_eq!((&shop["description"], &shop["onUndeclaredSchema"]), (&json!("what is sold"), &json!("ALLOW_EVENT")));
    assert_eq!(shop["eventSources"][0]["name"], "web");
    let event = &shop["events"][0];
    assert_eq!((&event["slug"], &event["version"]), (&json!("order-completed"), &json!("default")));
    assert_eq!(
        (&event["onSchemaViolation"], &event["onUndeclaredFields"]),
        (&json!("ALLOW_EVENT"), &json!("OMIT_FIELDS"))
    );
    assert_eq!(shop["events"][1]["version"], "v2");
    assert_eq!((&shop["components"][0]["slug"], &shop["components"][0]["imports"]), (&json!("price"), &json!([])));
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let page = admin.get(&format!("/api/v1/events/domains?orderBy=name&limit=1&offset={offset}"));
        names.extend(page["data"].as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap().to_owned()));
        offset += 1;
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(names, ["Else", "Shop"]);
    assert_eq!(admin.get("/api/v1/events/domains?name=Else")["data"][0]["onUndeclaredSchema"], "BLOCK_EVENT");
    let contract = admin.get("/api/v1/events/contracts/shop");
    assert_eq!((&contract["components"], &contract["events"]), (&Value::Null, &shop["events"]));
    assert_eq!(admin.get(&format!("/api/v1/events/domains/{}", shop["id"].as_str().unwrap()))["slug"], "shop");
    assert_eq!(admin.ask("GET", "/api/v1/events/domains/nosuch", &Value::Null).code(), "404 no-such-object");
    let managed = admin.ask("PATCH", "/api/v1/events/domains/shop", &json!({"name": "Store"}));
    assert_eq!(managed.code(), "409 managed-by-file");
    server.stop();
}

fn track(name: &str) -> Value {
    json!({"type": "track", "name": name, "onUndeclaredFields": "BLOCK_EVENT", "schema": {
        "type": "object", "properties": {"properties": {"type": "object", "required": ["total"],
        "properties": {"total": {"$ref": "#/definitions/components/price"}}}}}})
}

#[test]
fn a_domain_is_made_and_changed_and_its_parts_are_replaced_as_a_whole() {
    let (_workspace, server, admin) = served();
    let price = json!({"name": "Price", "description": "in euros", "schema": {"type": "number"}});
    let new = json!({"name": "My Contract", "events": [track("Checked Out")], "components": [price]});
    let made = admin.ask("POST", "/api/v1/events/domains", &new);
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(complaints(&made), [""; 0], "{made}");
    assert_eq!((&made["slug"], &made["eventSources"]), (&json!("my-contract"), &json!([])));
    assert_eq!(made["events"][0]["slug"], "track-checked-out");
    // They are the objects that a folder's files would be.
    let spec = admin.get("/api/v1/objects/event")["objects"][0].clone();
    assert_eq!(
        (&spec["name"], &spec["spec"]["type"]),
        (&json!("domains/my-contract/track-checked-out.yaml"), &json!("track"))
    );
    let path = format!("/api/v1/events/domains/{}", made["id"].as_str().unwrap());
    let patch = |body: Value| admin.ask("PATCH", &path, &body);
    let (event, component) = (&made["events"][0], &made["components"][0]);
    // What an answer says is taken as a change.
    let same = patch(json!({"events": [event], "components": [component]}));
    assert_eq!((same.status, &same.json()["events"]), (200, &made["events"]), "{}", same.text());
    let renamed = json!({"id": component["id"], "name": "Total", "schema": {"type": "integer"}});
    let changed = patch(json!({"sources": ["web"], "components": [renamed], "events": [event, track("Returned")]}));
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!(changed["eventSources"][0]["name"], "web");
    assert_eq!(changed["events"].as_array().unwrap().len(), 2);
    let component = &changed["components"][0];
    assert_eq!((&component["slug"], &component["description"]), (&json!("price"), &json!("in euros")));
    let fewer = patch(json!({"events": [track("Returned")], "slug": "store", "description": "", "sources": ["*"]}));
    assert_eq!(fewer.status, 200, "{}", fewer.text());
    let fewer = fewer.json();
    assert_eq!((&fewer["slug"], fewer["events"].as_array().unwrap().len()), (&json!("store"), 1));
    assert_eq!((&fewer["id"], &fewer["description"]), (&made["id"], &Value::Null));
    let names: Vec<Value> = ["domain", "event", "component"]
        .map(|kind| admin.get(&format!("/api/v1/objects/{kind}"))["objects"][0]["name"].clone())
        .into();
    let expected =
        ["domains/store/domain.yaml", "domains/store/track-returned.yaml", "domains/store/components/price.yaml"];
    assert_eq!(names, expected);
    let contract = admin.ask("PATCH", "/api/v1/events/contracts/store", &json!({"onUndeclaredSchema": "BLOCK_EVENT"}));
    assert_eq!((contract.status, &contract.json()["onUndeclaredSchema"]), (200, &json!("BLOCK_EVENT")));
    server.stop();
}

#[test]
fn a_domain_that_cannot_judge_events_or_names_its_parts_wrongly_is_refused_and_nothing_is_made() {
    let (_workspace, server, admin) = served();
    let price = json!({"name": "Price", "schema": {"type": "number"}});
    let made = admin.ask("POST", "/api/v1/events/domains", &json!({"name": "Shop", "components": [price]}));
    assert_eq!(made.status, 200, "{}", made.text());
    let before = admin.get("/api/v1/events/domains");
    let id = made.json()["components"][0]["id"].clone();
    for (body, code, field) in [
        (json!({"events": [{"type": "track", "schema": {"type": "object"}}]}), "422 contract", None),
        (json!({"events": [track("A")], "components": []}), "422 contract", None),
        (json!({"events": [{"type": "track", "name": "A", "schema": {"type": "nosuch"}}]}), "422 contract", None),
        (json!({"events": [{"type": "track", "name": "A", "schema": 1}]}), "422 contract", Some("events[0].schema")),
        (json!({"events": [{"type": "buy", "name": "A", "schema": {}}]}), "400 body", Some("events[0].type")),
        (json!({"components": [{"id": "x", "name": "A", "schema": {}}]}), "422 contract", Some("components[0].id")),
        (
            json!({"components": [{"id": id, "slug": "else", "name": "A", "schema": {}}]}),
            "422 contract",
            Some("components[0].slug"),
        ),
        (json!({"slug": "a/b"}), "422 contract", Some("slug")),
        (json!({"eventSources": []}), "400 body", None),
    ] {
        let refused = admin.ask("PATCH", "/api/v1/events/domains/shop", &body);
        assert_eq!(refused.code(), code, "{body}: {}", refused.text());
        if let Some(field) = field {
            assert_eq!(refused.json()["field"], field, "{body}: {}", refused.text());
        }
        assert_eq!(admin.get("/api/v1/events/domains"), before, "{body}");
    }
    let taken = admin.ask("POST", "/api/v1/events/domains", &json!({"name": "Else", "slug": "shop"}));
    assert_eq!(taken.code(), "409 name-taken");
    let named = admin.ask("POST", "/api/v1/events/contracts", &json!({"name": "Shop"}));
    assert_eq!((named.status, &named.json()["slug"]), (200, &json!("shop-2")), "{}", named.text());
    server.stop();
}

#[test]
fn who_may_view_no_part_of_a_domain_reads_nothing_of_it_and_who_may_only_view_changes_nothing() {
    let (_workspace, server, admin) = served();
    let new = json!({"name": "Shop", "events": [{"type": "page", "schema": {"type": "object"}}]});
    assert_eq!(admin.ask("POST", "/api/v1/events/domains", &new).status, 200);
    let viewer = admin.user(&server, "vera", Some("viewer"));
    let nobody = admin.user(&server, "noa", None);
    assert_eq!(viewer.get("/api/v1/events/domains/shop")["events"].as_array().unwrap().len(), 1);
    assert_eq!(viewer.ask("PATCH", "/api/v1/events/domains/shop", &json!({"name": "X"})).code(), "403 forbidden");
    assert_eq!(viewer.ask("POST", "/api/v1/events/domains", &json!({"name": "X"})).code(), "403 forbidden");
    assert_eq!(nobody.get("/api/v1/events/domains")["data"], json!([]));
    for (method, body) in [("GET", Value::Null), ("PATCH", json!({"name": "X"}))] {
        assert_eq!(nobody.ask(method, "/api/v1/events/domains/shop", &body).code(), "404 no-such-object");
    }
    let denied = admin.get("/api/v1/audit?result=denied");
    let is_there = denied["entries"].as_array().unwrap().iter().any(|entry| entry["kind"] == "domain");
    assert!(is_there, "{denied}");
    admin.made("role", "domains", json!({"access": [{"level": "view", "on": {"kind": "domain"}}]}));
    let partly = admin.user(&server, "paul", Some("domains"));
    assert_eq!(partly.get("/api/v1/events/domains/shop")["events"], json!([]));
    server.stop();
}
