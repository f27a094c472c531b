//! Delivered, quarantined, pending: together they are what was accepted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Route, event, ids, send};
use crate::support::far::{Act, Far, Received};

/// A far side that does another bad thing at each request, and takes every event in the end.
fn moody() -> (Far, Arc<Mutex<BTreeMap<String, u64>>>) {
    let taken: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let (requests, shared) = (AtomicU64::new(0), Arc::clone(&taken));
    let far = Far::new(move |received| {
        if received.text().contains("refuse-me") {
            return Act::status(400);
        }
        match requests.fetch_add(1, Ordering::SeqCst) % 9 {
            0 => Act::status(500),
            1 => Act::Reset,
            2 => Act::Reply(429, vec![("retry-after", "0".to_owned())], Vec::new()),
            3 => Act::Broken,
            _ => {
                for id in ids([received]) {
                    *shared.lock().unwrap().entry(id).or_default() += 1;
                }
                Act::status(200)
            }
        }
    });
    (far, taken)
}

#[test]
fn every_event_is_delivered_or_quarantined_with_request_and_answer() {
    let (far, taken) = moody();
    let route = Route::with(&far, |_| {}, "");
    let server = route.workspace.serve();
    let mut events: Vec<_> = (0..400).map(|n| event(&format!("m{n}"), "u", json!({"n": n}))).collect();
    // Each stands in a request with others, which share its outcome: this plugin rejects a request as a whole.
    events.extend((0..3).map(|n| event(&format!("skip{n}"), "u", json!({"attack": "skip"}))));
    events.extend((0..3).map(|n| event(&format!("fail{n}"), "u", json!({"attack": "fail"}))));
    send(&server, &events);
    let sync = route.wait_for_end(406);
    assert_eq!(
        (&sync["delivered"], &sync["quarantined"], &sync["filtered"]),
        (&json!(400), &json!(3), &json!(3)),
        "{sync}"
    );
    assert_eq!(taken.lock().unwrap().len(), 400);
    assert_eq!(route.code("fail1"), "no-email");
    // A refusal is kept with what was asked and answered.
    send(&server, &[event("r", "u", json!({"say": "refuse-me"}))]);
    route.wait_for_end(407);
    let entry = &route.quarantine()["r"];
    assert_eq!(
        (&entry["code"], &entry["stage"], &entry["scope"]),
        (&json!("refused"), &json!("destination"), &json!("web-to-crm"))
    );
    assert_eq!(entry["detail"]["response"]["status"], 400);
    assert!(entry["detail"]["request"]["body"].as_str().unwrap().contains("refuse-me"));
    assert_eq!(entry["detail"]["request"]["headers"]["x-key"], "{{secret.key}}");
    assert!(!entry.to_string().contains("hunter2"), "{entry}");
    assert_eq!(far.seen()[0].header("x-key"), Some("hunter2hunter2"));
    server.stop();
    route.workspace.conserves();
}

#[test]
fn drips_hangs_and_endless_answers_are_retries_and_a_neighbour_does_not_notice() {
    let well = Arc::new(AtomicBool::new(false));
    let (now_well, count) = (Arc::clone(&well), AtomicU64::new(0));
    let far = Far::new(move |_| match (now_well.load(Ordering::SeqCst), count.fetch_add(1, Ordering::SeqCst) % 2) {
        (true, _) => Act::status(200),
        (false, 0) => Act::Drip,
        (false, _) => Act::Hang,
    });
    let route = Route::with(&far, |manifest| manifest["traffic"]["timeout"] = json!("200 ms"), "");
    let server = route.workspace.serve();
    let events: Vec<_> = (0..120).map(|n| event(&format!("m{n}"), "u", json!({"n": n}))).collect();
    send(&server, &events);
    // The warehouse has everything while the far side has nothing.
    let neighbour = |status: &serde_json::Value| status["syncs"]["web-to-warehouse"]["delivered"] == 120;
    route.wait("the neighbour is done", |_| neighbour(&route.workspace.status()));
    let sync = route.wait("all of it waits", |sync| sync["pending"] == 120);
    assert_eq!((&sync["delivered"], &sync["quarantined"], &sync["lag"]), (&json!(0), &json!(0), &json!(0)), "{sync}");
    well.store(true, Ordering::SeqCst);
    let sync = route.wait_for_end(120);
    assert_eq!(sync["delivered"], 120);
    server.stop();
}

