//! The order of one user's events, and a stuck user who blocks nobody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Route, event, send};
use crate::support::far::{Act, Far};

/// What the far side took, by user, in its order.
type Taken = Arc<Mutex<HashMap<String, Vec<u64>>>>;

fn far(refuses: impl Fn(&Value) -> bool + Send + Sync + 'static) -> (Far, Taken) {
    let taken: Taken = Arc::default();
    let shared = Arc::clone(&taken);
    let far = Far::new(move |received| {
        let body = received.json();
        let events = body.as_array().unwrap();
        if events.iter().any(&refuses) {
            return Act::status(503);
        }
        for event in events {
            let user = event["userId"].as_str().unwrap().to_owned();
            shared.lock().unwrap().entry(user).or_default().push(event["properties"]["n"].as_u64().unwrap());
        }
        Act::status(200)
    });
    (far, taken)
}

fn route(far: &Far) -> Route {
    let route = Route::with(
        far,
        |manifest| {
            manifest["order"] = json!("user");
            manifest["batch"] = json!({"events_max": 7, "age_max": "5 ms"});
        },
        "",
    );
    route.setting("per_request", "1");
    route
}

#[test]
fn visitors_who_have_not_logged_in_are_not_one_user() {
    let (far, _) = far(|event| event["anonymousId"] == "stuck");
    let route = route(&far);
    let server = route.workspace.serve();
    let visit = |n: u64, visitor: &str| {
        let user = if n.is_multiple_of(2) { "" } else { "  " };
        let mut event = event(&format!("{visitor}-{n}"), user, json!({"n": n}));
        event["anonymousId"] = visitor.into();
        event
    };
    let events: Vec<Value> = (0..5).flat_map(|n| ["stuck", "ann", "bob"].map(|visitor| visit(n, visitor))).collect();
    send(&server, &events);
    let sync = route.wait("the others are through", |sync| sync["delivered"] == 10);
    assert_eq!(sync["pending"], 5, "{sync}");
    server.stop();
}

#[test]
fn a_stuck_user_keeps_the_order_and_blocks_nobody() {
    let healed = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&healed);
    let (far, taken) = far(move |event| {
        event["userId"] == "stuck" && event["properties"]["n"].as_u64() >= Some(3) && !well.load(Ordering::SeqCst)
    });
    let route = route(&far);
    let server = route.workspace.serve();
    let of_all = |range: std::ops::Range<u64>| -> Vec<Value> {
        range
            .flat_map(|n| ["ann", "stuck", "bob"].map(|user| event(&format!("{user}-{n}"), user, json!({"n": n}))))
            .collect()
    };
    send(&server, &of_all(0..10));
    send(&server, &of_all(10..20));
    route.wait("the others are through", |sync| sync["delivered"].as_u64() >= Some(40));
    let sync = route.wait("the stuck one waits", |sync| sync["pending"] == 17);
    assert_eq!(sync["delivered"], 43, "{sync}");
    let all: Vec<u64> = (0..20).collect();
    {
        let taken = taken.lock().unwrap();
        assert_eq!((&taken["ann"], &taken["bob"], &taken["stuck"][..]), (&all, &all, &all[..3]));
    }
    healed.store(true, Ordering::SeqCst);
    route.wait_for_end(60);
    assert_eq!(taken.lock().unwrap()["stuck"], all);
    server.stop();
}

#[test]
fn who_travels_with_a_stuck_user_gets_through_in_the_end() {
    let (far, taken) = far(|event| event["userId"] == "stuck");
    let route = route(&far);
    // All of a batch in one request, which the far side refuses as a whole.
    route.setting("per_request", "50");
    let server = route.workspace.serve();
    let users = ["ann", "stuck", "bob"];
    let events = (0..8).flat_map(|n| users.map(|user| event(&format!("{user}-{n}"), user, json!({"n": n}))));
    send(&server, &events.collect::<Vec<_>>());
    route.wait("the others are through", |sync| sync["delivered"] == 16 && sync["pending"] == 8);
    let all: Vec<u64> = (0..8).collect();
    let taken = taken.lock().unwrap();
    assert_eq!((&taken["ann"], &taken["bob"], taken.get("stuck")), (&all, &all, None));
    server.kill();
}

#[test]
fn the_order_outlives_a_kill() {
    let healed = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&healed);
    let (far, taken) = far(move |event| event["properties"]["n"] == 2 && !well.load(Ordering::SeqCst));
    let route = route(&far);
    let server = route.workspace.serve();
    send(&server, &(0..6).map(|n| event(&format!("m{n}"), "u", json!({"n": n}))).collect::<Vec<_>>());
    route.wait("four wait", |sync| sync["pending"] == 4);
    server.kill();
    let server = route.workspace.serve();
    send(&server, &[event("m6", "u", json!({"n": 6}))]);
    route.wait("it gets in line", |sync| sync["pending"] == 5);
    healed.store(true, Ordering::SeqCst);
    route.wait_for_end(7);
    assert_eq!(taken.lock().unwrap()["u"], [0, 1, 2, 3, 4, 5, 6]);
    server.stop();
}
