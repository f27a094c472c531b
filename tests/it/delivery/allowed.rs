//! What the sender of an event and the person it is about allow: `integrations` and consent. The warehouse keeps all.

use serde_json::{Value, json};

use super::{Route, event, ids};
use crate::support::far::{Act, Far};
use crate::support::request;

fn with(id: &str, field: &str, value: Value) -> Value {
    // What one of them says of consent is nothing to the others.
    let mut event = event(id, &format!("of {id}"), json!({}));
    event[field] = value;
    event
}

#[test]
fn integrations_and_consent_are_obeyed_and_what_they_filter_is_counted() {
    let far = Far::new(|_| Act::status(200));
    let route = Route::with(&far, |manifest| manifest["integrations"] = json!(["Courier Cloud 9"]), "");
    route.workspace.write(
        "syncs/web-to-crm.yaml",
        "source: web\ndestination: crm\nconsent:\n  categories: [Advertising, Analytics]\n  without: filter\n",
    );
    // A warehouse keeps every event that its own filter takes.
    route.workspace.append("syncs/web-to-warehouse.yaml", "\nfilter: {types: [track]}\n");
    let server = route.workspace.serve();
    let consent = json!({"consent": {"categoryPreferences": {"Advertising": true, "Analytics": true, "Other": false}}});
    let integrations = [
        ("plain", json!({}), true),
        ("all", json!({"All": true}), true),
        ("none", json!({"All": false}), false),
        ("only", json!({"All": false, "Courier": {"option": 1}}), true),
        ("by-name-of-the-file", json!({"CRM": false}), false),
        ("by-name-of-the-tool", json!({"courier_cloud_9 (Actions)": false}), false),
        ("another", json!({"Slack": false}), true),
    ];
    let mut events: Vec<Value> =
        integrations.iter().map(|(id, integrations, _)| with(id, "integrations", integrations.clone())).collect();
    for event in &mut events {
        event["context"] = consent.clone();
    }
    let preferences = |preferences| json!({"consent": {"categoryPreferences": preferences}});
    events.push(with("refused", "context", preferences(json!({"Advertising": true, "Analytics": false}))));
    events.push(with("half", "context", preferences(json!({"Advertising": true}))));
    events.push(with("silent", "context", json!({})));
    let body = json!({"batch": events}).to_string();
    assert_eq!(server.post("/v1/batch", body).status, 200);
    // A batch's own `integrations` hold for its events that say nothing.
    let late = json!({"batch": [with("late", "context", consent)], "integrations": {"All": false}}).to_string();
    assert_eq!(server.post("/v1/batch", late).status, 200);
    // The values of a pixel are texts.
    let allowed =
        "context.consent.categoryPreferences.Advertising=true&context.consent.categoryPreferences.Analytics=true";
    for (id, more) in
        [("pixel-none", "integrations.All=false&"), ("pixel", ""), ("pixel-all", "integrations.All=true&")]
    {
        let path = format!("/pixel/v1/track?writeKey={}&messageId={id}&event=Bought&{more}{allowed}", server.key);
        assert_eq!(request(&server.address, "GET", &path, &[], b"").status, 200);
    }
    let sync = route.wait_for_end(14);
    assert_eq!((&sync["delivered"], &sync["filtered"]), (&json!(6), &json!(8)), "{sync}");
    server.stop();
    let mut got = ids(&far.seen());
    got.sort();
    let mut want: Vec<&str> = integrations.iter().filter(|(.., goes)| *goes).map(|(id, ..)| *id).collect();
    want.extend(["pixel", "pixel-all"]);
    want.sort_unstable();
    assert_eq!(got, want);
    assert_eq!(route.workspace.warehouse().count("bought"), 14, "the warehouse keeps every event");
}
