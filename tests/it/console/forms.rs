//! The forms of contracts, destinations and syncs: what they change, what comes back when something is wrong, and for whom they are not.

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::{NONE, SCRIPT, ServedConsole, made_user, out_of_place, page};
use crate::reliability::drained;
use crate::support::browser::CookieJar;
use crate::support::http::Reply;

const ESCAPED: &str = "&lt;script&gt;alert(1)&lt;/script&gt;";
const SECRET: &str = "hunter2-hunter2";

/// Fields as a browser sends them.
fn fields(pairs: &[(&str, &str)]) -> String {
    let mut fields = Serializer::new(String::new());
    fields.extend_pairs(pairs);
    fields.finish()
}

/// Sends a form; its answer is a whole page with this status.
fn shown(browser: &mut CookieJar, path: &str, pairs: &[(&str, &str)], status: u16) -> String {
    let reply = browser.form(path, &fields(pairs));
    let html = reply.text();
    assert_eq!(reply.status, status, "{path} {pairs:?}: {html}");
    assert_eq!(out_of_place(&html), None, "{path} {pairs:?}: {html}");
    html
}

/// Sends a form, which is done; its answer leads there.
fn done(browser: &mut CookieJar, path: &str, pairs: &[(&str, &str)], to: &str) {
    let reply: Reply = browser.form(path, &fields(pairs));
    assert_eq!((reply.status, reply.header("location")), (303, Some(to)), "{path} {pairs:?}: {}", reply.text());
}

fn revision(served: &ServedConsole, kind: &str, name: &str) -> String {
    served.admin.get(&format!("/api/v1/objects/{kind}/{name}"))["revision"].to_string()
}

/// A form that was not saved is still of the revision that it was made from: what somebody else has changed meanwhile is not undone by it.
#[track_caller]
fn comes_back_of(revision: &str, html: &str) {
    assert!(html.contains(&format!("name=\"revision\" value=\"{revision}\"")), "{html}");
}

/// A domain of two events, one of which comes and breaks it; answers the place of its page.
fn with_contract(served: &ServedConsole) -> &'static str {
    let price = json!({"type": "object", "properties": {"price": {"type": "number"}}});
    let sold = json!({"type": "track", "name": "Sold", "onUndeclaredFields": "ALLOW_EVENT",
        "schema": {"type": "object", "properties": {"properties": price}}});
    let never = json!({"type": "track", "name": "Never <b>", "schema": {"type": "object"}});
    let domain = json!({"name": "Shop", "slug": "shop", "sources": ["web"], "events": [sold, never]});
    let made = served.admin.post("/api/v1/events/domains", &domain);
    assert_eq!(made.status, 200, "{}", made.text());
    let sold = |id: &str, price: Value| {
        let context = json!({"library": {"name": "shop-sdk", "version": "4.2.0"}});
        json!({"type": "track", "event": "Sold", "messageId": id, "userId": "ann", "properties": {"price": price}, "context": context})
    };
    let other = json!({"type": "track", "event": "Not <declared>", "messageId": "u1", "userId": "ann"});
    let sent = served.server.batch(&[sold("s1", json!(5)), sold("s2", json!("five")), other]);
    assert_eq!(sent.status, 200);
    drained(&served.workspace);
    "/contracts/shop/track-sold"
}

fn event_object(served: &ServedConsole) -> Value {
    served.admin.get("/api/v1/objects/event?prefix=domains/shop/track-sold")["objects"][0].clone()
}

