//! What was tried in one environment is given to another.

use serde_json::{Value, json};

use super::{TwoEnvironments, send, text, two_folders};
use crate::support::{Warehouse, Workspace};

/// A server with the environments `staging` and `production` beside its own folder.
fn with_production() -> TwoEnvironments {
    let workspace = two_folders();
    let path = workspace.path().join("tidegate.yaml");
    let told = std::fs::read_to_string(&path).unwrap().replace("{staging: {}}", "{staging: {}, production: {}}");
    std::fs::write(path, told).unwrap();
    TwoEnvironments::of(workspace)
}

/// Makes a source, a warehouse and a sync in `staging`, over the API.
fn make_crm(two: &TwoEnvironments) {
    for (name, value) in [("place", "DATA/crm.db"), ("crm-key", "crm-key-of-staging-01")] {
        two.done("PUT", &format!("/api/v1/secrets/{name}?workspace=staging"), &json!({"value": value}));
    }
    two.make("staging", ("source", "crm"), &json!({"kind": "http", "write_key": "secret:crm-key"}));
    two.make("staging", ("destination", "crm"), &json!({"kind": "sqlite", "path": "secret:place"}));
    two.make("staging", ("sync", "crm"), &json!({"source": "crm", "destination": "crm"}));
}

fn promotion(more: Value) -> Value {
    let mut asked = json!({"from": "staging", "to": "production"});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    asked
}

/// Objects of which nothing is in the folder of `staging`.
fn of_crm() -> Value {
    json!([
        {"kind": "source", "name": "crm"}, {"kind": "destination", "name": "crm"}, {"kind": "sync", "name": "crm"},
    ])
}

fn pages(workspace: &Workspace, environment: &str) -> Vec<String> {
    let path = workspace.data().join("environments").join(environment).join("crm.db");
    Warehouse::open(&path).rows("SELECT id FROM sent ORDER BY id")
}

