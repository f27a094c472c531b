//! Functions in the console: what is shown of them, what forms do, and scripts that are written in the browser.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tidegate_plugin::embed;

use super::{NONE, SCRIPT, ServedConsole, out_of_place, page};
use crate::conformance::skipped;
use crate::support::browser::CookieJar;
use crate::support::guests;
use crate::support::http::Reply;
use crate::support::plugins::has;
use crate::support::waiting::until;

/// Writes what a script sets into an event.
const MARKING: &str = r#"import { drop } from "tidegate";

export function transform(event, { settings }) {
  if (event.event === "Nothing") return drop("nothing");
  event.properties = { ...event.properties, mark: settings.mark ?? "naïve ✓" };
  return event;
}
"#;

/// A component called `crm` that does something, with settings that have a schema.
pub(super) fn component_of(description: &str) -> Vec<u8> {
    let settings = json!({"type": "object", "properties": {
        "fields": {"type": "object", "description": SCRIPT}, "salt": {"type": "string"}}});
    let manifest = json!({"name": "crm", "kind": "transform", "description": description, "settings": settings});
    let component = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    embed(&component, &manifest, &[])
}

/// A version of it, on the server.
pub(super) fn pushed(served: &ServedConsole, description: &str) -> String {
    served.admin.taken("crm", &component_of(description))
}

fn went_on(reply: &Reply, to: &str) {
    assert_eq!((reply.status, reply.header("location")), (303, Some(to)), "{}", reply.text());
}

fn live_of(served: &ServedConsole, name: &str) -> Value {
    served.admin.get(&format!("/admin/functions/{name}"))["live"].clone()
}

#[test]
fn forms_make_versions_live_roll_back_attach_and_change_settings() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    assert!(page(&mut root, "/functions").contains("No function was sent"));
    let (first, second) = (pushed(&served, "one"), pushed(&served, SCRIPT));
    served.admin.live("crm", &first, json!({"fields": {"email": "drop"}}));
    went_on(&root.form("/functions/crm/settings", "setting.fields=%7B%22email%22%3A%22mask%22%7D"), "/functions/crm");
    assert_eq!(live_of(&served, "crm"), json!({"sha256": first, "settings": {"fields": {"email": "mask"}}}));
    assert!(page(&mut root, "/functions/crm").contains("No event goes through it"));
    assert!(page(&mut root, "/functions").contains("live, attached to nothing"));
    went_on(&root.form("/functions/crm/attach", "source=web"), "/functions/crm");
    assert!(!page(&mut root, "/functions/crm").contains("No event goes through it"));
    went_on(&root.form("/functions/crm/canary", &format!("sha256={second}&how=shadow")), "/functions/crm");
    for path in ["/functions", "/functions/crm", "/function-editor?name=crm", "/function-editor?name=mine"] {
        let html = page(&mut root, path);
        assert_eq!(out_of_place(&html), None, "{path}: {html}");
        assert!(!html.contains(SCRIPT) && html.contains("<code>tidegate function "), "{path}: {html}");
    }
    assert!(page(&mut root, "/functions").contains("Batch, p99"));
    let html = page(&mut root, "/functions/crm");
    assert!(html.contains("&lt;script&gt;alert(1)") && html.contains("shadow: compared"), "{html}");
    assert!(html.contains("name=\"setting.salt\"") && html.contains("&quot;email&quot;: &quot;mask&quot;"), "{html}");
    assert!(page(&mut root, "/function-editor?name=crm").contains("was built elsewhere"));
    went_on(&root.form("/functions/crm/rollback", ""), "/functions/crm");
    went_on(&root.form("/functions/crm/live", &format!("sha256={second}")), "/functions/crm");
    went_on(&root.form("/functions/crm/rollback", ""), "/functions/crm");
    assert_eq!(live_of(&served, "crm")["sha256"], first);
    went_on(&root.form("/functions/crm/detach", "source=web"), "/functions/crm");
    for (path, fields, status) in [
        ("/functions/crm/canary", format!("sha256={second}&how=share&share=many"), 422),
        ("/functions/crm/settings", "setting.fields=no".to_owned(), 422),
        ("/functions/crm/settings", "setting.fields=7".to_owned(), 422),
        ("/functions/crm/live", "sha256=nothing".to_owned(), 400),
        ("/functions/crm/remove", String::new(), 404),
    ] {
        let reply = root.form(path, &fields);
        assert_eq!(reply.status, status, "{path} {fields}: {}", reply.text());
    }
    // Functions are an admin's, and a form of another site changes nothing.
    assert!(!page(&mut vera, "/").contains("href=\"/functions\""));
    assert_eq!(vera.ask("GET", "/functions", &NONE).status, 403);
    assert_eq!(vera.form("/functions/crm/rollback", "").status, 403);
    assert_eq!(root.form_from("https://evil.example", "/functions/crm/rollback", "").status, 403);
    served.server.stop();
}