#[test]
fn contracts_say_what_arrives_and_what_does_not_fit_with_samples() {
    let served = ServedConsole::open();
    let at = with_contract(&served);
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    let list = page(&mut root, "/contracts");
    assert_eq!(out_of_place(&list), None, "{list}");
    for part in [at, "50.0 %", "never seen", "Never &lt;b&gt;", ESCAPED, "Not &lt;declared&gt;", "Infer a contract"] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let event = page(&mut root, at);
    assert_eq!(out_of_place(&event), None, "{event}");
    for part in ["/properties/price", "shop-sdk 4.2.0", "/trace?message_id=s2", "stage=contract", "name=\"schema\""] {
        assert!(event.contains(part), "{part}: {event}");
    }
    // What was counted of it, here and on the page of its domain.
    let chosen = "field=%2Fproperties%2Fprice";
    for path in ["/contracts", "/contracts/shop", at, &format!("{at}?span=7d&{chosen}")] {
        let html = page(&mut root, path);
        assert_eq!(out_of_place(&html), None, "{path}: {html}");
        for part in
            ["Violations over time", "tidegate contract violations", "By field", chosen, "By release", "span=7d"]
        {
            assert!(html.contains(part), "{path} has no {part}: {html}");
        }
        assert!(html.contains("code=schema-violation") && html.contains("release=shop-sdk+4.2.0"), "{path}: {html}");
    }
    assert!(page(&mut root, &format!("{at}?span=7d&{chosen}")).contains("Show all"));
    assert_eq!(root.ask("GET", "/contracts/nothing", &NONE).status, 404);
    assert!(!event.contains("/trace?message_id=s1"), "{event}");
    // Who may not see events sees what the contract says, and nothing of them.
    let list = page(&mut vera, "/contracts");
    assert!(
        list.contains("50.0 %") && !list.contains("Not &lt;declared") && !list.contains("Infer a contract"),
        "{list}"
    );
    let event = page(&mut vera, at);
    assert!(event.contains("/properties/price") && !event.contains("message_id=s2"), "{event}");
    assert!(!event.contains("shop-sdk") && !event.contains("name=\"do\""), "{event}");
    let domain = page(&mut vera, "/contracts/shop");
    assert!(domain.contains("Violations over time") && domain.contains("/properties/price"), "{domain}");
    assert!(!domain.contains("shop-sdk") && !domain.contains("By release"), "{domain}");
    assert_eq!(vera.ask("GET", "/contracts/shop/nothing", &NONE).status, 404);
    // The answer that the pages are made of.
    let found = served.admin.get("/api/v1/contract-traffic?source=web")["sources"][0].clone();
    let sold = found["events"].as_array().unwrap().iter().find(|event| event["name"] == "Sold").unwrap();
    assert_eq!((&sold["seen"], &sold["violating"], &sold["blocked"]), (&json!(2), &json!(1), &json!(1)), "{found}");
    assert_eq!(served.admin.get("/api/v1/contract-traffic?source=else")["sources"], json!([]));
    assert_eq!(served.admin.ask("GET", "/api/v1/contract-traffic?records=0", b"").code(), "400 query");
    served.server.stop();
}

