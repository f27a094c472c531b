//! The far side refuses a whole request and names nobody; the plugin says `bisect`.

use serde_json::json;

use super::{Route, event, ids, send};
use crate::support::far::{Act, Far};

/// A far side that takes no request with a bad event in it.
fn strict() -> Far {
    Far::new(|received| Act::status(if received.text().contains("\"bad\":true") { 422 } else { 200 }))
}

/// A plugin that sends up to 50 events in a request. A try that failed would wait for minutes.
fn route(far: &Far, order: &str) -> Route {
    let route = Route::with(
        far,
        |manifest| {
            manifest["order"] = order.into();
            manifest["batch"] = json!({"events_max": 50, "age_max": "200 ms"});
            manifest["retry"] = json!({"age_max": "10 min", "pause_min": "5 min", "pause_max": "5 min"});
        },
        "",
    );
    route.setting("per_request", "50");
    route
}

/// Ids of all events that the far side took, in their order.
fn taken(far: &Far) -> Vec<String> {
    ids(&far.seen().into_iter().filter(|received| !received.text().contains("\"bad\":true")).collect::<Vec<_>>())
}

#[test]
fn the_event_at_fault_is_found_at_once_and_no_neighbour_waits() {
    let far = strict();
    let route = route(&far, "none");
    let server = route.workspace.serve();
    let events: Vec<_> = (0..40).map(|n| event(&format!("m{n}"), "u", json!({"bad": n == 13}))).collect();
    send(&server, &events);
    let sync = route.wait_for_end(40);
    server.stop();
    assert_eq!((sync["delivered"].as_u64(), sync["quarantined"].as_u64()), (Some(39), Some(1)), "{sync}");
    assert_eq!(route.quarantine().into_keys().collect::<Vec<_>>(), ["m13"]);
    assert_eq!(route.code("m13"), "one-of-them");
    let mut taken = taken(&far);
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 39);
    // Two requests for each halving of 40 events, and the ones that they came in.
    assert!(far.seen().len() <= 2 * 6 + 8, "{} requests", far.seen().len());
}

#[test]
fn halves_keep_the_order_of_a_user() {
    let far = strict();
    let route = route(&far, "user");
    let server = route.workspace.serve();
    let is_bad = |n: u64| matches!(n, 0 | 7 | 8 | 31);
    let events: Vec<_> = (0..32).map(|n| event(&format!("m{n}"), "u", json!({"bad": is_bad(n)}))).collect();
    send(&server, &events);
    let sync = route.wait_for_end(32);
    server.stop();
    assert_eq!((sync["delivered"].as_u64(), sync["quarantined"].as_u64()), (Some(28), Some(4)), "{sync}");
    assert_eq!(taken(&far), (0..32).filter(|n| !is_bad(*n)).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[test]
fn many_at_fault_wait_their_turn_and_all_come_to_an_end() {
    let far = strict();
    let route = Route::with(&far, |manifest| manifest["batch"] = json!({"events_max": 100, "age_max": "200 ms"}), "");
    route.setting("per_request", "100");
    let server = route.workspace.serve();
    let events: Vec<_> = (0..200).map(|n| event(&format!("m{n}"), "u", json!({"bad": n % 10 != 0}))).collect();
    send(&server, &events);
    let sync = route.wait_for_end(200);
    server.stop();
    assert_eq!((sync["delivered"].as_u64(), sync["quarantined"].as_u64()), (Some(20), Some(180)), "{sync}");
    assert!(route.quarantine().values().all(|entry| entry["code"] == "one-of-them"));
}
