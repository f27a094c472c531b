//! Credentials that go stale, and destinations that stop.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{Route, event, send};
use crate::support::far::{Act, Far};

#[test]
fn a_stale_token_is_fetched_anew_and_the_events_arrive() {
    let tokens = AtomicUsize::new(0);
    let far = Far::new(move |received| match received.path.as_str() {
        "/token" => {
            let n = tokens.fetch_add(1, Ordering::SeqCst);
            Act::Reply(
                200,
                Vec::new(),
                json!({"access_token": format!("t{n}-secret-token"), "expires_in": 3600}).to_string().into(),
            )
        }
        _ if received.header("authorization") == Some("Bearer t0-secret-token") => Act::status(401),
        _ => Act::status(200),
    });
    let token_url = format!("{}/token", far.origin());
    let route = Route::with(
        &far,
        |manifest| {
            let properties = &mut manifest["settings"]["properties"];
            properties["id"] = json!({"type": "string", "secret": true});
            properties["secret"] = json!({"type": "string", "secret": true});
            manifest["authentication"] = json!({"kind": "oauth2_client_credentials", "token_url": token_url,
                "client_id": "id", "client_secret": "secret"});
        },
        "",
    );
    route.setting("id", "the-client");
    route.setting("secret", "the-secret");
    let server = route.workspace.serve();
    send(&server, &[event("m", "u", json!({}))]);
    assert_eq!(route.wait_for_end(1)["delivered"], 1);
    let paths: Vec<String> = far.seen().into_iter().map(|received| received.path).collect();
    assert_eq!(paths, ["/token", "/events", "/token", "/events"]);
    server.stop();
}

#[test]
fn a_destination_that_asks_for_it_stops_and_says_so_and_loses_nothing() {
    let far = Far::new(|_| Act::status(402));
    let route = Route::new(&far);
    let server = route.workspace.serve();
    send(&server, &[event("m0", "u", json!({}))]);
    let sync = route.wait("it says why", |sync| !sync["failure"].is_null());
    let failure = sync["failure"].as_str().unwrap();
    assert!(failure.contains("pay the bill") && failure.contains("tidegate reload"), "{failure}");
    assert_eq!(sync["pending"], 1);
    send(&server, &[event("m1", "u", json!({}))]);
    route.wait("the log keeps what comes", |sync| sync["lag"] == 1);
    assert_eq!(far.seen().len(), 1, "a stopped destination is left alone");
    server.kill();
    // Somebody paid.
    drop(far);
    let far = Far::new(|_| Act::status(200));
    let path = route.workspace.path().join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let old = text.split("endpoint: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    std::fs::write(path, text.replace(&old, &far.origin())).unwrap();
    let server = route.workspace.serve();
    assert_eq!(route.wait_for_end(2)["delivered"], 2);
    server.stop();
}