#[test]
fn a_contract_is_compared_inferred_proposed_and_published() {
    let served = ServedConsole::open();
    made_user(&served.admin, "dora", "draft_editor");
    let at = with_contract(&served);
    let (mut root, mut vera, mut dora) = (served.signed_in("root"), served.signed_in("vera"), served.signed_in("dora"));
    let strict = json!({"type": "object", "required": ["never"]}).to_string();
    let html = shown(&mut root, at, &[("do", "compare"), ("schema", &strict), ("description", SCRIPT)], 200);
    for part in ["newly blocked", "/trace?message_id=s1", ESCAPED] {
        assert!(html.contains(part), "{part}: {html}");
    }
    for (wrong, says) in [("{", "this is not JSON"), ("[]", "a schema is a JSON object")] {
        let html = shown(&mut root, at, &[("do", "publish"), ("schema", wrong)], 422);
        assert!(html.contains(says) && html.contains(&format!("\n{wrong}</textarea>")), "{html}");
    }
    let misspelled = json!({"type": "object", "requierd": ["event"]}).to_string();
    let html = shown(&mut root, at, &[("do", "compare"), ("schema", &misspelled)], 200);
    for part in ["The schema hardly means this", "/schema/requierd", "Did you mean `required`?"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let unknown = json!({"$ref": "#/definitions/components/nothing"}).to_string();
    let html = shown(&mut root, at, &[("do", "compare"), ("schema", &unknown)], 422);
    assert!(html.contains("cannot judge events"), "{html}");
    let html = shown(&mut root, at, &[("do", "infer"), ("schema", "{}")], 200);
    assert!(html.contains("Nothing was changed yet") && html.contains("&quot;price&quot;"), "{html}");
    let before = event_object(&served);
    let good =
        [("do", "publish"), ("schema", strict.as_str()), ("onSchemaViolation", "ALLOW_EVENT"), ("revision", "0")];
    let html = shown(&mut root, at, &good, 412);
    assert!(html.contains("&quot;never&quot;"), "what was written is still there: {html}");
    assert!(html.contains("somebody has changed it since") && !html.contains("If-Match"), "{html}");
    for (mut somebody, status) in [(vera, 403), (dora, 403)] {
        shown(&mut somebody, at, &good, status);
    }
    assert_eq!(root.form_from("https://evil.example", at, &fields(&good)).status, 403);
    assert_eq!(event_object(&served), before);
    dora = served.signed_in("dora");
    let html = page(&mut dora, at);
    assert!(html.contains("value=\"propose\"") && !html.contains("value=\"publish\""), "{html}");
    let html = shown(&mut dora, at, &[("do", "propose"), ("schema", &strict)], 200);
    assert!(html.contains("Proposed as the draft"), "{html}");
    assert_eq!(served.admin.get("/api/v1/drafts")["drafts"].as_array().unwrap().len(), 1);
    let revision = before["revision"].to_string();
    done(&mut root, at, &[("do", "publish"), ("schema", &strict), ("revision", &revision)], at);
    assert_eq!(event_object(&served)["spec"]["schema"]["required"], json!(["never"]));
    let old = [("do", "compare"), ("schema", strict.as_str()), ("revision", revision.as_str())];
    comes_back_of(&revision, &shown(&mut root, at, &old, 200));
    vera = served.signed_in("vera");
    assert!(!page(&mut vera, at).contains("<textarea"), "a viewer has no form");
    served.server.stop();
}

#[test]
fn an_event_that_is_not_declared_gets_a_contract_and_a_domain_at_once() {
    let served = ServedConsole::open();
    with_contract(&served);
    let mut root = served.signed_in("root");
    let html = page(&mut root, "/new/contract?source=web&type=track&name=Not+%3Cdeclared%3E");
    assert!(html.contains("value=\"track-not-declared\"") && html.contains("value=\"Not &lt;declared&gt;\""), "{html}");
    let new = [("do", "publish"), ("source", "web"), ("slug", "other"), ("type", "track"), ("event", "Not <declared>")];
    let written = |more: &[(&'static str, &'static str)]| [&new[..], more].concat();
    let html = shown(&mut root, "/new/contract", &written(&[("schema", "{\"type\": \"object\"}")]), 422);
    assert!(html.contains("choose a domain"), "{html}");
    let more = [("schema", "{\"type\": \"object\"}"), ("new_domain", "My App")];
    done(&mut root, "/new/contract", &written(&more), "/contracts");
    let list = page(&mut root, "/contracts");
    assert!(list.contains("/contracts/my-app/other") && !list.contains("> for Not &lt;declared"), "{list}");
    let more = [("schema", "{\"type\": \"object\"}"), ("domain", "shop"), ("version", "v2")];
    done(&mut root, "/new/contract", &written(&more), "/contracts");
    assert!(page(&mut root, "/contracts").contains("/contracts/shop/other"));
    served.server.stop();
}

#[test]
fn a_destination_is_tested_made_and_changed_by_a_form_of_its_kind() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    let list = page(&mut root, "/destinations");
    for part in
        ["/new/destination?kind=postgres", "/new/destination?kind=plugin&amp;plugin=slack", "/destinations/warehouse"]
    {
        assert!(list.contains(part), "{part}: {list}");
    }
    let new = "/new/destination?kind=sqlite";
    assert!(page(&mut root, new).contains("name=\"set.path\""));
    let html = page(&mut root, "/new/destination?kind=plugin&plugin=slack");
    for part in
        ["name=\"set.bot_token\"", "name=\"value.bot_token\"", "messages (needed)", "components/slack.component.wasm"]
    {
        assert!(html.contains(part), "{part}: {html}");
    }
    let wrong: [(&[(&str, &str)], &str); 4] = [
        (&[("do", "save"), ("name", "")], "it needs a name"),
        (&[("do", "save"), ("name", "local"), ("set.columns_max", "many")], "this is no whole number"),
        (&[("do", "save"), ("name", "local"), ("set.columns_max", "5")], "columns_max"),
        (&[("do", "save"), ("name", SCRIPT)], ESCAPED),
    ];
    for (pairs, says) in wrong {
        let reply = root.form(new, &fields(pairs));
        assert!((400..500).contains(&reply.status), "{pairs:?}: {}", reply.status);
        assert_eq!(out_of_place(&reply.text()), None, "{}", reply.text());
        assert!(reply.text().contains(says) && !reply.text().contains("<script>a"), "{pairs:?}: {}", reply.text());
    }
    let local = [("name", "local"), ("set.path", "DATA/local.db"), ("set.profiles", "false")];
    let html = shown(&mut root, new, &[&local[..], &[("do", "test")]].concat(), 200);
    assert!(html.contains("It answers") && html.contains("value=\"DATA/local.db\""), "{html}");
    assert_eq!(served.admin.ask("GET", "/api/v1/objects/destination/local", b"").status, 404, "a test makes nothing");
    done(&mut root, new, &[&local[..], &[("do", "save")]].concat(), "/destinations/local");
    let spec = json!({"kind": "sqlite", "path": "DATA/local.db", "profiles": false});
    assert_eq!(served.admin.get("/api/v1/objects/destination/local")["spec"], spec);
    let at = "/destinations/local";
    assert!(page(&mut root, at).contains("No sync delivers to it"));
    let changed = [("do", "save"), ("set.path", "DATA/local.db"), ("set.tables_max", "7")];
    shown(&mut root, at, &[&changed[..], &[("revision", "0")]].concat(), 412);
    let revision = revision(&served, "destination", "local");
    done(&mut root, at, &[&changed[..], &[("revision", &revision)]].concat(), at);
    assert_eq!(served.admin.get("/api/v1/objects/destination/local")["spec"]["tables_max"], 7);
    let old = [("do", "test"), ("set.path", "DATA/local.db"), ("revision", revision.as_str())];
    comes_back_of(&revision, &shown(&mut root, at, &old, 200));
    // What a file says is shown, and the file is named.
    let html = page(&mut root, "/destinations/warehouse");
    assert!(html.contains("destinations/warehouse.yaml") && !html.contains("name=\"do\""), "{html}");
    assert!(html.contains("web-to-warehouse"), "{html}");
    assert!(!page(&mut vera, "/destinations").contains("/new/destination"));
    assert!(!page(&mut vera, at).contains("name=\"do\""));
    shown(&mut vera, new, &[("do", "save"), ("name", "mine")], 403);
    assert_eq!(root.ask("GET", "/new/destination?kind=nothing", &NONE).status, 404);
    assert_eq!(root.ask("GET", "/new/destination?kind=plugin&plugin=nothing", &NONE).status, 404);
    served.server.stop();
}