#[test]
fn killed_again_and_again_nothing_is_lost_and_nothing_counted_twice() {
    let (far, taken) = moody();
    let route = Route::with(&far, |_| {}, "");
    let mut sent = BTreeSet::new();
    for cycle in 0..6 {
        let points = ["sync_before_cursor=6*off->return", "delivery_before_resolve=3*off->return", ""];
        let point = points[cycle % 3];
        let failpoints = if point.is_empty() { &[] } else { std::slice::from_ref(&points[cycle % 3]) };
        // With what waits from the cycle before, it may die before it is ready.
        let Ok(mut server) = route.workspace.try_serve_with(failpoints) else { continue };
        // The server dies somewhere in here; only what it answered for counts.
        for n in 0.. {
            let id = format!("c{cycle}-{n}");
            let body = json!({"batch": [event(&id, "u", json!({"n": n}))]}).to_string();
            let answer = crate::support::http::try_request(
                &server.address,
                "POST",
                "/v1/batch",
                &[("authorization", &crate::support::basic(&server.key))],
                body.as_bytes(),
            );
            match answer {
                Ok(reply) if reply.status == 200 => drop(sent.insert(id)),
                _ => break,
            }
            if point.is_empty() && n == 40 {
                server.signal("KILL");
            }
        }
        server.wait();
    }
    let server = route.workspace.serve();
    let end = route.workspace.status()["log"]["end"].as_u64().unwrap();
    let sync = route.wait_for_end(end);
    assert_eq!((&sync["quarantined"], &sync["lag"]), (&json!(0), &json!(0)), "{sync}");
    let taken = taken.lock().unwrap();
    for id in &sent {
        assert!(taken.contains_key(id), "{id} was accepted and never came");
    }
    server.stop();
    route.workspace.conserves();
}

#[test]
fn a_dead_destination_fills_its_room_and_the_log_keeps_the_rest() {
    let alive = Arc::new(AtomicBool::new(false));
    let now_alive = Arc::clone(&alive);
    let far = Far::new(move |_| if now_alive.load(Ordering::SeqCst) { Act::status(200) } else { Act::Reset });
    let route = Route::with(&far, |_| {}, "pending:\n  events_max: 100\n");
    let server = route.workspace.serve();
    for n in 0..20 {
        let events: Vec<_> = (0..25).map(|k| event(&format!("m{n}-{k}"), "u", json!({}))).collect();
        send(&server, &events);
        // Batches of their own, so that the bound is met one by one.
        route.wait("taken or waiting", |sync| sync["pending"].as_u64() >= Some((25 * (n + 1)).min(75)));
    }
    let neighbour = |status: &serde_json::Value| status["syncs"]["web-to-warehouse"]["delivered"] == 500;
    route.wait("the neighbour is done", |_| neighbour(&route.workspace.status()));
    let sync = route.sync();
    assert!(sync["pending"].as_u64() <= Some(100) && sync["lag"].as_u64() >= Some(400), "{sync}");
    alive.store(true, Ordering::SeqCst);
    assert_eq!(route.wait_for_end(500)["delivered"], 500);
    server.stop();
}

#[test]
fn what_is_too_old_is_quarantined_with_the_last_answer() {
    let far = Far::new(|_| Act::Reply(503, Vec::new(), b"down for years".to_vec()));
    let route = Route::with(&far, |_| {}, "retry:\n  age_max: 300 ms\n");
    let server = route.workspace.serve();
    send(&server, &[event("m", "u", json!({}))]);
    let sync = route.wait_for_end(1);
    assert_eq!(sync["quarantined"], 1);
    let entry = &route.quarantine()["m"];
    assert_eq!((&entry["code"], &entry["detail"]["response"]["body"]), (&json!("retry-age"), &json!("down for years")));
    assert!(entry["message"].as_str().unwrap().contains("503"), "{entry}");
    server.stop();
}

#[test]
fn of_a_bulk_answer_each_event_has_its_own_outcome() {
    let tries: Mutex<HashMap<String, u64>> = Mutex::default();
    let far = Far::new(move |received: &Received| {
        let mut failed = Vec::new();
        for (at, id) in ids([received]).into_iter().enumerate() {
            let mut tries = tries.lock().unwrap();
            let tries = tries.entry(id.clone()).or_default();
            *tries += 1;
            if id.starts_with("bad") {
                failed.push(json!([at, false]));
            } else if id.starts_with("late") && *tries < 3 {
                failed.push(json!([at, true]));
            }
        }
        Act::Reply(200, Vec::new(), json!({ "failed": failed }).to_string().into_bytes())
    });
    let route = Route::new(&far);
    let server = route.workspace.serve();
    let named = |prefix: &str| (0..4).map(|n| event(&format!("{prefix}{n}"), "u", json!({}))).collect::<Vec<_>>();
    send(&server, &[named("bad"), named("good"), named("late")].concat());
    let sync = route.wait_for_end(12);
    assert_eq!((&sync["delivered"], &sync["quarantined"]), (&json!(8), &json!(4)), "{sync}");
    assert_eq!(route.code("bad3"), "rejected");
    assert_eq!(ids(&far.seen()).iter().filter(|id| *id == "good1").count(), 1);
    assert_eq!(ids(&far.seen()).iter().filter(|id| *id == "late1").count(), 3);
    server.stop();
}
