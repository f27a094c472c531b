//! A browser visits the pages: nothing is said against the policy or on its console, nothing is wider than the screen, and axe finds no
//! barrier that is serious.
//!
//! The packages are those of `tests/sdk/setup oidc`; where they are not there, the test says so and is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{PASSWORD, ServedConsole};

#[test]
fn a_browser_visits_each_page_narrow_and_wide_light_and_dark_and_has_nothing_to_complain_of() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let listed = Command::new(folder.join("setup")).args(["--list", "oidc"]).output().unwrap();
    if !String::from_utf8_lossy(&listed.stdout).contains("oidc-provider") {
        println!("skipped: a browser for the console: not installed; `tests/sdk/setup oidc` says why");
        return;
    }
    let cache = std::env::var_os("TIDEGATE_SDK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/sdk"),
        PathBuf::from,
    );
    let served = ServedConsole::open();
    let entry = served.admin.get("/api/v1/quarantine")["entries"][0]["id"].clone();
    super::functions::pushed(&served, "one");
    let component = served.workspace.path().join("crm.component.wasm");
    std::fs::write(&component, super::functions::component_of("two")).unwrap();
    let asked = json!({
        "admin": format!("http://{}", served.server.admin),
        "events": served.server.url(),
        "key": served.server.key,
        "name": "root",
        "password": PASSWORD,
        "component": component.display().to_string(),
        "pages": ["/", "/live", "/trace?message_id=hostile", "/sources", "/sources/web", "/syncs", "/quarantine",
            format!("/quarantine/entries/{entry}"), "/functions", "/functions/crm", "/function-editor?name=mine", "/audit",
            "/contracts", "/destinations", "/destinations/warehouse", "/new/destination?kind=plugin&plugin=slack",
            "/syncs/web-to-warehouse", "/new/sync", "/new/contract?source=web&type=track&name=Sold", "/replay", "/alerts",
            "/alerts/new", "/sql?sql=SELECT+1", "/people", "/drafts", "/privacy"],
    });
    let mut command = Command::new("node");
    command.arg(folder.join("console/visit.mjs")).arg(asked.to_string());
    command.env("NODE_PATH", cache.join("oidc/node_modules"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["said"], json!([]), "{seen}");
    assert_eq!(seen["too_wide"], json!([]), "{seen}");
    assert_eq!(seen["too_pale"], json!([]), "{seen}");
    assert_eq!(seen["hidden"], json!([]), "{seen}");
    assert_eq!(seen["axe"], json!([]), "{seen}");
    // Each page in two widths and two colours.
    assert_eq!(seen["visits"], 26 * 4, "{seen}");
    assert_eq!(seen["live"], "<img src=x onerror=alert(1)>", "{seen}");
    assert_eq!(seen["paused"], true, "{seen}");
    assert_eq!(seen["palette"], "/sources", "{seen}");
    assert_eq!(seen["updated"], true, "{seen}");
    assert_eq!(seen["editor"], "Line 2, column 3. Ctrl+Enter tries it.", "{seen}");
    assert_eq!(seen["uploaded"], "/functions/crm", "{seen}");
    assert_eq!(seen["without_script"], true, "{seen}");
    assert_eq!(seen["made_without_script"], "/destinations/plain", "{seen}");
    assert_eq!(seen["made_by_keys"], "/destinations/keys", "{seen}");
    assert_eq!(seen["sql"], "<b>", "{seen}");
    assert_eq!(seen["keys"], "/people", "{seen}");
    served.server.stop();
}
