//! The commands that speak to `/api/v1`.

use std::process::Output;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{ApiCaller, served};
use crate::support::{Server, Workspace, run};

/// Commands with the address of a server and a token.
pub(super) struct ServerCommands {
    url: String,
    token: String,
}

impl ServerCommands {
    pub(super) fn new(server: &Server, caller: &ApiCaller) -> Self {
        Self { url: format!("http://{}", server.admin), token: caller.token.clone() }
    }

    pub(super) fn run(&self, words: &[&str]) -> Output {
        run(&[words, &["--server", &self.url, "--token", &self.token]].concat())
    }

    /// What a command says to programs, which must have ended so.
    #[track_caller]
    pub(super) fn json(&self, words: &[&str], code: i32) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words:?}: {}", text(&output)))
    }
}

pub(super) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_exported_catalog_is_a_folder_that_plans_empty() {
    let workspace = Workspace::new();
    workspace.write("lookups/plans.yaml", "kind: table\nentries:\n  a: {price: 1.50, code: 007}\n");
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\n");
    let event = "type: track\nname: Order Completed\nonSchemaViolation: ALLOW_EVENT\nonUndeclaredFields: ALLOW_EVENT\n\
                 schema: {type: object, properties: {properties: {type: object}}}\n";
    workspace.write("events/domains/shop/order-completed.yaml", event);
    let far = "kind: postgres\nurl: postgres://ann:hunter2-hunter2@127.0.0.1:1/shop\nsslmode: disable\n";
    workspace.write("destinations/far.yaml", far);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = ApiCaller::new(&server, &token);
    let commands = ServerCommands::new(&server, &admin);
    let own = commands.json(&["plan", workspace.path().to_str().unwrap()], 0);
    assert_eq!((&own["changes"], &own["problems"], &own["left"]), (&json!([]), &json!([]), &json!([])));
    let exported = workspace.dir.path().join("exported");
    let folder = exported.to_str().unwrap();
    let said = commands.json(&["export", folder], 0);
    assert_eq!(said["files"].as_array().unwrap().len(), 7, "{said}");
    let missing: Vec<&str> = said["missing"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(missing, ["sources/web.yaml: `write_key`", "destinations/far.yaml: `url`"]);
    let url = std::fs::read_to_string(exported.join("destinations/far.yaml")).unwrap();
    assert!(!url.contains("hunter2"), "{url}");
    let planned = commands.run(&["plan", folder]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned));
    let again = commands.run(&["export", folder]);
    assert_eq!(again.status.code(), Some(1), "nothing is written over: {}", text(&again));
    std::fs::write(exported.join("syncs/web-to-warehouse.yaml"), "source: web\ndestination: warehouse\nschema: x\n")
        .unwrap();
    std::fs::remove_file(exported.join("lookups/plans.yaml")).unwrap();
    let planned = commands.json(&["plan", folder], 2);
    let change = json!({"kind": "sync", "name": "web-to-warehouse", "change": "changed", "takes_over": false,
        "drifted": false, "fields": [{"field": "/spec/schema", "before": null, "after": "x"}]});
    // The lookup is the server's own, and no apply deletes it.
    let kept = json!([{"kind": "lookup", "name": "plans"}]);
    let pruned = commands.json(&["plan", folder, "--prune"], 2);
    for told in [planned, pruned] {
        assert_eq!(
            (&told["changes"], &told["left"], &told["kept_by_server"]),
            (&json!([change]), &json!([]), &kept),
            "{told}"
        );
    }
    std::fs::write(exported.join("syncs/web-to-warehouse.yaml"), "source: [1\n").unwrap();
    let broken = commands.run(&["plan", folder]);
    assert_eq!(broken.status.code(), Some(1), "{}", text(&broken));
    assert!(text(&broken).contains("web-to-warehouse.yaml"), "{}", text(&broken));
    server.stop();
    assert_eq!(commands.run(&["plan", folder]).status.code(), Some(1), "nobody is there to be asked");
}

#[test]
fn an_export_of_the_audit_log_is_in_the_log_wherever_it_begins() {
    let (_workspace, server, admin) = served();
    let exports = || admin.get("/api/v1/audit?action=audit_exported")["entries"].as_array().unwrap().len();
    for (at, from) in ["", "&from=0", "&from=1"].into_iter().enumerate() {
        assert_eq!(exports(), at);
        let reply = admin.ask("GET", &format!("/api/v1/audit/export?limit=2{from}"), &Value::Null);
        assert_eq!((reply.status, reply.text().lines().count()), (200, 2), "{}", reply.text());
    }
    assert_eq!(exports(), 3);
    // One that follows its own entries comes to its end.
    let last = admin.get("/api/v1/audit?limit=1")["entries"][0]["seq"].as_u64().unwrap();
    let reply = admin.ask("GET", &format!("/api/v1/audit/export?from={}", last - 1), &Value::Null);
    assert_eq!((reply.text().lines().count(), exports()), (1, 3), "{}", reply.text());
    server.stop();
}

