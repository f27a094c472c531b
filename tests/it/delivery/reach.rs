//! `check --connect` connects to where a plugin may send, and sends nothing.

use serde_json::Value;

use super::Route;
use crate::support::far::{Act, Far};
use crate::support::run;

/// What it says of the plugin, and whether that is fine.
fn said(route: &Route) -> (bool, String) {
    let output = run(&["check", route.workspace.path().to_str().unwrap(), "--connect", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let ours = answer["destinations"].as_array().unwrap().iter().find(|tried| tried["destination"] == "crm").unwrap();
    assert_eq!(output.status.success(), ours["ok"] == true, "{answer}");
    (ours["ok"] == true, ours["says"].as_str().unwrap().to_owned())
}

/// Sends to `origin` from now on, and the workspace grants its host.
fn move_to(route: &Route, far: &Far, origin: &str) {
    let path = route.workspace.path().join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace(&far.origin(), origin);
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_plugin_that_reaches_its_places_is_fine_and_nothing_is_sent() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let (ok, says) = said(&route);
    assert!(ok && says.contains(&format!("{} can be reached, and nothing was sent", far.origin())), "{says}");
    assert!(!says.contains("not set"), "{says}");
    route.setting("key", "\"\"");
    let (ok, says) = said(&route);
    assert!(ok && says.contains("the secret key is not set"), "{says}");
    assert!(far.seen().is_empty());
}

#[test]
fn what_is_in_the_way_is_told() {
    for (origin, words) in [
        ("http://127.0.0.1:1", "refuses connections on port 1"),
        ("http://no-such-host.invalid:80", "the name no-such-host.invalid is not known"),
    ] {
        let far = Far::new(|_| Act::status(200));
        let route = Route::new(&far);
        move_to(&route, &far, origin);
        let (ok, says) = said(&route);
        assert!(!ok && says.contains(words), "{origin}: {says}");
    }
    // It answers, but not in TLS.
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    move_to(&route, &far, &far.origin().replace("http:", "https:"));
    let (ok, says) = said(&route);
    assert!(!ok && says.contains("does not speak TLS"), "{says}");
}
