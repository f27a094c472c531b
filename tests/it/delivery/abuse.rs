//! Plugins that want what they must not have. Each attack rides between two honest events, which arrive.

use serde_json::{Value, json};

use super::{Route, event, ids, send};
use crate::support::far::{Act, Far};

/// Sends one attack between honest neighbours; returns what was quarantined for it.
fn attack(route: &Route, far: &Far, properties: Value) -> Value {
    let server = route.workspace.serve();
    let before = route.sync()["cursor"].as_u64().unwrap_or(0);
    let name = |what: &str| format!("{what}{before}");
    let events =
        [event(&name("a"), "u", json!({})), event(&name("evil"), "u", properties), event(&name("b"), "u", json!({}))];
    send(&server, &events);
    route.wait("it ends", |sync| {
        sync["lag"] == 0 && sync["pending"] == 0 && sync["cursor"].as_u64() == Some(before + 3)
    });
    let seen = ids(&far.seen());
    assert!(seen.contains(&name("a")) && seen.contains(&name("b")), "the neighbours arrive: {seen:?}");
    server.kill();
    route.quarantine().remove(&name("evil")).unwrap_or_else(|| panic!("the attack was not quarantined"))
}

#[test]
fn a_plan_that_lies_or_explodes_is_one_events_fault() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    for (attack_name, code, part) in [
        // The function that panicked, and none of the way from there through the library.
        ("panic", "trap", "destination"),
        ("loop", "cpu-budget", ""),
        ("fatal", "batch-fatal", "cannot be planned"),
        ("forget", "bad-plan", "forgets event 0"),
        ("twice", "bad-plan", "two places"),
        ("stray", "bad-plan", "names event 1000000"),
        ("many", "plan-too-large", "202 requests"),
        ("flood", "output-limit", ""),
        ("bomb", "output-limit", ""),
    ] {
        let entry = attack(&route, &far, json!({"attack": attack_name}));
        // Of a million requests the host may see too many bytes, or too much time gone.
        let fine = entry["code"] == code || (code == "output-limit" && entry["code"] == "cpu-budget");
        assert!(fine, "{attack_name}: {entry}");
        let message = entry["message"].as_str().unwrap();
        assert!(message.contains(part) && !message.contains("std[") && !message.contains("__rustc"), "{entry}");
    }
    assert!(far.seen().iter().all(|received| !received.text().contains("evil")), "nothing of an attack was sent");
}

#[test]
fn a_url_leads_nowhere_but_where_it_may() {
    let inside = Far::new(|_| Act::status(200));
    let target = format!("{}/latest/meta-data", inside.origin());
    let far = Far::new(move |received| match received.path.as_str() {
        "/redirect" => Act::Reply(302, vec![("location", target.clone())], Vec::new()),
        _ => Act::status(200),
    });
    let origin = far.origin();
    // Whatever the manifest asks for, addresses and secrets have rules of their own.
    let route = Route::with(
        &far,
        |manifest| {
            manifest["hosts"] = json!([
                "{{settings.endpoint}}",
                "https://*.example.com",
                "http://localhost:9",
                "https://169.254.169.254"
            ]);
        },
        "",
    );
    let file = route.workspace.path().join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = crate::support::run(&["check", route.workspace.path().to_str().unwrap()]);
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    // What can be foreseen is refused before the server starts, with the line and the fix.
    let (fine, said) = check(&text);
    assert!(
        !fine && said.contains("169.254.169.254") && said.contains("allow_hosts") && said.contains("crm.yaml:"),
        "{said}"
    );
    let granted = text.replace(
        &format!("allow_hosts: [\"{origin}\"]"),
        &format!("allow_hosts: [\"{origin}\", \"https://*.example.com\", \"http://localhost:9\", \"https://169.254.169.254\"]"),
    );
    let (fine, said) = check(&granted);
    assert!(!fine && said.contains("allow_private_hosts: [\"169.254.169.254\"]"), "{said}");
    let manifest = |hosts: Value| {
        let mut manifest = super::manifest();
        manifest["hosts"] = hosts;
        let component = crate::support::guests::destination("hostile/destination", &manifest);
        std::fs::write(route.workspace.path().join("courier.wasm"), component).unwrap();
    };
    manifest(json!(["{{settings.endpoint}}", "https://*.example.com", "http://localhost:9"]));
    let granted = granted.replace(", \"https://169.254.169.254\"", "");
    let (fine, said) = check(&granted);
    assert!(fine, "{said}");
    for (url, code) in [
        ("http://localhost:9/".to_owned(), "private-address"),
        (format!("http://127.0.0.1:{}/", inside.port), "host-not-asked"),
        (format!("http://[::ffff:127.0.0.1]:{}/", inside.port), "host-not-asked"),
        (format!("http://2130706433:{}/", inside.port), "host-not-asked"),
        (format!("{}@127.0.0.1:{}/", origin, inside.port), "bad-url"),
        ("http://api.example.com/".to_owned(), "host-not-asked"),
        ("https://example.com/".to_owned(), "host-not-asked"),
        ("https://{{secret.key}}.example.com/".to_owned(), "secret-in-event"),
        ("file:///etc/passwd".to_owned(), "bad-url"),
        (format!("{origin}/redirect"), "refused"),
        (format!("{origin}/{}", "x".repeat(9_000)), "url-too-long"),
    ] {
        let entry = attack(&route, &far, json!({"attack": "url", "url": url}));
        assert_eq!(entry["code"], code, "{url}: {entry}");
    }
    assert!(inside.seen().is_empty());
}