#[test]
fn a_secret_that_is_typed_into_a_form_is_kept_by_its_name_and_shown_nowhere() {
    let served = ServedConsole::open();
    let mut root = served.signed_in("root");
    let new = "/new/destination?kind=clickhouse";
    let typed = [("name", "ch"), ("set.url", "http://127.0.0.1:1"), ("value.password", SECRET), ("do", "test")];
    let html = shown(&mut root, new, &typed, 200);
    assert!(html.contains("It does not work") && !html.contains(SECRET), "{html}");
    assert!(html.contains("value=\"secret:ch-password\""), "what was kept need not be typed again: {html}");
    let kept = served.admin.get("/api/v1/secrets");
    assert_eq!(kept["secrets"][0]["name"], "ch-password", "{kept}");
    // Another one of that name would take the value of what uses this one.
    let other = [("name", "ch"), ("set.url", "http://127.0.0.1:1"), ("value.password", "else"), ("do", "test")];
    let html = shown(&mut root, new, &other, 422);
    assert!(html.contains("there is a secret ch-password already"), "{html}");
    assert_eq!(served.admin.get("/api/v1/secrets"), kept);
    shown(&mut root, new, &[&other[..], &[("set.password", "secret:ch-password")]].concat(), 200);
    assert_ne!(served.admin.get("/api/v1/secrets"), kept);
    let html = shown(&mut root, new, &[("name", "ch"), ("set.password", SECRET), ("do", "save")], 422);
    assert!(html.contains("write secret:NAME here") && !html.contains(SECRET), "{html}");
    served.server.stop();
}

/// Settings with something in every field that a schema has.
fn filled(schema: &Value) -> Value {
    if schema["secret"] == true {
        return json!("secret:probe");
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(name, of)| (name.clone(), filled(of))).collect()
        }
        Some("array") => json!(["127.0.0.1:1"]),
        Some("integer") => json!(60),
        Some("boolean") => json!(true),
        _ => json!("x"),
    }
}

