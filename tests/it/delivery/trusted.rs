//! A tool behind a company's own authority.

use serde_json::Value;

use super::{Route, event, send};
use crate::support::far::{Act, Far};
use crate::support::run;
use crate::support::tls::TlsFront;

#[test]
fn a_tool_behind_a_company_s_authority_is_sent_to_when_the_authority_is_named() {
    let far = Far::new(|_| Act::status(200));
    let front = TlsFront::before(([127, 0, 0, 1], far.port).into());
    let route = Route::new(&far);
    let path = route.workspace.path();
    let file = path.join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(&far.origin(), &front.url()).replace("[127.0.0.1]", "[localhost]");
    std::fs::write(&file, text).unwrap();
    std::fs::copy(front.ca_file(), path.join("ca.pem")).unwrap();
    let check = || {
        let output = run(&["check", path.to_str().unwrap(), "--connect", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = answer["destinations"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        all.into_iter().find(|tried| tried["destination"] == "crm").unwrap()["says"].as_str().unwrap().to_owned()
    };
    let says = check();
    assert!(says.contains("is not trusted") && says.contains("`ca_file`"), "{says}");

    // What cannot be sent is pending, with the reason.
    let server = route.workspace.serve();
    send(&server, &[event("m-1", "u", serde_json::json!({}))]);
    route.wait("the event is pending", |sync| sync["pending"] == 1);
    server.stop();
    assert!(far.seen().is_empty(), "nothing was sent to a tool that nobody vouches for");

    route.workspace.append("destinations/crm.yaml", "ca_file: ca.pem\n");
    assert!(check().contains("can be reached"), "{}", check());
    let server = route.workspace.serve();
    route.wait("the event is delivered", |sync| sync["delivered"] == 1);
    server.stop();
    assert!(far.seen().iter().any(|received| received.text().contains("m-1")));

    // The workspace's word for all does it too.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("ca_file: ca.pem\n", "")).unwrap();
    route.workspace.append("tidegate.yaml", "net:\n  ca_file: ca.pem\n");
    assert!(check().contains("can be reached"), "{}", check());
}
