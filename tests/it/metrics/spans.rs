//! A request is followed from the `traceparent` of its client to the row.

use serde_json::{Value, json};

use crate::support::far::{Act, Far};
use crate::support::waiting::seldom;
use crate::support::{Server, Workspace, basic, request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

/// A workspace whose spans go to a collector.
fn workspace(collector: &Far, more: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", &format!("traces:\n  endpoint: {}\n{more}", collector.origin()));
    workspace
}

fn send(server: &Server, traceparent: &str, id: &str) {
    let key = basic(&server.key);
    let headers = [("authorization", key.as_str()), ("traceparent", traceparent)];
    let body = format!(r#"{{"type":"page","messageId":"{id}","userId":"ann"}}"#);
    let reply = request(&server.address, "POST", "/v1/page", &headers, body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The spans that a collector has got.
fn spans(collector: &Far) -> Vec<Value> {
    let bodies = collector.seen().into_iter().map(|received| received.json());
    let resources = bodies.flat_map(|body| body["resourceSpans"].as_array().cloned().unwrap_or_default());
    let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().cloned().unwrap_or_default());
    scopes.flat_map(|scope| scope["spans"].as_array().cloned().unwrap_or_default()).collect()
}

/// What a span says under this name.
fn attribute<'s>(span: &'s Value, name: &str) -> &'s str {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|attribute| attribute["key"] == name);
    let value = &found.unwrap_or_else(|| panic!("no {name} in {span}"))["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).unwrap()
}

#[test]
fn a_request_is_followed_from_the_trace_of_its_client_to_the_row() {
    let collector = Far::new(|_| Act::status(200));
    let more = "  share_percent: 0\n  service_name: shop\n  headers: {x-key: hunter2hunter2}\n";
    let workspace = workspace(&collector, more);
    let server = workspace.serve();
    send(&server, &format!("00-{TRACE}-{CLIENT_SPAN}-00"), "not-sampled");
    send(&server, &format!("00-{TRACE}-{CLIENT_SPAN}-01"), "sampled");
    let found = seldom("the spans of the way are there", || {
        let found = spans(&collector);
        if found.len() >= 3 { Ok(found) } else { Err(format!("{found:?}")) }
    });
    server.stop();
    let named = |name: &str| {
        let span = found.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert_eq!(span["traceId"], TRACE, "{span}");
        assert!(span["startTimeUnixNano"].as_str().unwrap().len() == 19, "{span}");
        span
    };
    let (accept, refine, deliver) = (named("accept"), named("refine"), named("deliver"));
    assert_eq!((&accept["parentSpanId"], &accept["kind"]), (&json!(CLIENT_SPAN), &json!(2)));
    assert_eq!(attribute(accept, "tidegate.source"), "web");
    for span in [refine, deliver] {
        assert_eq!(span["parentSpanId"], accept["spanId"], "{span}");
        assert_eq!(attribute(span, "messaging.message.id"), "sampled");
        assert_eq!(attribute(span, "messaging.batch.message_count"), "1");
    }
    assert_eq!(attribute(deliver, "tidegate.sync"), "web-to-warehouse");
    let received = collector.seen().remove(0);
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/v1/traces"));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("x-key"), Some("hunter2hunter2"));
    let body = received.json();
    assert_eq!(attribute(&body["resourceSpans"][0]["resource"], "service.name"), "shop");
    assert_eq!(spans(&collector).len(), 3, "the other request is not followed");
}

#[test]
fn a_collector_that_is_away_holds_nobody_up_and_what_it_has_missed_is_counted() {
    let collector = Far::new(|_| Act::status(503));
    let workspace = workspace(&collector, "  share_percent: 100\nmetrics:\n  open: true\n");
    let server = workspace.serve();
    assert_eq!(server.batch(&[json!({"type": "page", "messageId": "a"})]).status, 200);
    seldom("the spans are counted as dropped", || {
        let text = request(&server.admin, "GET", "/metrics", &[], b"").text();
        let has = |line: &str| text.lines().any(|found| found == line);
        if has("tidegate_spans_dropped_total 3") && has("tidegate_spans_sent_total 0") {
            Ok(())
        } else {
            Err(text.clone())
        }
    });
    server.stop();
    assert_eq!(workspace.warehouse().count("pages"), 1);
}