#[test]
fn every_field_that_the_form_of_a_destination_has_is_known_to_its_kind() {
    let served = ServedConsole::open();
    let kept = served.admin.ask("PUT", "/api/v1/secrets/probe", json!({"value": SECRET}).to_string().as_bytes());
    assert_eq!(kept.status, 200, "{}", kept.text());
    let kinds = served.admin.get("/api/v1/destination-kinds")["kinds"].clone();
    let native: Vec<&Value> = kinds.as_array().unwrap().iter().filter(|kind| kind["plugin"].is_null()).collect();
    assert_eq!(native.len(), 9, "{kinds}");
    for kind in native {
        let mut spec = filled(&kind["settings"]);
        spec["kind"] = kind["kind"].clone();
        let said = |spec: &Value| {
            let new = json!({"name": "probe", "spec": spec});
            served.admin.post("/api/v1/objects/destination?dry_run=true", &new).text()
        };
        assert!(!said(&spec).contains("is not known here"), "{}: {}", kind["kind"], said(&spec));
        spec["colour_of_it"] = json!("blue");
        assert!(said(&spec).contains("is not known here"), "{}: {}", kind["kind"], said(&spec));
    }
    served.server.stop();
}

#[test]
fn a_sync_is_previewed_made_changed_and_ended() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    let made = json!({"name": "local", "spec": {"kind": "sqlite", "path": "DATA/local.db"}});
    assert_eq!(served.admin.post("/api/v1/objects/destination", &made).status, 201);
    let (new, at) = ("/new/sync", "/syncs/web-to-local");
    assert!(page(&mut root, "/new/sync?destination=local").contains("<option value=\"local\" selected>"));
    let sync = [("name", "web-to-local"), ("source", "web"), ("destination", "local"), ("type", "track")];
    let with = |more: &[(&'static str, &'static str)]| [&sync[..], more].concat();
    let html = shown(&mut root, new, &with(&[("do", "try")]), 200);
    assert!(html.contains("As the destination would get it") && html.contains(ESCAPED), "{html}");
    for (more, says) in [
        ([("do", "try"), ("events.tried", "[1]")], "is no JSON object"),
        ([("do", "save"), ("rename", SCRIPT)], "has no -&gt; in it"),
        ([("do", "save"), ("remove", "no pointer")], "remove"),
    ] {
        let html = shown(&mut root, new, &with(&more), 422);
        assert!(html.contains(says) && !html.contains("<script>a"), "{says}: {html}");
    }
    assert_eq!(served.admin.ask("GET", "/api/v1/objects/sync/web-to-local", b"").status, 404);
    done(&mut root, new, &with(&[("do", "save"), ("start", "beginning")]), at);
    let spec = json!({"source": "web", "destination": "local", "start": "beginning", "filter": {"types": ["track"]}});
    assert_eq!(served.admin.get("/api/v1/objects/sync/web-to-local")["spec"], spec);
    let event = json!({"type": "track", "event": SCRIPT, "userId": "ann", "properties": {"a": 1}}).to_string();
    let tried =
        [("do", "try"), ("source", "web"), ("destination", "local"), ("rename", "/properties/a -> /properties/b")];
    let html = shown(&mut root, at, &[&tried[..], &[("events.tried", event.as_str())]].concat(), 200);
    assert!(html.contains("&quot;b&quot;: 1") && html.contains(ESCAPED), "{html}");
    let changed = [
        ("do", "save"),
        ("source", "web"),
        ("destination", "local"),
        ("start", "beginning"),
        ("events", "Sold\r\nPaid"),
    ];
    shown(&mut root, at, &[&changed[..], &[("revision", "0")]].concat(), 412);
    let revision = revision(&served, "sync", "web-to-local");
    done(&mut root, at, &[&changed[..], &[("revision", &revision)]].concat(), at);
    assert_eq!(
        served.admin.get("/api/v1/objects/sync/web-to-local")["spec"]["filter"],
        json!({"events": ["Sold", "Paid"]})
    );
    comes_back_of(&revision, &shown(&mut root, at, &[&tried[..], &[("revision", revision.as_str())]].concat(), 200));
    // What a file says is shown, and the file is named.
    let html = page(&mut root, "/syncs/web-to-warehouse");
    assert!(html.contains("syncs/web-to-warehouse.yaml") && !html.contains("name=\"do\""), "{html}");
    assert!(!page(&mut vera, at).contains("name=\"do\"") && !page(&mut vera, "/syncs").contains("/new/sync"));
    shown(&mut vera, at, &[&changed[..], &[("revision", &revision)]].concat(), 403);
    shown(&mut vera, "/syncs/web-to-local/delete", &[("ending", "abandon")], 403);
    done(&mut root, "/syncs/web-to-local/delete", &[("ending", "abandon")], "/syncs");
    assert_eq!(root.ask("GET", at, &NONE).status, 404);
    served.server.stop();
}
