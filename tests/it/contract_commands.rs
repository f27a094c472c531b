//! `tidegate contract`: inferred from traffic, compared, tested, watched for drift, imported from other products.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, Workspace, run};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn json_of(words: &[&str]) -> Value {
    let output = run(&[words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words:?}: {}", said(&output)))
}

/// The traffic of the quickstart, and orders that are shipped at a time.
fn send_traffic(server: &Server) {
    let sent = run(&[
        "send",
        "--generate",
        "1000",
        "--run",
        "quick",
        "--to",
        &server.url(),
        "--write-key",
        &server.key,
        "--json",
    ]);
    assert!(sent.status.success(), "{}", said(&sent));
    let shipped: Vec<Value> =
        (1..=20).map(|n| shipped(&format!("ship-{n}"), &format!("2026-11-{n:02}T10:00:00Z"))).collect();
    assert_eq!(server.batch(&shipped).status, 200);
}

fn track(id: &str, name: &str, properties: Value) -> Value {
    json!({"type": "track", "event": name, "messageId": id, "userId": "u", "properties": properties})
}

fn shipped(id: &str, at: &str) -> Value {
    track(id, "Order Shipped", json!({"order_id": "o-1", "shipped_at": at}))
}

fn viewed(id: &str, change: Value) -> Value {
    let properties =
        json!({"product_id": "p-1", "name": "Harbour mug", "category": "kitchen", "price": 14.5, "position": 3});
    changed(track(id, "Product Viewed", properties), change)
}

fn completed(id: &str, change: Value) -> Value {
    let product = json!({"product_id": "p-1", "name": "Harbour mug", "price": 14.5, "quantity": 1});
    let properties = json!({
        "order_id": "o-1", "revenue": 14.5, "currency": "EUR", "coupon": null, "email": "user1@example.org",
        "products": [product],
    });
    changed(track(id, "Order Completed", properties), change)
}

fn changed(mut event: Value, change: Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        event["properties"][name] = value.clone();
    }
    event
}

#[test]
fn what_is_inferred_takes_the_quickstarts_traffic_and_catches_ten_planted_errors() {
    let (first, second) = (Workspace::new(), Workspace::new());
    let server = first.serve();
    send_traffic(&server);
    // The log is read while the server has it open.
    let domain = second.path().join("events/domains/web");
    let inferred = run(&[
        "contract",
        "infer",
        text(&first.path()),
        "--source",
        "web",
        "--policy",
        "block",
        "--out",
        text(&domain),
    ]);
    assert!(inferred.status.success(), "{}", said(&inferred));
    server.stop();
    let viewed_file = std::fs::read_to_string(domain.join("product-viewed.yaml")).unwrap();
    assert!(viewed_file.contains("enum: ["), "{viewed_file}");
    for file in ["product-viewed.yaml", "order-completed.yaml", "identify.yaml"] {
        let file = std::fs::read_to_string(domain.join(file)).unwrap();
        assert!(!file.contains("example.org") && !file.contains("Harbour mug"), "a personal value: {file}");
    }
    let checked = run(&["check", text(&second.path())]);
    assert!(checked.status.success(), "{}", said(&checked));

    let server = second.serve();
    send_traffic(&server);
    let mut missing = viewed("missing", json!({}));
    missing["properties"].as_object_mut().unwrap().remove("price");
    let planted = [
        completed("bad-format", json!({"email": "nobody"})),
        viewed("extra-nesting", json!({"price": {"amount": 14.5}})),
        completed("item-type", json!({"products": ["p-1"]})),
        missing,
        viewed("null", json!({"name": null})),
        viewed("number-as-text", json!({"price": "14.50"})),
        track("unknown-event", "Product Vieved", json!({})),
        viewed("unknown-value", json!({"category": "hats"})),
        shipped("wrong-date", "2026-13-45T10:00:00Z"),
        viewed("wrong-type", json!({"position": true})),
    ];
    assert_eq!(server.batch(&planted).status, 200);
    assert_eq!(server.batch(&[viewed("fine-1", json!({})), completed("fine-2", json!({}))]).status, 200);
    server.stop();
    let ids: Vec<&str> = planted.iter().map(|event| event["messageId"].as_str().unwrap()).collect();
    assert_eq!(second.warehouse().rows("SELECT id FROM event_violations ORDER BY id"), ids);
    let mut codes = second.quarantined();
    codes.sort();
    assert_eq!(codes, [&["schema-violation"; 9][..], &["undeclared-event"]].concat());
    assert_eq!(second.status()["sources"]["web"]["accepted"], 1_032);
}

