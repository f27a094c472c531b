//! Contracts in a running server: what goes on, what is quarantined, and the rows of `event_violations`.

use serde_json::json;

use crate::reliability::{SYNC, drained, wait};
use crate::support::admin::Admin;
use crate::support::{Warehouse, Workspace, run};

/// One event rule with these policies over `n` (an integer) and nothing else.
fn rule(name: &str, on_schema: &str, on_fields: &str) -> String {
    format!(
        "type: track\nname: {name}\nonSchemaViolation: {on_schema}\nonUndeclaredFields: {on_fields}\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        n: {{ type: integer }}\n"
    )
}

fn shop(on_undeclared: &str, more: &str) -> Workspace {
    let workspace = Workspace::new();
    let domain = format!("name: Shop\nonUndeclaredSchema: {on_undeclared}\n{more}");
    workspace.write("events/domains/shop/domain.yaml", &domain);
    for (file, name, on_schema, on_fields) in [
        ("loose", "Loose", "ALLOW_EVENT", "ALLOW_EVENT"),
        ("tidy", "Tidy", "BLOCK_EVENT", "OMIT_FIELDS"),
        ("strict", "Strict", "BLOCK_EVENT", "BLOCK_EVENT"),
    ] {
        workspace.write(&format!("events/domains/shop/{file}.yaml"), &rule(name, on_schema, on_fields));
    }
    workspace
}

fn track(id: &str, name: &str, properties: serde_json::Value) -> serde_json::Value {
    json!({"type": "track", "event": name, "messageId": id, "properties": properties})
}

#[test]
fn every_violation_is_a_row_and_each_policy_does_what_it_says() {
    let workspace = shop("BLOCK_EVENT", "undeclaredRows: true\n");
    let server = workspace.serve();
    let mut batch = Vec::new();
    for name in ["Loose", "Tidy", "Strict"] {
        batch.push(track(&format!("{name}-fine"), name, json!({"n": 1})));
        batch.push(track(&format!("{name}-extra"), name, json!({"n": 1, "extra": true})));
        batch.push(track(&format!("{name}-wrong"), name, json!({"n": "x"})));
    }
    batch.push(track("unknown", "Unknown", json!({})));
    let mut versioned = track("version", "Loose", json!({"n": 1}));
    versioned["context"] = json!({"htevents": {"schemaVersion": "v2"}});
    batch.push(versioned);
    assert_eq!(server.batch(&batch).status, 200);
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(
        warehouse.rows("SELECT id, event_name, event_type, schema_version, has_undeclared_schema, has_undeclared_fields, has_schema_violated FROM event_violations ORDER BY rowid"),
        [
            "Loose-extra|Loose|track|default|0|1|0",
            "Loose-wrong|Loose|track|default|0|0|1",
            "Tidy-extra|Tidy|track|default|0|1|0",
            "Tidy-wrong|Tidy|track|default|0|0|1",
            "Strict-extra|Strict|track|default|0|1|0",
            "Strict-wrong|Strict|track|default|0|0|1",
            "unknown|Unknown|track|default|1|0|0",
            "version|Loose|track|v2|1|0|0",
        ]
    );
    // The payload is the event before anything was left out; the violations are sentences in a JSON array.
    let tidy = "SELECT json_extract(payload, '$.properties.extra'), json_array_length(violations) FROM event_violations WHERE id = 'Tidy-extra'";
    assert_eq!(warehouse.rows(tidy), ["1|1"]);
    assert_eq!(
        warehouse.rows("SELECT id, extra FROM loose ORDER BY id"),
        ["Loose-extra|1", "Loose-fine|", "Loose-wrong|"]
    );
    assert_eq!(warehouse.rows("SELECT id FROM tidy ORDER BY id"), ["Tidy-extra", "Tidy-fine"]);
    assert!(!warehouse.rows("SELECT group_concat(name) FROM pragma_table_info('tidy')")[0].contains("extra"));
    assert_eq!(warehouse.rows("SELECT id FROM strict"), ["Strict-fine"]);
    assert_eq!(
        workspace.quarantined(),
        ["schema-violation", "undeclared-field", "schema-violation", "undeclared-event", "undeclared-event"]
    );
}

#[test]
fn what_is_undeclared_goes_on_unless_the_domain_says_otherwise() {
    let workspace = shop("ALLOW_EVENT", "undeclaredRows: true\n");
    let server = workspace.serve();
    assert_eq!(server.batch(&[track("u", "Unknown", json!({}))]).status, 200);
    server.stop();
    assert_eq!(workspace.warehouse().count("unknown"), 1);
    assert_eq!(workspace.warehouse().rows("SELECT has_undeclared_schema FROM event_violations"), ["1"]);
    assert_eq!(workspace.quarantined(), [""; 0]);
}

