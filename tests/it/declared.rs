//! What a contract declares, and what a sample of events would make, in tables: before and after events come.

use serde_json::{Value, json};

use crate::support::{Workspace, guests, run};

fn shop() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\n");
    workspace.write(
        "events/domains/shop/order-completed.yaml",
        "type: track\nname: Order Completed\nonSchemaViolation: ALLOW_EVENT\nonUndeclaredFields: ALLOW_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        total: { type: number }\n        zip: { type: [string, \"null\"] }\n        gift: { type: boolean }\n        placedAt: { type: string, format: date-time }\n        address: { $ref: \"#/definitions/address\" }\n  definitions:\n    address: { type: object, properties: { floor: { type: integer } } }\n",
    );
    workspace
}

fn plan(workspace: &Workspace, more: &[&str]) -> Value {
    let path = workspace.path();
    let output = run(&[&["warehouse", "plan", path.to_str().unwrap(), "--json"], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn declared_types_are_columns_and_what_does_not_fit_is_in_the_overflow() {
    let workspace = shop();
    let server = workspace.serve();
    let track = |id: &str, properties: Value| json!({"type": "track", "event": "Order Completed", "messageId": id, "properties": properties});
    let reply = server.batch(&[
        track("a", json!({"total": 5, "zip": "00501", "address": {"floor": 3}, "free": 1, "placedAt": "soon"})),
        track(
            "b",
            json!({"total": "five", "zip": 501, "address": {"floor": 3.5}, "placedAt": "2024-05-06T07:08:09.123Z"}),
        ),
    ]);
    assert_eq!(reply.status, 200);
    server.stop();
    let warehouse = workspace.warehouse();
    let columns = warehouse.rows(
        "SELECT name, type FROM pragma_table_info('order_completed') WHERE name IN ('total', 'zip', 'gift', 'placed_at', 'address_floor', 'free') ORDER BY 1",
    );
    let expected = [
        "address_floor|INTEGER",
        "free|INTEGER",
        "gift|BOOLEAN",
        "placed_at|TIMESTAMP TEXT",
        "total|DECIMAL",
        "zip|TEXT",
    ];
    assert_eq!(columns, expected);
    let rows = warehouse.rows("SELECT id, total, zip, address_floor, _overflow FROM order_completed ORDER BY id");
    assert_eq!(
        rows,
        [
            "a|5|00501|3|{\"properties\":{\"placedAt\":\"soon\"}}",
            "b||501||{\"properties\":{\"address\":{\"floor\":3.5},\"total\":\"five\"}}",
        ]
    );
    let notice = workspace.status()["syncs"]["web-to-warehouse"]["notices"].to_string();
    assert!(notice.contains("of table order_completed is declared"), "{notice}");
}

#[test]
fn a_plan_shows_statements_that_make_what_events_then_need() {
    let workspace = shop();
    let declared = plan(&workspace, &[]);
    let steps = declared[0]["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["table"], &steps[0]["creates"]), (1, &json!("order_completed"), &json!(true)));
    let create = steps[0]["statements"][0].as_str().unwrap();
    for column in ["\"id\" TEXT PRIMARY KEY", "\"total\" DECIMAL", "\"gift\" BOOLEAN", "\"address_floor\" INTEGER"] {
        assert!(create.contains(column), "{column} in {create}");
    }
    assert!(!workspace.data().join("warehouse.db").exists(), "a plan makes nothing");

    let events = [
        json!({"type": "track", "event": "Order Completed", "messageId": "a", "userId": "u", "properties": {"total": 1, "late": true}}),
        json!({"type": "identify", "userId": "u", "messageId": "b", "traits": {"plan": "pro"}}),
    ];
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    workspace.write("sample.jsonl", &lines);
    let sample = workspace.path().join("sample.jsonl");
    let sample = ["--events", sample.to_str().unwrap()];
    let planned = plan(&workspace, &sample);
    let tables: Vec<&str> =
        planned[0]["steps"].as_array().unwrap().iter().map(|step| step["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["order_completed", "tracks", "identifies"], "what is undeclared and allowed makes no row");

    let server = workspace.serve();
    assert_eq!(server.batch(&events).status, 200);
    server.stop();
    assert_eq!(plan(&workspace, &sample)[0]["steps"], json!([]), "the events made what was planned");
    let anew = plan(&workspace, &[&sample[..], &["--from-nothing"]].concat());
    assert_eq!(anew[0]["steps"].as_array().unwrap().len(), 3);

    let widened = json!({"type": "track", "event": "Order Completed", "messageId": "c", "properties": {"late": "x"}});
    workspace.write("sample.jsonl", &format!("[{widened}]"));
    let step = &plan(&workspace, &sample)[0]["steps"][0];
    assert_eq!((&step["columns_widened"], &step["columns_added"]), (&json!(1), &json!(0)), "{step}");
}

#[test]
fn ids_of_a_sample_are_text_or_none_as_in_the_tables() {
    let workspace = Workspace::new();
    let page = |id: &str, user: Value| json!({"type": "page", "messageId": id, "userId": user, "anonymousId": 7, "context": {"traits": []}, "properties": []});
    let events = [page("a", json!("")), page("b", json!(12345678901234567890_u64)), page("c", json!("u"))];
    workspace.write("sample.jsonl", &Value::from(events.to_vec()).to_string());
    let sample = workspace.path().join("sample.jsonl");
    let sample = ["--events", sample.to_str().unwrap()];
    let planned = plan(&workspace, &sample);
    let create = planned[0]["steps"][0]["statements"][0].as_str().unwrap();
    assert!(create.contains("\"user_id\" TEXT") && create.contains("\"anonymous_id\" TEXT"), "{create}");

    let server = workspace.serve();
    assert_eq!(server.batch(&events).status, 200);
    server.stop();
    assert_eq!(plan(&workspace, &sample)[0]["steps"], json!([]), "the events made what was planned");
    let rows = workspace.warehouse().rows("SELECT id, user_id, anonymous_id FROM pages ORDER BY id");
    assert_eq!(rows, ["a||7", "b|12345678901234567890|7", "c|u|7"]);
}

#[test]
fn a_sample_goes_through_contract_functions_filter_and_mapping_as_sent_events_do() {
    let workspace = shop();
    workspace.write(
        "events/domains/shop/cart.yaml",
        "type: track\nname: Cart Viewed\nonSchemaViolation: BLOCK_EVENT\nschema:\n  type: object\n  properties:\n    properties: { type: object, required: [total] }\n",
    );
    let component = guests::component("transform/rename");
    let settings = "lookups: {renames: none}\nsettings: {fields: {/properties/sku: /properties/product_id}}\n";
    workspace.write("functions/rename.yaml", &format!("component: {}\n{settings}", component.display()));
    workspace.append("sources/web.yaml", "\nfunctions: [rename]\n");
    let sync = "filter: {types: [track]}\nmapping: {rename: {/properties/colour: /properties/color}, remove: [/properties/secret]}\n";
    workspace.append("syncs/web-to-warehouse.yaml", &format!("\n{sync}"));
    let track = |event: &str, id: &str, properties: Value| json!({"type": "track", "event": event, "messageId": id, "userId": "u", "properties": properties});
    let events = [
        track("Seen", "a", json!({"sku": "x", "colour": "red", "secret": 1})),
        track("Seen", "a", json!({"twice": 1})),
        track("Cart Viewed", "b", json!({})),
        json!({"type": "identify", "userId": "u", "messageId": "c"}),
        json!({"type": "order", "messageId": "d"}),
    ];
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    workspace.write("sample.jsonl", &lines);
    let sample = workspace.path().join("sample.jsonl");
    let sample = ["--events", sample.to_str().unwrap()];
    let planned = plan(&workspace, &sample);
    let steps = planned[0]["steps"].as_array().unwrap();
    let of = |table: &str| {
        steps.iter().find(|step| step["table"] == table).unwrap_or_else(|| panic!("{table} in {planned}"))
    };
    let seen = of("seen")["statements"][0].as_str().unwrap();
    assert!(seen.contains("\"product_id\"") && seen.contains("\"color\""), "{seen}");
    assert!(!["sku", "colour", "secret", "twice"].iter().any(|column| seen.contains(column)), "{seen}");
    assert!(!steps.iter().any(|step| ["cart_viewed", "identifies"].contains(&step["table"].as_str().unwrap())));
    of("event_violations");
    assert!(seen.contains("\"context_ip\""), "the server adds the address: {seen}");
    let left_out = json!({
        "quarantined, unknown-type: the type \"order\" is none of the six kinds": 1,
        "a duplicate, by its messageId": 1, "quarantined, schema-violation": 1, "the sync's filter leaves it out": 1,
    });
    assert_eq!(planned[0]["left_out"], left_out);
    assert!(!workspace.data().join("store").exists(), "a plan makes nothing");

    let server = workspace.serve();
    assert_eq!(server.batch(&events).status, 200);
    server.stop();
    let planned = plan(&workspace, &sample);
    let left = planned[0]["steps"].as_array().unwrap();
    let left: Vec<&str> = left.iter().map(|step| step["table"].as_str().unwrap()).collect();
    assert_eq!(
        left,
        ["order_completed"],
        "the events made what was planned; what is only declared waits for its first"
    );
}

#[test]
fn a_plan_names_the_schema_of_each_table_and_makes_it() {
    let workspace = shop();
    let sync = "source: web\ndestination: warehouse\nschema: shop\n";
    for (kind, schema, create) in [
        (
            "kind: postgres\nhost: db.invalid\nuser: u\ndbname: d\n",
            "CREATE SCHEMA \"shop\"",
            "CREATE TABLE \"shop\".\"order_completed\" (",
        ),
        (
            "kind: clickhouse\nurl: http://db.invalid:8123\n",
            "CREATE DATABASE `shop`",
            "CREATE TABLE IF NOT EXISTS `shop`.`order_completed` (",
        ),
    ] {
        workspace.write("destinations/warehouse.yaml", kind);
        workspace.write("syncs/web-to-warehouse.yaml", sync);
        let planned = plan(&workspace, &["--from-nothing"]);
        assert_eq!(planned[0]["schema"], schema);
        let statement = planned[0]["steps"][0]["statements"][0].as_str().unwrap();
        assert!(statement.starts_with(create), "{statement}");
        let path = workspace.path();
        let text = run(&["warehouse", "plan", path.to_str().unwrap(), "--from-nothing"]);
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.find(&format!("{schema};")) < text.find(create), "{text}");
    }
    workspace.write("destinations/warehouse.yaml", "kind: sqlite\n");
    let planned = plan(&workspace, &["--from-nothing"]);
    assert_eq!(
        (&planned[0]["schema"], &planned[0]["steps"][0]["table"]),
        (&Value::Null, &json!("shop__order_completed"))
    );
}

#[test]
fn a_plan_that_cannot_be_made_says_why() {
    let workspace = shop();
    let path = workspace.path();
    let refused = |arguments: &[&str]| {
        let output = run(&[&["warehouse", "plan", path.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--sync", "nope"]).contains("there are web-to-warehouse"));
    assert!(refused(&["--events", "nowhere.jsonl"]).contains("nowhere.jsonl"));
    workspace.write("sample.jsonl", "{\"type\": \"track\", \"event\": \"E\"}\nnonsense\n");
    let sample = path.join("sample.jsonl");
    assert!(refused(&["--events", sample.to_str().unwrap()]).contains("event 2 of the sample"));
}