/// Puts what runs scripts beside the program, as `make plugins` does. Whether it could.
fn interpreter_is_there() -> bool {
    if !has("node") || !has("npm") {
        skipped("scripts in the browser", "node or npm, which build the interpreter once, are not installed");
        return false;
    }
    let built = guests::component("transform/script");
    let folder = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap().join("plugins");
    std::fs::create_dir_all(&folder).unwrap();
    // A program that starts meanwhile finds the old one or the new one.
    let file = tempfile::NamedTempFile::new_in(&folder).unwrap();
    std::fs::copy(built, file.path()).unwrap();
    file.persist(folder.join("script.component.wasm")).unwrap();
    true
}

/// A form of the editor.
fn edited(root: &mut CookieJar, script: &str, what: &str, more: &str) -> Reply {
    // As a browser sends the ends of lines.
    let script: String = url::form_urlencoded::byte_serialize(script.replace('\n', "\r\n").as_bytes()).collect();
    root.form("/function-editor", &format!("name=mine&script={script}&do={what}&{more}"))
}

#[test]
fn a_script_is_tried_and_live_without_a_build_and_rolled_back() {
    if !interpreter_is_there() {
        return;
    }
    let served = ServedConsole::open();
    let mut root = served.signed_in("root");
    // Making the interpreter's code is behind it after the first try.
    let tried = edited(
        &mut root,
        MARKING,
        "try",
        "events=%7B%22type%22%3A%22track%22%2C%22event%22%3A%22Bought%22%2C%22userId%22%3A%22a%22%2C%22properties%22%3A%7B%7D%7D",
    );
    let html = tried.text();
    assert_eq!(tried.status, 200, "{html}");
    assert_eq!(out_of_place(&html), None, "{html}");
    assert!(html.contains("/properties/mark") && html.contains("naïve ✓") && html.contains(">changed<"), "{html}");
    // Recorded events are there as well: the hostile one has come through the door.
    let recorded = edited(&mut root, MARKING, "try", "source=web&count=5").text();
    assert!(recorded.contains("hostile") && !recorded.contains(SCRIPT), "{recorded}");
    let began = Instant::now();
    went_on(&edited(&mut root, MARKING, "publish", "settings=%7B%22mark%22%3A%22set%22%7D"), "/functions/mine");
    println!("a script was live after {:?}", began.elapsed());
    let first = live_of(&served, "mine");
    assert_eq!(first["settings"], json!({"mark": "set"}));
    let shown = served.admin.get("/admin/functions/mine/script");
    assert_eq!(shown, json!({"sha256": first["sha256"], "script": MARKING, "language": "javascript"}));
    assert!(page(&mut root, "/function-editor?name=mine").contains("settings.mark ?? &quot;naïve ✓&quot;"));
    served.admin.attach("mine", "web");
    for (event, id) in [("Bought", "b-1"), ("Nothing", "n-1")] {
        let sent = json!({"type": "track", "event": event, "messageId": id, "userId": "ann"});
        assert_eq!(served.server.batch(&[sent]).status, 200);
    }
    let traced = |id: &str| served.admin.get(&format!("/api/v1/trace?message_id={id}")).to_string();
    until("the events went through the script", || {
        traced("b-1").contains("\"mark\":\"set\"") && traced("n-1").contains("nothing")
    });
    went_on(&edited(&mut root, &MARKING.replace("Nothing", "Bought"), "publish", "settings=%7B%7D"), "/functions/mine");
    let second = live_of(&served, "mine");
    assert_ne!(first["sha256"], second["sha256"], "another script is another version");
    went_on(&root.form("/functions/mine/rollback", ""), "/functions/mine");
    assert_eq!(live_of(&served, "mine"), first);
    went_on(&edited(&mut root, MARKING, "publish", "stays=true"), "/functions/mine");
    assert_eq!(live_of(&served, "mine"), first, "the same script is the same version");
    served.server.stop();
}