#[test]
fn what_is_undeclared_and_allowed_is_counted_by_name_and_makes_no_row() {
    let workspace = shop("ALLOW_EVENT", "");
    let server = workspace.serve();
    let sold = |id: &str| track(id, "Loose", json!({"n": 1, "items": [{"a/b": 1}, {"a/b": 2}], "extra": true}));
    let mut versioned = track("v", "Loose", json!({"n": 1}));
    versioned["context"] = json!({"htevents": {"schemaVersion": "v2"}});
    let batch = [
        sold("1"),
        sold("2"),
        track("3", "Unknown", json!({})),
        json!({"type": "identify", "userId": "u", "messageId": "4"}),
        versioned,
        // What the schema objects to is a violation all the same, and its undeclared fields are counted too.
        track("wrong", "Loose", json!({"n": "x", "extra": true})),
    ];
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    let status = workspace.status();
    assert_eq!(
        status["sources"]["web"]["undeclared"],
        json!({
            "/properties/extra of track \"Loose\"": 3, "/properties/items of track \"Loose\"": 2,
            "track \"Unknown\"": 1, "identify": 1, "version \"v2\" of track \"Loose\"": 1,
        }),
        "{status:#}"
    );
    assert_eq!(status["sources"]["web"]["violations"], 1);
    assert_eq!(workspace.warehouse().rows("SELECT id FROM event_violations"), ["wrong"]);
    assert_eq!(workspace.warehouse().count("loose"), 4);
    let text = crate::support::run(&["status", workspace.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("undeclared: source web") && text.contains("3 /properties/extra of track"), "{text}");
}

#[test]
fn names_that_clients_make_up_are_counted_within_bounds() {
    let workspace = shop("ALLOW_EVENT", "");
    let server = workspace.serve();
    for n in 0..15 {
        let batch: Vec<_> =
            (0..100).map(|m| track(&format!("{n}-{m}"), &format!("Made up {n} {m}"), json!({}))).collect();
        assert_eq!(server.batch(&batch).status, 200);
    }
    server.stop();
    let status = workspace.status();
    let undeclared = status["sources"]["web"]["undeclared"].as_object().unwrap();
    assert!(undeclared.len() <= 1_001, "{}", undeclared.len());
    assert_eq!(undeclared.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 1_500);
    assert_eq!(status["sources"]["web"]["accepted"], 1_500);
}

#[test]
fn times_that_cannot_be_read_are_counted_and_said() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let at = |id: &str, time: serde_json::Value| json!({"type": "track", "event": "E", "messageId": id, "originalTimestamp": time});
    let batch = [at("a", json!("last Tuesday")), at("b", json!({})), at("c", json!("2026-01-01T00:00:00Z"))];
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    assert_eq!(workspace.status()["sources"]["web"]["unreadable_times"], 2);
    let text = crate::support::run(&["status", workspace.path().to_str().unwrap()]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("2 events have a time that cannot be read"), "{text}");
}

#[test]
fn the_example_of_a_new_workspace_loses_no_field_when_it_is_put_in_force() {
    let workspace = Workspace::new();
    for name in ["domain", "order-completed"] {
        let path = workspace.path().join(format!("events/domains/shop/{name}.yaml"));
        std::fs::rename(path.with_extension("yaml.example"), path).unwrap();
    }
    let server = workspace.serve();
    let order = json!({"order_id": "A-1", "revenue": 9.5, "coupon": "SPRING"});
    assert_eq!(server.batch(&[track("o", "Order Completed", order)]).status, 200);
    server.stop();
    let rows = workspace.warehouse().rows("SELECT order_id, revenue, coupon FROM order_completed");
    assert_eq!(rows, ["A-1|9.5|SPRING"]);
}

