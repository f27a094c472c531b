//! Contracts, functions and lookups that change: what is accepted after the answer goes the new way.

use serde_json::json;

use super::{Reloading, changed};
use crate::support::{Workspace, guests};

fn track(name: &str, id: &str) -> serde_json::Value {
    json!({"type": "track", "event": name, "messageId": id, "userId": "u", "properties": {"sku": "MUG-1"}})
}

fn with_renames(names: &str) -> Workspace {
    let workspace = Workspace::new();
    let component = guests::component("transform/rename");
    let text =
        "lookups: {renames: names}\nsettings: {lookup: true, fields: {/properties/sku: /properties/product_id}}\n";
    workspace.write("functions/rename.yaml", &format!("component: {}\n{text}", component.display()));
    workspace.write("lookups/names.yaml", "kind: table\npath: names.csv\nkey: old\nvalue: new\n");
    workspace.write("names.csv", names);
    workspace.append("sources/web.yaml", "\nfunctions: [rename]\n");
    workspace
}

#[test]
fn a_lookup_whose_file_changed_is_read_anew() {
    let running = Reloading::of(with_renames("new,old\nFirst,signup\n"));
    assert_eq!(running.server.batch(&[track("signup", "a")]).status, 200);
    running.workspace.write("names.csv", "new,old\nSecond,signup\n");
    let answer = running.settle();
    assert_eq!(changed(&answer), ["changed lookup names"], "{answer:#}");
    assert_eq!(running.server.batch(&[track("signup", "b")]).status, 200);
    running.wait_for_delivered("web-to-warehouse", 2);
    running.server.stop();
    let rows = running.workspace.warehouse().rows("SELECT id, event_text FROM tracks WHERE id = 'b'");
    assert_eq!(rows, ["b|Second"]);
    assert_eq!(running.workspace.quarantined(), Vec::<String>::new());
}

#[test]
fn a_function_comes_changes_and_goes_while_the_server_runs() {
    let running = Reloading::new();
    let component = guests::component("transform/rename");
    let write = |to: &str| {
        let text = format!(
            "component: {}\nlookups: {{renames: none}}\nsettings: {{fields: {{/properties/sku: /properties/{to}}}}}\n",
            component.display()
        );
        running.workspace.write("functions/rename.yaml", &text);
    };
    let source = std::fs::read_to_string(running.workspace.path().join("sources/web.yaml")).unwrap();
    let send = |id: &str| assert_eq!(running.server.batch(&[track("Seen", id)]).status, 200);
    send("a");
    running.wait_for_delivered("web-to-warehouse", 1);
    write("first");
    running.workspace.write("sources/web.yaml", &format!("{source}\nfunctions: [rename]\n"));
    let before = running.configuration()["revision"].as_u64();
    running.settle();
    assert!(running.configuration()["revision"].as_u64() > before);
    send("b");
    running.wait_for_delivered("web-to-warehouse", 2);
    write("second");
    running.settle();
    send("c");
    running.wait_for_delivered("web-to-warehouse", 3);
    running.workspace.write("sources/web.yaml", &source);
    running.settle();
    send("d");
    running.wait_for_delivered("web-to-warehouse", 4);
    running.server.stop();
    let rows = running.workspace.warehouse().rows("SELECT id, sku, first, second FROM seen ORDER BY id");
    assert_eq!(rows, ["a|MUG-1||", "b||MUG-1|", "c|||MUG-1", "d|MUG-1||"]);
}

#[test]
fn a_function_whose_settings_it_refuses_changes_nothing() {
    let running = Reloading::of(with_renames("new,old\nFirst,signup\n"));
    let file = running.workspace.path().join("functions/rename.yaml");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replace("lookup: true", "lookup: 7")).unwrap();
    let reply = running.ask();
    assert_eq!(reply.status, 422, "{}", reply.text());
    assert!(reply.text().contains("rename"), "{}", reply.text());
    assert_eq!(running.server.batch(&[track("signup", "a")]).status, 200);
    running.wait_for_delivered("web-to-warehouse", 1);
    running.server.stop();
    assert_eq!(running.workspace.warehouse().rows("SELECT event_text FROM tracks"), ["First"]);
}