#[test]
fn what_is_wrong_with_a_script_is_said_with_its_line() {
    if !interpreter_is_there() {
        return;
    }
    let served = ServedConsole::open();
    for (script, place) in [
        ("// a comment\nexport function transform(event) { return event;; ) }\n", "script.js:2"),
        ("import x from \"lodash\";\nexport function transform() {}\n", "script.js:1"),
        ("import { dropp } from \"tidegate\";\nexport function transform() {}\n", "exports no dropp"),
        ("const a = 1;\n", "no function transform"),
        ("\n\nmissing();\nexport function transform() {}\n", "script.js:3"),
        ("/* it */ export default function transform() {}\n", "script.js:1:10"),
        ("\n  import x from \"lodash\";\nexport function transform() {}\n", "script.js:2:3"),
        ("export function transform() { return import(\"lodash\"); }\n", "script.js:1:38"),
        // What closes or opens too much is an error of its own line, and nothing behind it runs.
        ("export function transform() {}\n}\nmissing();\n{", "script.js:2:"),
        ("export function transform() {}\n})(); })(); missing(); (function () { (function () {\n", "script.js:2:"),
        ("export function transform() {}\nreturn 7;\n", "script.js:2:"),
        ("const a = 1;\nexport function transform() {\n\n", "script.js:2:"),
        ("export function transform() {}\n  /* no end\n", "script.js:2:3"),
        ("export function transform() {}\nconst a = `no end\n", "script.js:2:11"),
    ] {
        let reply = served.admin.post("/admin/functions/mine/script", &json!({ "script": script }));
        let problem = reply.json();
        assert_eq!((reply.status, problem["code"].as_str()), (422, Some("script")), "{script}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(place), "{script}: {problem}");
        assert_eq!(problem["field"], "script", "{problem}");
    }
    let long = format!("// {}\nexport function transform() {{}}\n", "x".repeat(66_000));
    let reply = served.admin.post("/admin/functions/mine/script", &json!({ "script": long }));
    assert_eq!((reply.status, reply.json()["code"].as_str()), (422, Some("script")), "{}", reply.text());
    assert_eq!(served.admin.ask("GET", "/admin/functions/mine", b"").status, 404, "nothing was made");
    let tried = |script: &str| {
        let body = json!({"script": script, "events": [{"type": "track", "event": "e", "userId": "a"}]});
        let reply = served.admin.post("/admin/functions/mine/try", &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    for script in [
        "  export function transform(event) { event.event = \"seven\"; return event; }",
        "/* it */ const mark = (event) => { event.event = \"seven\"; return event; }; export { mark as transform }; // the end",
        "#! a shell\r\nimport * as tidegate from \"tidegate\"\r\n(() => {})(); export const transform = (event) => ({ ...event, event: tidegate.now() > 0 ? `seven` : 0 });",
        "const shown = `\nexport default ${\"seven\"}\nimport x from \"lodash\"`; export const transform = (event) => ({ ...event, event: /seven/.exec(shown)[0] })",
    ] {
        let marked = tried(script);
        assert!(marked["error"].is_null() && marked["events"][0]["after"][0]["event"] == "seven", "{script}: {marked}");
    }
    let thrown = tried("export function transform(event) {\n  return event.nothing.at;\n}\n");
    assert_eq!(thrown["events"][0]["outcome"], "failed", "{thrown}");
    let lines = thrown["lines"].to_string();
    assert!(lines.contains("TypeError") && lines.contains("script.js:2"), "{thrown}");
    let waiting = tried("export async function transform(event) { return event; }\n");
    assert!(waiting["events"][0]["reason"].as_str().unwrap().contains("async"), "{waiting}");
    let endless = tried("export function transform(event) { for (;;) {} }\n");
    assert_eq!(endless["events"][0]["outcome"], "error", "{endless}");
    let refused = tried(
        "export function configure(settings) { throw new PluginError('no-mark', 'mark is needed'); }\nexport const transform = (event) => event;\n",
    );
    assert!(refused["error"].as_str().unwrap().contains("mark is needed"), "{refused}");
    served.server.stop();
}

/// The same in TypeScript. What it throws is on line 11, at a column that has types before it.
const TYPED: &str = r#"import { type Event, drop } from "tidegate";
import type { Context } from "tidegate";

interface Settings {
  mark?: string;
}
type Marked = Event & { properties: { mark: string } }
("nothing calls this" as unknown)

export function transform(event: Event, { settings }: Context<Settings>): Marked {
  if (event.event === "Thrown") { const none = null as any; throw (none!.at as never) }
  if (event.event === "Nothing") return drop("nothing") as never;
  event.properties = { ...event.properties, mark: settings.mark ?? "naïve ✓" };
  return event as Marked;
}
"#;

#[test]
fn a_script_in_typescript_runs_without_its_types_and_is_shown_with_them() {
    if !interpreter_is_there() {
        return;
    }
    let served = ServedConsole::open();
    let mut root = served.signed_in("root");
    let events = "events=%5B%7B%22type%22%3A%22track%22%2C%22event%22%3A%22Bought%22%2C%22userId%22%3A%22a%22%7D%5D";
    let tried = edited(&mut root, TYPED, "try", &format!("language=typescript&{events}")).text();
    assert_eq!(out_of_place(&tried), None, "{tried}");
    assert!(tried.contains("naïve ✓") && tried.contains(">changed<"), "{tried}");
    assert!(tried.contains("<option value=\"typescript\" selected>"), "{tried}");
    let untyped = edited(&mut root, TYPED, "try", &format!("language=javascript&{events}")).text();
    assert!(untyped.contains("script.js:1") && !untyped.contains(">changed<"), "{untyped}");
    let body = json!({"script": TYPED, "language": "typescript", "events": [{"type": "track", "event": "Thrown", "userId": "a"}]});
    let thrown = served.admin.post("/admin/functions/mine/try", &body).json();
    let lines = thrown["lines"].to_string();
    assert!(lines.contains("TypeError") && lines.contains("script.js:11:"), "{thrown}");
    went_on(
        &edited(&mut root, TYPED, "publish", "language=typescript&settings=%7B%22mark%22%3A%22set%22%7D"),
        "/functions/mine",
    );
    let typed = live_of(&served, "mine");
    let shown = served.admin.get("/admin/functions/mine/script");
    assert_eq!(shown, json!({"sha256": typed["sha256"], "script": TYPED, "language": "typescript"}));
    let html = page(&mut root, "/function-editor?name=mine");
    assert!(html.contains("Context&lt;Settings&gt;") && html.contains("value=\"typescript\" selected"), "{html}");
    served.admin.attach("mine", "web");
    let sent = json!({"type": "track", "event": "Bought", "messageId": "t-1", "userId": "ann"});
    assert_eq!(served.server.batch(&[sent]).status, 200);
    until("the event went through the script", || {
        served.admin.get("/api/v1/trace?message_id=t-1").to_string().contains("\"mark\":\"set\"")
    });
    served.server.stop();
}

#[test]
fn what_is_wrong_with_types_is_said_and_costs_the_server_nothing() {
    let served = ServedConsole::open();
    let pushed = |script: &str| {
        let body = json!({"script": script, "language": "typescript"});
        let reply = served.admin.post("/admin/functions/mine/script", &body);
        assert_eq!((reply.status, reply.json()["code"].as_str()), (422, Some("script")), "{}", reply.text());
        reply.json()["detail"].as_str().unwrap().to_owned()
    };
    let refused = pushed("type A = string;\nexport enum Color { Red }\n");
    assert!(refused.contains("write an object") && refused.contains("script.ts:2:8"), "{refused}");
    let unread = pushed("let a: string;\nlet b: ;\n");
    assert!(unread.contains("script.ts:2:"), "{unread}");
    // A child that comes to an end of its stack is all that ends.
    for deep in ["(".repeat(60_000), format!("type A = {}", "(".repeat(60_000)), "[".repeat(60_000)] {
        pushed(&deep);
    }
    let long = pushed(&format!("// {}\n", "x".repeat(66_000)));
    assert!(long.contains("65536"), "{long}");
    let body = json!({"script": "enum A {}", "language": "typescript", "events": []});
    let tried = served.admin.post("/admin/functions/mine/try", &body);
    assert_eq!(tried.status, 200, "{}", tried.text());
    assert!(tried.json()["error"].as_str().unwrap().contains("script.ts:1:1"), "{}", tried.text());
    let body = json!({"script": "", "language": "coffeescript"});
    assert_eq!(served.admin.post("/admin/functions/mine/script", &body).status, 400);
    served.server.stop();
}

#[test]
fn what_is_tried_is_bounded_and_in_the_audit_log() {
    let served = ServedConsole::open();
    let version = pushed(&served, "one");
    served.admin.live("crm", &version, json!({"fields": {"email": "mask"}}));
    let event = json!({"type": "track", "event": "e", "userId": "a", "properties": {"email": "a@example.com"}});
    let body = json!({"sha256": version, "events": [event]});
    let reply = served.admin.post("/admin/functions/crm/try", &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let tried = reply.json();
    assert_eq!(tried["events"][0]["before"]["properties"]["email"], "a@example.com", "{tried}");
    for (body, code) in [
        (json!({"events": vec![json!({}); 201]}), "422 too-many"),
        (json!({"source": "web", "count": 201}), "422 too-many"),
        (json!({"source": "nothing"}), "400 no-such-source"),
        (json!({"script": "", "sha256": version}), "400 sha256"),
        (json!({"sha256": "0".repeat(64)}), "404 no-such-version"),
        (json!({"settings": []}), "400 settings"),
    ] {
        let reply = served.admin.post("/admin/functions/crm/try", &body);
        assert_eq!(reply.code(), code, "{body}: {}", reply.text());
    }
    let entries = served.admin.get("/api/v1/audit?action=function_tested")["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1, "{entries}");
    let built = served.admin.get("/admin/functions/crm/script");
    assert_eq!(built, json!({"sha256": version, "script": null, "language": null}));
    served.server.stop();
}
