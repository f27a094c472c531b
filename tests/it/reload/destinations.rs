//! Destination plugins that change: what is pending goes on under what is new, and one that cannot run holds nobody else up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;

use super::{Reloading, changed, syncs};
use crate::delivery::Route;
use crate::support::far::{Act, Far};
use crate::support::tls::TlsFront;

/// The same destination with another text in the place of one.
fn replace(running: &Reloading, from: &str, to: &str) {
    let path = running.workspace.path().join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn send(running: &Reloading, id: &str) {
    assert_eq!(running.page(&running.workspace.write_key, id), 200);
}

#[test]
fn what_is_pending_goes_on_to_where_the_destination_is_now() {
    let (away, there) = (Far::new(|_| Act::status(503)), Far::new(|_| Act::status(200)));
    let running = Reloading::of(Route::new(&away).workspace);
    send(&running, "a");
    running.wait("it is pending", |status| status["syncs"]["web-to-crm"]["pending"] == 1);
    replace(&running, &away.origin(), &there.origin());
    let answer = running.settle();
    assert_eq!(changed(&answer), ["changed destination crm"], "{answer:#}");
    assert!(!answer.to_string().contains("hunter2"), "{answer}");
    running.wait("it arrives", |status| {
        let sync = &status["syncs"]["web-to-crm"];
        sync["delivered"] == 1 && sync["pending"] == 0
    });
    send(&running, "b");
    running.wait_for_delivered("web-to-crm", 2);
    running.wait_for_delivered("web-to-warehouse", 2);
    running.server.stop();
    assert_eq!(crate::delivery::ids(&there.seen()), ["a", "b"]);
}

#[test]
fn one_that_refuses_its_settings_goes_on_as_before_and_says_so() {
    let far = Far::new(|_| Act::status(200));
    let origin = far.origin();
    // The schema does without the setting, and the guest does not.
    let change = |manifest: &mut serde_json::Value| {
        manifest["settings"]["required"] = json!([]);
        manifest["hosts"] = json!([origin]);
    };
    let route = Route::with(&far, change, "");
    let running = Reloading::of(route.workspace);
    send(&running, "a");
    running.wait_for_delivered("web-to-crm", 1);
    replace(&running, &format!("  endpoint: {origin}\n"), "");
    let answer = running.reload();
    let behind = answer["behind"].as_array().unwrap();
    assert_eq!(behind.len(), 1, "{answer:#}");
    assert_eq!((&behind[0]["kind"], &behind[0]["key"]), (&json!("destination"), &json!("crm")), "{answer:#}");
    assert!(behind[0]["running"].as_u64() < behind[0]["wanted"].as_u64(), "{answer:#}");
    assert!(behind[0]["error"].as_str().unwrap().contains("endpoint"), "{answer:#}");
    assert_eq!(running.configuration()["objects"], answer["behind"]);
    send(&running, "b");
    running.wait_for_delivered("web-to-crm", 2);
    replace(&running, "settings:\n", &format!("settings:\n  endpoint: {origin}\n"));
    let answer = running.settle();
    assert_eq!(answer["behind"], json!([]), "{answer:#}");
    send(&running, "c");
    running.wait_for_delivered("web-to-crm", 3);
    running.server.stop();
}

#[test]
fn a_certificate_that_changed_reopens_its_destination() {
    let far = Far::new(|_| Act::status(200));
    let fronts =
        [TlsFront::before(([127, 0, 0, 1], far.port).into()), TlsFront::before(([127, 0, 0, 1], far.port).into())];
    let route = Route::with(&far, |_| {}, "ca_file: ca.pem\n");
    let path = route.workspace.path();
    let file = path.join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&far.origin(), &fronts[0].url()).replace("[127.0.0.1]", "[localhost]")).unwrap();
    // That of another authority.
    std::fs::copy(fronts[1].ca_file(), path.join("ca.pem")).unwrap();
    let running = Reloading::of(route.workspace);
    send(&running, "a");
    running.wait("it is pending", |status| status["syncs"]["web-to-crm"]["pending"] == 1);
    std::fs::copy(fronts[0].ca_file(), path.join("ca.pem")).unwrap();
    assert_eq!(running.configuration()["files_differ"], json!(["ca.pem"]));
    let answer = running.settle();
    assert_eq!(answer["changed"][0]["inputs"], json!(["file ca.pem"]), "{answer:#}");
    running.wait_for_delivered("web-to-crm", 1);
    assert_eq!(running.configuration()["files_differ"], json!([]));
    running.server.stop();
}

#[test]
fn a_destination_that_has_stopped_is_tried_again_by_a_reload() {
    let status = Arc::new(AtomicU16::new(402));
    let answers = Arc::clone(&status);
    let far = Far::new(move |_| Act::status(answers.load(Ordering::SeqCst)));
    let running = Reloading::of(Route::new(&far).workspace);
    send(&running, "a");
    running.wait("it has stopped, or tries again", |status| {
        let sync = &status["syncs"]["web-to-crm"];
        sync["failure"].is_string() || sync["pending"] == 1 || sync["notices"] != json!([])
    });
    status.store(200, Ordering::SeqCst);
    let answer = running.reload();
    assert_eq!((changed(&answer), syncs(&answer)), (vec![], vec![]), "{answer:#}");
    running.wait_for_delivered("web-to-crm", 1);
    running.server.stop();
}