#[test]
fn the_audit_log_is_exported_and_an_entry_that_was_altered_is_found() {
    let (workspace, server, admin) = served();
    for name in ["ann", "bob", "carl"] {
        admin.made("user", name, json!({}));
    }
    let commands = ServerCommands::new(&server, &admin);
    let verdict = commands.json(&["audit", "verify"], 0);
    assert_eq!(verdict["whole"], true);
    let head = format!("{}:{}", verdict["head"]["seq"], verdict["head"]["hash"].as_str().unwrap());
    let lines = commands.run(&["audit", "export"]);
    assert_eq!(lines.status.code(), Some(0), "{}", text(&lines));
    let lines = String::from_utf8(lines.stdout).unwrap();
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1) && seqs[0] == 1, "{seqs:?}");
    let made = entries.iter().find(|entry| entry["name"] == "bob").unwrap();
    assert_eq!((&made["action"], &made["result"], &made["kind"]), (&json!("created"), &json!("done"), &json!("user")));
    assert!(made["agent"].as_str().unwrap().starts_with("the admin token") && made["address"] == "127.0.0.1", "{made}");
    let seq = made["seq"].as_u64().unwrap();
    assert_eq!(commands.run(&["audit", "verify", "--checkpoint", &head]).status.code(), Some(0));
    let wrong = format!("{}:{}", verdict["head"]["seq"], "0".repeat(64));
    assert_eq!(commands.run(&["audit", "verify", "--checkpoint", &wrong]).status.code(), Some(2));
    server.stop();
    let catalog = Connection::open(workspace.data().join("catalog.db")).unwrap();
    catalog.execute("UPDATE audit SET name = 'nobody' WHERE seq = ?1", [seq as i64]).unwrap();
    drop(catalog);
    let server = workspace.serve();
    let commands = ServerCommands::new(&server, &admin);
    let verdict = commands.json(&["audit", "verify"], 2);
    assert_eq!((&verdict["whole"], &verdict["altered_at"]), (&json!(false), &json!(seq)));
    server.stop();
}

#[test]
fn people_and_tokens_are_made_looked_at_and_ended_by_commands() {
    let (workspace, server, admin) = served();
    let commands = ServerCommands::new(&server, &admin);
    commands.json(&["user", "create", "ann", "--email", "ann@example.com"], 0);
    let grants = workspace.dir.path().join("grants.json");
    std::fs::write(
        &grants,
        r#"{"access": [{"level": "view", "on": {"kind": "sync"}}, {"level": "view", "on": {"kind": "source"}}]}"#,
    )
    .unwrap();
    commands.json(&["role", "set", "looker", "--grants", grants.to_str().unwrap()], 0);
    commands.json(&["user", "grant", "ann", "--role", "looker"], 0);
    let created = commands.json(&["token", "create", "laptop", "--user", "ann", "--days", "7"], 0);
    let token = created["token"].as_str().unwrap().to_owned();
    let of_ann = ServerCommands { url: commands.url.clone(), token };
    let listed = of_ann.json(&["object", "list", "source"], 0);
    assert_eq!(listed[0]["name"], "web", "{listed}");
    assert_eq!(of_ann.json(&["object", "list", "destination"], 0), json!([]));
    assert_eq!(of_ann.run(&["object", "get", "destination", "warehouse"]).status.code(), Some(1));
    let table = commands.run(&["object", "list", "sync"]);
    assert!(text(&table).contains("web-to-warehouse") && text(&table).contains("syncs/web-to-warehouse.yaml"));
    let shown = commands.run(&["object", "get", "source", "web"]);
    assert!(text(&shown).contains("\"kind\": \"http\""), "{}", text(&shown));
    commands.json(&["user", "grant", "ann", "--role", "viewer"], 0);
    assert_eq!(of_ann.json(&["object", "list", "destination"], 0)[0]["name"], "warehouse");
    let group = commands.json(&["object", "history", "user", "ann"], 0);
    assert_eq!(group.as_array().unwrap().len(), 1, "{group}");
    commands.json(&["user", "disable", "ann"], 0);
    let diff = commands.json(&["object", "diff", "user", "ann"], 2);
    assert_eq!(diff["fields"][0]["field"], "/spec/is_disabled", "{diff}");
    assert_eq!(of_ann.run(&["object", "list", "source"]).status.code(), Some(1));
    let tokens = commands.json(&["token", "list"], 0);
    let names: Vec<&str> = tokens.as_array().unwrap().iter().filter_map(|token| token["name"].as_str()).collect();
    assert_eq!(names, ["first", "laptop"]);
    assert!(tokens[1]["last_used"].is_string(), "{tokens}");
    commands.json(&["token", "revoke", "laptop"], 0);
    assert_eq!(commands.json(&["token", "list"], 0).as_array().unwrap().len(), 1);
    commands.json(&["user", "delete", "ann"], 0);
    assert_eq!(commands.run(&["object", "get", "user", "ann"]).status.code(), Some(1));
    server.stop();
}