/// Both tables of what was judged, and what is quarantined, are as the contract of then has it.
#[test]
fn a_tightened_contract_takes_nothing_from_a_sync_that_lags() {
    let workspace = shop("BLOCK_EVENT", "");
    workspace.write("destinations/second.yaml", "kind: sqlite\npath: DATA/second.db\n");
    workspace.write("syncs/second.yaml", "source: web\ndestination: second\n");
    workspace.serve().stop();
    let held = rusqlite::Connection::open(workspace.data().join("second.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let server = workspace.serve();
    let then = ["Loose", "Tidy", "Strict"].map(|name| track(&format!("{name}-then"), name, json!({"n": "x"})));
    assert_eq!(server.batch(&then).status, 200);
    wait(&workspace, "the sync that does not lag has it", |status| status["syncs"][SYNC]["lag"] == 0);
    server.kill();
    // Tighter for one event, looser for another; what is judged already stays as it was judged.
    workspace.write("events/domains/shop/loose.yaml", &rule("Loose", "BLOCK_EVENT", "ALLOW_EVENT"));
    workspace.write("events/domains/shop/strict.yaml", &rule("Strict", "ALLOW_EVENT", "ALLOW_EVENT"));
    let server = workspace.serve();
    let now = ["Loose", "Tidy", "Strict"].map(|name| track(&format!("{name}-now"), name, json!({"n": "x"})));
    assert_eq!(server.batch(&now).status, 200);
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    let both = |status: &serde_json::Value| [SYNC, "second"].iter().all(|sync| status["syncs"][sync]["lag"] == 0);
    wait(&workspace, "both syncs have everything", both);
    server.stop();
    for warehouse in [workspace.warehouse(), Warehouse::open(&workspace.data().join("second.db"))] {
        assert_eq!(warehouse.rows("SELECT id FROM loose"), ["Loose-then"]);
        assert_eq!(warehouse.rows("SELECT id FROM strict"), ["Strict-now"]);
        assert!(!warehouse.has("tidy"));
        assert_eq!(warehouse.rows("SELECT count(*) FROM event_violations"), ["6"]);
    }
    assert_eq!(workspace.quarantined(), ["schema-violation"; 4]);
}

#[test]
fn violations_are_counted_by_event_field_and_release_and_a_retry_is_not_counted_again() {
    let workspace = shop("BLOCK_EVENT", "");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let of = |release: &str, mut event: serde_json::Value| {
        event["context"] = json!({"os": {"name": "iOS"}, "app": {"version": release}});
        event
    };
    let batch = [
        of("4.1", track("1", "Strict", json!({"n": "hunter2"}))),
        of("4.2", track("2", "Strict", json!({"n": "hunter2", "extra": 1}))),
        of("4.2", track("3", "Made up", json!({}))),
        // What is undeclared and allowed breaks nothing.
        of("4.2", track("4", "Loose", json!({"n": 1, "extra": 1}))),
        of("4.2", track("5", "Strict", json!({"n": 1}))),
    ];
    assert_eq!(server.batch(&batch).status, 200);
    drained(&workspace);
    let place = "/api/v1/contract-violations";
    let counted = |found: &serde_json::Value, list: &str, names: &[&str]| -> Vec<String> {
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let row = |row: &serde_json::Value| {
            let names: Vec<String> = names.iter().map(|name| text(row, name)).collect();
            format!("{}: {}", names.join(" "), row["events"])
        };
        found[list].as_array().unwrap().iter().map(row).collect()
    };
    let found = admin.get(place);
    assert_eq!(
        (&found["events"], &found["masked"], &found["hours"]),
        (&json!(3), &json!(false), &json!(24)),
        "{found}"
    );
    assert_eq!(counted(&found, "by_event", &["type", "name"]), ["track Strict: 2", "track Made up: 1"]);
    assert_eq!(
        counted(&found, "by_field", &["name", "field", "rule"]),
        ["Strict /properties/n type: 2", "Made up  undeclaredEvent: 1", "Strict /properties/extra undeclaredField: 1"]
    );
    assert_eq!(counted(&found, "by_release", &["release"]), ["iOS 4.2: 2", "iOS 4.1: 1"]);
    assert!(!found.to_string().contains("hunter2"), "{found}");
    for (query, events) in [
        ("domain=shop", 2),
        ("source=web&type=track", 3),
        ("source=else", 0),
        ("event=Strict&by=day", 2),
        ("field=/properties/n", 2),
        ("release=iOS+4.1", 1),
    ] {
        let reply = admin.ask("GET", &format!("{place}?{query}"), b"");
        assert_eq!(reply.json()["events"], events, "{query}: {}", reply.text());
    }
    assert_eq!(admin.ask("GET", &format!("{place}?domain=nothing"), b"").code(), "404 no-such-object");
    assert_eq!(admin.ask("GET", &format!("{place}?since=yesterday"), b"").code(), "400 query");
    let reply = admin.post("/api/v1/quarantine/retry", &json!({"entries": {"all": true}}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    wait(&workspace, "they are judged again", |status| status["sources"]["web"]["violations"] == 6);
    assert_eq!(admin.get(place)["events"], 3);
    let url = format!("http://{}", server.admin);
    let words = ["contract", "violations", "--since", "7d", "--domain", "shop", "--server", &url, "--token", &token];
    let shown: serde_json::Value = serde_json::from_slice(&run(&[&words[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!((&shown["events"], &shown["by_event"][0]["name"]), (&json!(2), &json!("Strict")), "{shown}");
    let text = String::from_utf8_lossy(&run(&words).stdout).into_owned();
    for part in ["2 events broke a contract", "/properties/n", "iOS 4.2", "undeclaredField"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    server.stop();
}