#[test]
fn a_body_that_is_no_json_costs_the_event_that_made_it_so_and_none_of_its_neighbours() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let server = route.workspace.serve();
    let attacked = |n: usize| if n == 23 { json!({"attack": "infinite"}) } else { json!({"n": n}) };
    let events: Vec<Value> = (0..40).map(|n| event(&format!("m-{n}"), "", attacked(n))).collect();
    send(&server, &events);
    route.wait_for_end(40);
    server.stop();
    assert_eq!(ids(&far.seen()).len(), 39);
    assert!(
        far.seen().iter().all(|received| !received.text().contains("Infinity")),
        "it was refused before it was sent"
    );
    let quarantine = route.quarantine();
    let (id, entry) = quarantine.first_key_value().unwrap();
    assert_eq!((quarantine.len(), id.as_str(), entry["code"].as_str()), (1, "m-23", Some("body-not-json")));
    let message = entry["message"].as_str().unwrap();
    assert!(message.contains("application/json") && message.contains("it says \"Infinity"), "{message}");
}

#[test]
fn headers_and_bodies_hold_what_they_may() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    for (properties, code) in [
        (json!({"attack": "header", "name": "host", "value": "evil"}), "header-forbidden"),
        (json!({"attack": "header", "name": "transfer-encoding", "value": "chunked"}), "header-forbidden"),
        (json!({"attack": "header", "name": "x-a", "value": "b\r\nx-c: d"}), "bad-header"),
        (json!({"attack": "header", "name": "x-key", "value": "{{secret.key}}"}), "secret-in-event"),
        (json!({"attack": "body", "type": "application/json", "body": "{{secret.key}}"}), "secret-in-event"),
    ] {
        let entry = attack(&route, &far, properties.clone());
        assert_eq!(entry["code"], code, "{properties}: {entry}");
    }
    let seen: String =
        far.seen().iter().map(|received| format!("{} {:?}", received.text(), received.headers)).collect();
    assert!(!seen.contains("evil"), "{seen}");
}

#[test]
fn a_guest_signs_with_a_key_that_it_never_sees() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::new(&far);
    let server = route.workspace.serve();
    send(
        &server,
        &[
            event("m", "u", json!({"attack": "sign", "key": "key", "data": "hello"})),
            event("n", "u", json!({"attack": "sign", "key": "other"})),
        ],
    );
    route.wait_for_end(2);
    let mut macs: Vec<String> =
        far.seen().iter().map(|received| received.header("x-mac").unwrap().to_owned()).collect();
    macs.sort();
    let want: String =
        tidegate_net::outbound::mac(tidegate_net::outbound::SigningDigest::Sha256, b"hunter2hunter2", b"hello")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
    assert!(macs.contains(&want), "{macs:?}");
    assert!(macs.iter().any(|mac| mac.contains("there is no secret")), "{macs:?}");
    server.stop();
}

#[test]
fn an_answer_that_breaks_the_plugin_is_for_people_to_read() {
    let far = Far::new(|received| {
        if received.text().contains("\"trap\"") {
            return Act::Reply(200, Vec::new(), b"{\"trap\": true}".to_vec());
        }
        if received.text().contains("\"stray\"") {
            return Act::Reply(200, Vec::new(), b"{\"stray\": true}".to_vec());
        }
        Act::status(200)
    });
    let route = Route::new(&far);
    let server = route.workspace.serve();
    send(&server, &[event("m", "u", json!({"say": "trap"}))]);
    route.wait_for_end(1);
    send(&server, &[event("n", "u", json!({"say": "stray"}))]);
    route.wait_for_end(2);
    assert_eq!((route.code("m").as_str(), route.code("n").as_str()), ("trap", "bad-verdict"));
    assert_eq!(route.quarantine()["m"]["detail"]["response"]["status"], 200);
    server.stop();
}