#[test]
fn what_is_promoted_runs_there_with_keys_and_secrets_of_its_own() {
    let two = with_production();
    make_crm(&two);
    // The secret that it asks for is not there, and nothing is changed.
    let asked = promotion(json!({"objects": of_crm()}));
    let refused = two.ask("POST", "/api/v1/promotions", &asked);
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    let problems = refused.json()["problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems}");
    assert_eq!(problems[0]["file"], "destinations/crm.yaml", "{problems}");
    assert!(problems[0]["message"].as_str().unwrap().contains("\"place\""), "{problems}");
    two.done("PUT", "/api/v1/secrets/place?workspace=production", &json!({"value": "DATA/crm.db"}));
    let planned = two.done("POST", "/api/v1/promotions", &promotion(json!({"objects": of_crm(), "dry_run": true})));
    assert_eq!((&planned["created"], &planned["dry_run"]), (&json!(3), &json!(true)), "{planned}");
    let fields = planned["changes"].to_string();
    assert!(fields.contains("secret:place") && !fields.contains("crm-key"), "{fields}");
    assert_eq!(two.ask("GET", "/api/v1/objects/sync/crm?workspace=production", &Value::Null).status, 404);
    let done = two.done("POST", "/api/v1/promotions", &asked);
    assert_eq!(done["created"], 3, "{done}");
    // It is the same now; so is it for the command.
    assert_eq!(two.done("POST", "/api/v1/promotions", &asked)["changes"], json!([]));
    let again = two.command(&["promote", "--from", "staging", "--to", "production", "--kind", "sync", "--name", "crm"]);
    assert!(again.status.success() && text(&again).contains("has what staging has"), "{}", text(&again));
    // The write key of staging opens staging, and the source there has none until somebody makes one.
    assert_eq!(send(&two.server, "crm-key-of-staging-01", "staged").status, 200);
    let key = two.done("POST", "/api/v1/sources/crm/write-keys?workspace=production", &json!({"name": "first"}));
    assert_eq!(send(&two.server, key["key"].as_str().unwrap(), "produced").status, 200);
    // A field that differs is shown, and a plan of an old revision is stale.
    let body = json!({"name": "crm", "spec": {"kind": "http", "write_key": "secret:crm-key", "rate": "9/s"}});
    two.done("PUT", "/api/v1/objects/source/crm?workspace=staging", &body);
    let stale = two.ask("POST", "/api/v1/promotions", &promotion(json!({"base_revision": 1, "objects": of_crm()})));
    assert_eq!(stale.code(), "412 stale-plan", "{}", stale.text());
    let done = two.done("POST", "/api/v1/promotions", &asked);
    assert_eq!(done["changes"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(done["changes"][0]["fields"][0]["field"], "/spec/rate", "{done}");
    let TwoEnvironments { workspace, server, .. } = two;
    server.stop();
    assert_eq!(pages(&workspace, "staging"), ["staged"]);
    assert_eq!(pages(&workspace, "production"), ["produced"]);
}

#[test]
fn a_folder_is_promoted_with_its_files_and_what_the_other_folder_manages_is_left_alone() {
    let two = with_production();
    two.workspace.write("environments/staging/names.csv", "old,new\na,b\n");
    let names = "kind: table\npath: names.csv\nkey: old\nvalue: new\n";
    two.workspace.write("environments/staging/lookups/names.yaml", names);
    two.done("POST", "/admin/reload?workspace=staging", &json!({}));
    let done = two.done("POST", "/api/v1/promotions", &promotion(json!({})));
    assert_eq!(done["created"], 4, "{done}");
    let lookup = two.admin.get("/api/v1/objects/lookup/names?workspace=production");
    let sha256 = lookup["spec"]["$files"]["names.csv"].as_str().unwrap_or_else(|| panic!("{lookup}"));
    let sent = two.ask("GET", &format!("/api/v1/blobs/{sha256}?workspace=production"), &Value::Null);
    assert_eq!(sent.text(), "old,new\na,b\n");
    assert_eq!(two.done("POST", "/api/v1/promotions", &promotion(json!({})))["changes"], json!([]));
    // What is gone there stays here, unless somebody says otherwise.
    std::fs::remove_file(two.workspace.path().join("environments/staging/lookups/names.yaml")).unwrap();
    two.done("POST", "/admin/reload?workspace=staging", &json!({}));
    let done = two.done("POST", "/api/v1/promotions", &promotion(json!({})));
    assert_eq!((&done["deleted"], &done["left"][0]["name"]), (&json!(0), &json!("names")), "{done}");
    let done = two.done("POST", "/api/v1/promotions", &promotion(json!({"prune": true})));
    assert_eq!(done["deleted"], 1, "{done}");
    let nonsense = two.ask("POST", "/api/v1/promotions", &promotion(json!({"prune": true, "objects": of_crm()})));
    assert_eq!(nonsense.code(), "422 prune-of-some", "{}", nonsense.text());
    // The folder of the server manages what it has.
    let own = json!({"from": "staging", "to": "default", "objects": [{"kind": "source", "name": "web"}]});
    two.workspace
        .write("environments/staging/sources/web.yaml", "kind: http\nwrite_key: staging-key-0123456789\nrate: 7/s\n");
    two.done("POST", "/admin/reload?workspace=staging", &json!({}));
    let refused = two.ask("POST", "/api/v1/promotions", &own);
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    assert!(refused.text().contains("the server's own folder"), "{}", refused.text());
    let taken =
        json!({"from": "staging", "to": "default", "objects": [{"kind": "source", "name": "web"}], "take_over": true});
    assert_eq!(two.done("POST", "/api/v1/promotions", &taken)["updated"], 1);
    // It goes on with the write keys of its file.
    assert_eq!(send(&two.server, &two.server.key, "a").status, 200);
    two.server.stop();
}

#[test]
fn a_name_that_is_mistyped_is_no_workspace_that_has_nothing() {
    let two = with_production();
    two.done("POST", "/api/v1/promotions", &promotion(json!({})));
    let mistyped = json!({"from": "stagin", "to": "production", "prune": true, "abandon": ["*"]});
    let refused = two.ask("POST", "/api/v1/promotions", &mistyped);
    assert_eq!((refused.code().as_str(), &refused.json()["field"]), ("404 no-such-environment", &json!("from")));
    assert!(refused.text().contains("default, production, staging"), "{}", refused.text());
    assert_eq!(two.admin.get("/api/v1/objects/source/web?workspace=production")["name"], "web");
    let planned = two.command(&["promote", "--from", "stagin", "--to", "production", "--dry-run"]);
    assert!(!planned.status.success() && text(&planned).contains("no environment \"stagin\""), "{}", text(&planned));
    two.server.stop();
}

#[test]
fn a_secret_that_is_written_down_stays_where_it_is() {
    let two = with_production();
    let written = "kind: postgres\nhost: db.example\nuser: u\ndbname: d\npassword: hunter2-hunter2\n";
    two.workspace.write("environments/staging/destinations/pg.yaml", written);
    two.done("POST", "/admin/reload?workspace=staging", &json!({}));
    let asked = promotion(json!({"objects": [{"kind": "destination", "name": "pg"}]}));
    let refused = two.ask("POST", "/api/v1/promotions", &asked);
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    assert!(refused.text().contains("`password`") && !refused.text().contains("hunter2"), "{}", refused.text());
    let refused = two.ask("POST", "/api/v1/promotions", &json!({"from": "staging", "to": "staging"}));
    assert_eq!(refused.code(), "422 one-workspace", "{}", refused.text());
    // Nor can an object of another workspace name a file of it.
    two.workspace.write("environments/staging/names.csv", "old,new\na,b\n");
    let spec = json!({"kind": "table", "path": "environments/staging/names.csv", "key": "old", "value": "new"});
    let refused = two.ask("POST", "/api/v1/objects/lookup", &json!({"name": "names", "spec": spec}));
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    // A workspace that no environment runs takes them, too.
    make_crm(&two);
    two.done("PUT", "/api/v1/secrets/place?workspace=archive", &json!({"value": "x"}));
    let kept =
        two.done("POST", "/api/v1/promotions", &json!({"from": "staging", "to": "archive", "objects": of_crm()}));
    assert_eq!((&kept["created"], &kept["running"]), (&json!(3), &Value::Null), "{kept}");
    let again = two.command(&["promote", "--from", "staging", "--to", "archive", "--kind", "sync", "--name", "crm"]);
    assert!(again.status.success() && text(&again).contains("no environment \"archive\" runs"), "{}", text(&again));
    // What is kept is promoted from there as well.
    let source = json!([{"kind": "source", "name": "crm"}]);
    two.done("POST", "/api/v1/promotions", &json!({"from": "archive", "to": "production", "objects": source}));
    two.server.stop();
}