#[test]
fn an_inferred_contract_blocks_nothing_unless_told_to_and_is_the_same_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.jsonl");
    let lines: Vec<String> = (1..=20).map(|n| shipped(&format!("s{n}"), "2026-11-30T10:00:00Z").to_string()).collect();
    std::fs::write(&file, lines.join("\n") + "\nno event\n").unwrap();
    let words = ["contract", "infer", "--source", "web", "--from", text(&file)];
    let printed = run(&words);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed.contains("# events/domains/web/domain.yaml\nname: web\nonUndeclaredSchema: ALLOW_EVENT"),
        "{printed}"
    );
    assert!(printed.contains("onSchemaViolation: ALLOW_EVENT") && printed.contains("format: date-time"), "{printed}");
    let shown = json_of(&words);
    assert_eq!((&shown["read"], &shown["unreadable"]), (&json!(20), &json!(1)));
    assert_eq!(shown["events"][0]["schema"]["required"], json!(["properties"]));
    let none = run(&["contract", "infer", "--source", "web", "--from", "/dev/null"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(said(&none).contains("there are no events"), "{}", said(&none));
}

/// A domain with one event whose price has this type.
fn priced(workspace: &Workspace, kind: &str) {
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\n");
    let rule = format!(
        "type: track\nname: Sold\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        price: {{ type: {kind} }}\n"
    );
    workspace.write("events/domains/shop/sold.yaml", &rule);
}

#[test]
fn a_diff_counts_what_a_change_newly_blocks_without_showing_values() {
    let (old, new) = (Workspace::new(), Workspace::new());
    priced(&old, "string");
    priced(&new, "number");
    let server = old.serve();
    let batch = [
        track("text", "Sold", json!({"price": "s3cret"})),
        track("number", "Sold", json!({"price": 1})),
        track("other", "Bought", json!({})),
    ];
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    let (old_path, new_path) = (old.path(), new.path());
    let words = ["contract", "diff", text(&old_path), text(&new_path), "--workspace", text(&old_path)];
    let output = run(&words);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let shown = said(&output);
    assert!(shown.contains("becomes \"number\"") && shown.contains("1 newly blocked"), "{shown}");
    assert!(shown.contains("1 newly let through") && shown.contains("such as text"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let with_values = run(&[&words[..], &["--values"]].concat());
    assert!(said(&with_values).contains("s3cret"), "{}", said(&with_values));
    let json = run(&[&words[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["totals"]["newly-blocked"], 1);
    assert_eq!(json["differences"][0]["samples"], json!(["text"]));
    // Of two workspaces the one with events is read, as what is tried out is often a copy without any.
    for folders in [[&old_path, &new_path], [&new_path, &old_path]] {
        let found = run(&["contract", "diff", text(folders[0]), text(folders[1])]);
        assert!(!said(&found).contains("no recorded events"), "{}", said(&found));
    }
    // The other way round nothing is blocked that was not; alone the files are compared.
    let same = run(&["contract", "diff", text(&old_path), text(&old_path), "--workspace", text(&old_path)]);
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
    let events = new_path.join("events");
    let (old_events, words) = (old_path.join("events"), ["contract", "diff"]);
    let words = [&words[..], &[text(&old_events), text(&events)]].concat();
    let alone = run(&words);
    assert_eq!(alone.status.code(), Some(2), "{}", said(&alone));
    assert!(said(&alone).contains("no recorded events were looked at"), "{}", said(&alone));
    assert!(said(&alone).contains("differences in the files"), "{}", said(&alone));
    let asked = run(&[&words[..], &["--files-only"]].concat());
    assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
    assert!(said(&asked).contains("differences in the files"), "{}", said(&asked));
}

#[test]
fn cases_beside_contracts_are_run_and_those_that_fail_are_shown() {
    let workspace = Workspace::new();
    priced(&workspace, "number");
    let case = |name: &str, price: Value, expect: Value| json!({"name": name, "event": track("m", "Sold", json!({"price": price})), "expect": expect});
    let blocked = json!({"action": "block", "violations": ["/properties/price: "]});
    let cases =
        json!([case("a number", json!(1), json!({"action": "allow"})), case("a text", json!("1"), blocked.clone()),]);
    workspace.write("events/tests/web/sold.json", &cases.to_string());
    let path = workspace.path();
    let output = run(&["contract", "test", text(&path)]);
    assert!(output.status.success() && said(&output).contains("2 cases, 0 failed"), "{}", said(&output));
    workspace.write("events/tests/web/wrong.json", &case("wrong", json!(1), blocked).to_string());
    let output = run(&["contract", "test", text(&path)]);
    assert_eq!(output.status.code(), Some(1));
    for part in ["FAILED web/wrong.json: wrong", "action: expected block, found allow", "expected and not found: /prop"]
    {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    // They are no contracts, and no problem of the workspace.
    let checked = run(&["check", text(&path)]);
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn drift_names_the_field_the_share_and_the_version() {
    let workspace = Workspace::new();
    priced(&workspace, "number");
    let server = workspace.serve();
    let from = |id: usize, version: &str, price: Value| {
        let mut event = track(&format!("m{id}"), "Sold", json!({ "price": price }));
        event["context"] = json!({"os": {"name": "iOS"}, "app": {"version": version}});
        event
    };
    let mut batch: Vec<Value> = (0..9).map(|id| from(id, "4.1", json!(1))).collect();
    batch.push(from(9, "4.2", json!("1")));
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    let path = workspace.path();
    let shown = json_of(&["contract", "drift", text(&path)]);
    assert_eq!(shown["drift"][0]["sentence"], "`price` is a text since iOS 4.2, 10.0 % of events", "{shown}");
    assert_eq!(shown["drift"].as_array().unwrap().len(), 1);
    let said = said(&run(&["contract", "drift", text(&path)]));
    assert!(said.contains("track \"Sold\"") && said.contains("since iOS 4.2"), "{said}");
}

#[test]
fn a_source_without_events_is_no_answer() {
    let workspace = Workspace::new();
    priced(&workspace, "number");
    let server = workspace.serve();
    assert_eq!(server.batch(&[track("m", "Sold", json!({"price": 1}))]).status, 200);
    server.stop();
    let path = workspace.path();
    let file = workspace.path().join("list.json");
    std::fs::write(&file, "[\n{}\n]\n").unwrap();
    let diff = ["contract", "diff", text(&path), text(&path)];
    for words in [
        [&["contract", "drift", text(&path)][..], &["--source", "wbe"]].concat(),
        [&diff[..], &["--source", "wbe"]].concat(),
        [&diff[..], &["--source", "web", "--from", text(&file)]].concat(),
    ] {
        let output = run(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
        assert!(said(&output).contains("there are no events of the source"), "{words:?}: {}", said(&output));
    }
    assert_eq!(run(&diff).status.code(), Some(0));
}

#[test]
fn where_nothing_was_recorded_nothing_is_said_to_be_fine() {
    let workspace = Workspace::new();
    priced(&workspace, "number");
    let path = workspace.path();
    let diff = ["contract", "diff", text(&path), text(&path)];
    let commands = [
        [&diff[..], &[]].concat(),
        [&diff[..], &["--workspace", text(&path)]].concat(),
        vec!["contract", "infer", text(&path)],
        vec!["contract", "drift", text(&path)],
        vec!["contract", "test", text(&path)],
    ];
    // Without a data directory, and with one that nothing was ever written to.
    for is_started in [false, true] {
        if is_started {
            workspace.serve().stop();
        }
        for words in &commands {
            let output = run(words);
            assert_eq!(output.status.code(), Some(2), "{words:?}: {}", said(&output));
            assert!(said(&output).contains("error: "), "{words:?}: {}", said(&output));
        }
    }
}

/// Imports a plan into a workspace that is right afterwards; what is lost, a line each.
#[track_caller]
fn imported(kind: &str, file: &str) -> (Workspace, Vec<String>) {
    let workspace = Workspace::new();
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/plans").join(file);
    let out = workspace.path().join("events/domains/plan");
    let shown = json_of(&["contract", "import", kind, text(&plan), "--out", text(&out), "--source", "web"]);
    let losses = shown["losses"].as_array().unwrap().iter();
    let losses =
        losses.map(|loss| format!("{}: {}", loss["pointer"].as_str().unwrap(), loss["lost"].as_str().unwrap()));
    let losses = losses.collect();
    let checked = run(&["check", text(&workspace.path())]);
    assert!(checked.status.success(), "{}", said(&checked));
    (workspace, losses)
}

#[track_caller]
fn lost(losses: &[String], parts: &[&str]) {
    for part in parts {
        assert!(losses.iter().any(|loss| loss.contains(part)), "{part}: {losses:#?}");
    }
    assert_eq!(losses.len(), parts.len(), "{losses:#?}");
}

/// What the contract of a workspace says of events, by their ids: those that it finds something in.
fn found_in(workspace: &Workspace, events: &[Value]) -> Vec<String> {
    let server = workspace.serve();
    assert_eq!(server.batch(events).status, 200);
    server.stop();
    workspace.warehouse().rows("SELECT id FROM event_violations ORDER BY id")
}

#[test]
fn a_tracking_plan_of_segment_becomes_contracts() {
    let (workspace, losses) = imported("segment", "segment.json");
    lost(
        &losses,
        &[
            "/data/pagination/next: ",
            "/data/rules/0/jsonSchema/labels: ",
            "order_id/pattern: the pattern",
            "/data/rules/1/deprecatedAt: ",
            "/data/rules/1/jsonSchema: an older version",
        ],
    );
    let order = |id: &str, currency: &str, agent: Value| {
        let mut event = track(id, "Order Completed", json!({"order_id": "1", "revenue": null, "currency": currency}));
        event["context"] = json!({"userAgent": agent});
        event
    };
    let events =
        [order("fine", "EUR", json!("x")), order("of-every-event", "EUR", json!(1)), order("value", "GBP", json!("x"))];
    assert_eq!(found_in(&workspace, &events), ["of-every-event", "value"]);
}

#[test]
fn a_tracking_plan_of_rudderstack_becomes_contracts() {
    let (workspace, losses) = imported("rudderstack", "rudderstack.json");
    lost(&losses, &["/events/0/categoryId: ", "note/type: the type \"any\"", "/events/2/eventType: "]);
    let seen = |id: &str, properties: Value| track(id, "Product Viewed", properties);
    let events = [
        seen("fine", json!({"product_id": "p", "price": null, "note": {"a": 1}})),
        seen("long", json!({"product_id": "p", "size": "enormous"})),
        seen("missing", json!({"price": 1})),
        json!({"type": "identify", "userId": "u", "messageId": "plan", "context": {"traits": {"plan": 1}}}),
    ];
    assert_eq!(found_in(&workspace, &events), ["long", "missing", "plan"]);
}

#[test]
fn an_export_of_avo_becomes_contracts() {
    let (workspace, losses) = imported("avo", "avo.json");
    lost(&losses, &["/events/0/sources: ", "/events/1/actions: ", "/events/1/rules/properties/userProperties: "]);
    let page = |id: &str, properties: Value| json!({"type": "page", "name": "page_viewed", "messageId": id, "userId": "u", "properties": properties});
    let events = [
        page("fine", json!({"Page Path": "/", "Scroll": 100})),
        page("far", json!({"Page Path": "/", "Scroll": 101})),
        track("method", "signed_up", json!({"Method": "carrier pigeon"})),
        track("sso", "signed_up", json!({"Method": "sso"})),
    ];
    assert_eq!(found_in(&workspace, &events), ["far", "method"]);
}

#[test]
fn schemas_of_any_draft_become_contracts() {
    let (workspace, losses) = imported("json-schema", "json-schema");
    lost(
        &losses,
        &[
            "/properties/owner/$ref: ",
            "/unevaluatedProperties: ",
            "/$defs/cart/properties/id/format: the format \"uuid\"",
        ],
    );
    let cart = |id: &str, properties: Value| track(id, "cart_viewed", properties);
    let events = [
        cart("fine", json!({"cart": {"id": "1", "parent": "EUR"}, "currency": null, "total": 1, "owner": 1})),
        cart("dependency", json!({"cart": {}, "total": 1})),
        cart("parent", json!({"cart": {"parent": "USD"}})),
        cart("zero", json!({"cart": {}, "currency": "EUR", "total": 0})),
        track("method", "Signed In", json!({})),
    ];
    assert_eq!(found_in(&workspace, &events), ["dependency", "method", "parent", "zero"]);
}

#[test]
fn self_describing_schemas_of_iglu_become_contracts_with_versions() {
    let (workspace, losses) = imported("iglu", "iglu");
    lost(
        &losses,
        &[
            "/self: the vendor \"com.acme\"",
            "/self: the vendor \"com.acme\"",
            "/$supersedes: ",
            ": an older version: it is for events that say \"1-0-0\"",
        ],
    );
    let added = |id: &str, version: Value| {
        let mut event = track(id, "add_to_basket", json!({"sku": "s", "unit_price": 1.5}));
        event["context"] = json!({"htevents": {"schemaVersion": version}});
        event
    };
    let events = [added("newest", json!(null)), added("older", json!("1-0-0"))];
    assert_eq!(found_in(&workspace, &events), ["older"]);
}

#[test]
fn what_is_no_plan_is_refused_with_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.json");
    std::fs::write(&file, "{}").unwrap();
    let output = run(&["contract", "import", "segment", text(&file)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("there are no `rules` here"), "{}", said(&output));
    let output = run(&["contract", "import", "tealium", text(&file)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("say one of segment"), "{}", said(&output));
}
