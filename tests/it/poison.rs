//! Functions in a running server: what they change, and what becomes of events that break them.

use serde_json::json;

use crate::support::{Workspace, guests};

/// A workspace whose source runs the guest with these settings.
fn with_function(guest: &str, settings: &str) -> Workspace {
    let workspace = Workspace::new();
    std::fs::copy(guests::component(guest), workspace.path().join("functions/f.component.wasm")).unwrap();
    workspace.write("functions/f.yaml", &format!("component: functions/f.component.wasm\nsettings: {settings}\n"));
    workspace.append("sources/web.yaml", "\nfunctions: [f]\n");
    workspace
}

#[test]
fn poison_is_quarantined_and_the_rest_delivered() {
    let workspace = with_function("hostile/attacks", "{}");
    let server = workspace.serve();
    let mut batch: Vec<_> = (0..60).map(|n| json!({"type": "page", "properties": {"n": n}})).collect();
    for (at, name) in [(3, "panic"), (20, "loop"), (40, "too-many"), (52, "bad-json")] {
        batch[at] = json!({"type": "track", "event": "Bad", "properties": {"attack": name}});
    }
    assert_eq!(server.batch(&batch).status, 200);
    server.stop();
    let mut codes = workspace.quarantined();
    codes.sort();
    assert_eq!(codes, ["cpu-budget", "malformed-json", "trap", "wrong-count"]);
    assert_eq!(workspace.warehouse().count("pages"), 56);
    assert!(!workspace.warehouse().has("bad"));
}

#[test]
fn functions_run_in_order_on_what_the_contract_let_through() {
    let workspace = with_function("transform/redact-pii", r#"{"salt": "s", "fields": {"email": "hash"}}"#);
    std::fs::copy(guests::component("transform/utm-referrer"), workspace.path().join("functions/g.component.wasm"))
        .unwrap();
    workspace.write("functions/g.yaml", "component: functions/g.component.wasm\n");
    workspace.append("syncs/web-to-warehouse.yaml", "\nfunctions: [g]\nmapping: {remove: [/context/page/search]}\n");
    let server = workspace.serve();
    let event = json!({
        "type": "page", "name": "Home", "messageId": "m", "properties": {"email": "a@b.c", "n": 1.10},
        "context": {"page": {"url": "https://a.example/?utm_source=x", "search": "?utm_source=x", "referrer": "https://www.bing.com/"}},
    });
    assert_eq!(server.batch(&[event]).status, 200);
    server.stop();
    let rows = workspace
        .warehouse()
        .rows("SELECT id, email = 'a@b.c', n, context_campaign_source, context_referrer_type FROM pages");
    assert_eq!(rows, ["m|0|1.1|x|search"]);
    assert!(
        !workspace.warehouse().rows("SELECT group_concat(name) FROM pragma_table_info('pages')")[0].contains("search")
    );
}

#[test]
fn settings_that_a_function_refuses_stop_the_start_with_its_name() {
    let workspace = with_function("transform/redact-pii", r#"{"fields": {"email": "burn"}}"#);
    let output = crate::support::run(&["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("function f"), "{text}");
}
