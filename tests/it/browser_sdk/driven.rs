//! The browser SDK in a real browser: every call arrives once, whatever happens to the page.
//!
//! The packages are those of `tests/sdk/setup node browser`; where they are not there, the test says so and is skipped.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::reliability::drained;
use crate::sdk::{clients, folder};
use crate::support::Workspace;
use crate::support::waiting::until;

#[test]
fn every_call_arrives_once_whatever_happens_to_the_page() {
    if !clients().0.iter().any(|name| name == "tidegate-browser") {
        println!("skipped: a browser for the SDK: not installed; `tests/sdk/setup node browser` says why");
        return;
    }
    let workspace = Workspace::new();
    let server = workspace.serve();
    let asked = json!({"url": server.url(), "key": server.key});
    let cache = std::env::var_os("TIDEGATE_SDK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/sdk"),
        PathBuf::from,
    );
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "240", "node"]).arg(folder().join("browser/scenarios.mjs")).arg(asked.to_string());
    command.env("NODE_PATH", cache.join("node/node_modules"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["said"], json!([]), "{seen}");
    for run in ["hold", "drop"] {
        assert_eq!(seen[run]["before"], json!([]), "nothing is kept before consent: {seen}");
        assert_eq!(seen[run]["denied"], json!(["tg_consent"]), "{seen}");
        assert!(seen[run]["given"].as_u64().unwrap() > 1, "{seen}");
    }
    let said = seen["wrong"]["said"].as_array().unwrap();
    assert_eq!(said.len(), 1, "{seen}");
    let said = said[0].as_str().unwrap();
    assert!(said.contains("401 unknown-write-key") && said.contains("tidegate.load()"), "{said}");
    assert_eq!(seen["wrong"]["asked"], json!([]), "a wrong key is not tried again: {seen}");
    let cookies =
        json!({"httpOnly": true, "sameSite": "Lax", "secure": false, "days": 365, "isBack": true, "isNew": true});
    assert_eq!(seen["cookies"], cookies, "{seen}");
    assert_eq!(seen["hightouch"], true, "Hightouch's SDK has its id back: {seen}");

    // A beacon has no answer that anybody could wait for.
    until("the events of the page that was closed are there", || {
        drained(&workspace);
        let warehouse = workspace.warehouse();
        warehouse.rows("SELECT count(*) FROM browser_seen WHERE run = 'closed'") == ["3"]
    });
    server.stop();
    let warehouse = workspace.warehouse();
    for (run, count) in [
        ("early", 3),
        ("offline", 3),
        ("left", 3),
        ("closed", 3),
        ("hold", 3),
        ("drop", 1),
        ("tabs", 10),
        ("strict", 2),
        ("cookies", 1),
    ] {
        let sql = format!(
            "SELECT count(*), count(DISTINCT n), count(DISTINCT anonymous_id) FROM browser_seen WHERE run = '{run}'"
        );
        assert_eq!(warehouse.rows(&sql), [format!("{count}|{count}|1")], "{run}");
    }
    for (sql, wanted) in [
        ("SELECT user_id FROM browser_seen WHERE run = 'early' GROUP BY 1", "early-user"),
        ("SELECT count(*) FROM pages WHERE run = 'early' AND user_id IS NULL AND name = 'Home'", "1"),
        ("SELECT count(*) FROM pages WHERE url LIKE '%/strict'", "1"),
        ("SELECT count(*) FROM identifies WHERE run = 'early' AND user_id = 'early-user'", "1"),
        ("SELECT count(*) FROM groups WHERE group_id = 'early-group'", "1"),
        ("SELECT count(*) FROM aliases WHERE previous_id = 'early-prev'", "1"),
        (
            "SELECT context_campaign_source, context_campaign_name, context_library_name FROM identifies WHERE run = 'early'",
            "letter|spring|tidegate.js",
        ),
        (
            "SELECT count(*) FROM browser_seen WHERE context_consent_category_preferences_analytics = 1
                AND context_consent_category_preferences_ads = 0",
            "4",
        ),
    ] {
        assert_eq!(warehouse.rows(sql), [wanted], "{sql}");
    }
    assert_eq!(workspace.quarantined(), [""; 0]);
    workspace.conserves();
}
