//! What `push` and its neighbours say and leave behind when something is not as it should be.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use tidegate_plugin::{Fixture, embed, embed_with_lookups};

use super::{hash, manifest, mask, redact};
use crate::support::admin::Admin;
use crate::support::http::read;
use crate::support::waiting::until;
use crate::support::{Server, Workspace, guests, run, tidegate};

struct Desk {
    workspace: Workspace,
    server: Server,
    token: String,
}

impl Desk {
    fn new() -> Self {
        let workspace = Workspace::new();
        let token = workspace.admin_token();
        let server = workspace.serve();
        Self { workspace, server, token }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.workspace.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The exit code, and all that was said.
    fn say(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.say_with(&self.token, arguments)
    }

    fn say_with(&self, token: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = tidegate();
        command.arg("function").args(arguments).args(["--server", &format!("http://{}", self.server.admin)]);
        let output = command.env("TIDEGATE_ADMIN_TOKEN", token).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    fn shown(&self) -> Value {
        Admin::new(&self.server, &self.token).get("/admin/functions/redact")
    }
}

#[test]
fn a_source_that_is_not_there_is_said_before_anything_is_live() {
    let desk = Desk::new();
    let one = desk.file("one.wasm", &redact("one"));
    let settings = desk.file("settings.json", mask().to_string().as_bytes());
    let (code, said) = desk.say(&["push", &one, "--settings", &settings, "--to", "nosuch"]);
    assert!(code == Some(1) && said.contains("there is no source \"nosuch\"") && said.contains("web"), "{said}");
    let admin = Admin::new(&desk.server, &desk.token);
    assert_eq!(admin.ask("GET", "/admin/functions/redact", b"").status, 404, "something was pushed all the same");

    let (code, said) = desk.say(&["push", &one, "--canary", "10%"]);
    assert!(code == Some(1) && said.contains("push it without --canary"), "{said}");
    let (code, said) = desk.say(&["push", &one, "--settings", &desk.file("none.json", b"{\"field\": 1}")]);
    assert!(code == Some(1) && said.contains("--settings FILE") && said.contains("uploaded, and not live"), "{said}");
    let (code, said) = desk.say(&["push", &one, "--no-live"]);
    assert!(code == Some(0) && said.contains("is uploaded, not live"), "{said}");
    let (code, said) = desk.say(&["push", "nowhere", "--settings", "nosuch.json"]);
    assert!(code == Some(1) && said.contains("nosuch.json"), "{said}");
    let (code, said) = desk.say(&["push", &desk.file("text.wasm", b"not wasm")]);
    assert!(code == Some(1) && said.contains("this is not a WebAssembly component"), "{said}");
}

#[test]
fn a_rollout_ends_by_a_rollback_or_by_name_and_a_function_leaves_its_source() {
    let desk = Desk::new();
    let settings = desk.file("settings.json", mask().to_string().as_bytes());
    let (one, two) = (desk.file("one.wasm", &redact("one")), desk.file("two.wasm", &redact("two")));
    assert_eq!(desk.say(&["push", &one, "--settings", &settings, "--to", "web"]).0, Some(0));
    let live = desk.shown()["live"].clone();

    let (code, said) = desk.say(&["push", &two, "--canary", "10%"]);
    assert!(code == Some(0) && said.contains("is a candidate with 10% of the batches"), "{said}");
    let (code, said) = desk.say(&["rollback", "redact"]);
    assert!(code == Some(0) && said.contains("has ended"), "{said}");
    assert_eq!((&desk.shown()["canary"], &desk.shown()["live"]), (&Value::Null, &live));
    // Now there is neither a candidate nor a version before.
    let (code, said) = desk.say(&["rollback", "redact"]);
    assert!(code == Some(1) && said.contains("no earlier version"), "{said}");
    let (code, said) = desk.say(&["rollback", "nosuch"]);
    assert!(code == Some(1) && said.contains("there is no function \"nosuch\""), "{said}");

    assert_eq!(desk.say(&["push", &two, "--shadow"]).0, Some(0));
    assert_eq!(desk.shown()["canary"]["shadow"], true);
    assert_eq!(desk.say(&["canary", "redact", "--off"]).0, Some(0));
    assert_eq!(desk.shown()["canary"], Value::Null);
    let (code, said) = desk.say(&["canary", "redact", "--off"]);
    assert!(code == Some(1) && said.contains("nothing is tried beside"), "{said}");
    let (code, said) = desk.say(&["push", &one, "--settings", &desk.file("none.json", b"{\"field\": 1}")]);
    assert!(code == Some(1) && said.contains("uploaded, and live as it was"), "{said}");
    assert_eq!(desk.shown()["live"], live);
    assert_eq!(desk.say(&["detach", "redact", "web"]).0, Some(0));
    assert_eq!(desk.shown()["attached"], json!([]));
}

#[test]
fn a_wrong_token_is_what_is_said_however_large_the_body() {
    let desk = Desk::new();
    // More than lies in the buffers between: whoever reads none of it breaks the connection in the middle.
    let body = vec![0; 24 << 20];
    for _ in 0..4 {
        let mut stream = TcpStream::connect(&desk.server.admin).unwrap();
        let head = "POST /admin/functions/redact/versions HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\
            authorization: Bearer tg_wrong\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        assert_eq!(read(&mut stream).unwrap().status, 401);
    }
    let one = desk.file("one.wasm", &redact("one"));
    let (code, said) = desk.say_with("tg_wrong", &["push", &one]);
    assert!(code == Some(1) && said.contains("admin token"), "{said}");
}

#[test]
fn a_token_file_counts_before_the_variable() {
    let desk = Desk::new();
    let file = desk.file("token", desk.token.as_bytes());
    let one = desk.file("one.wasm", &redact("one"));
    let (code, said) = desk.say_with("tg_wrong", &["push", &one, "--no-live", "--token-file", &file]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn logs_are_of_a_function_and_as_many_as_were_asked_for() {
    let desk = Desk::new();
    assert_eq!(desk.say(&["push", &desk.file("one.wasm", &redact("one")), "--no-live"]).0, Some(0));
    let (code, said) = desk.say(&["logs", "nosuch"]);
    assert!(code == Some(1) && said.contains("there is no function \"nosuch\""), "{said}");
    let (code, said) = desk.say(&["logs", "redact"]);
    assert!(code == Some(0) && said.contains("no lines"), "{said}");
    assert_eq!(desk.say(&["logs", "redact", "--limit", "0"]).0, Some(2));
    let admin = Admin::new(&desk.server, &desk.token);
    for limit in ["0", "1001", "many"] {
        let reply = admin.ask("GET", &format!("/admin/functions/redact/logs?limit={limit}"), b"");
        assert_eq!((reply.status, reply.json()["code"].as_str()), (400, Some("limit")), "{limit}");
    }
}

#[test]
fn fixtures_that_ran_without_an_expectation_are_counted_too() {
    let desk = Desk::new();
    let fixture = Fixture { name: "one".into(), input: json!({"type": "page"}), expected: None, settings: hash() };
    let guest = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let one = desk.file("one.wasm", &embed(&guest, &manifest("x"), &[fixture]));
    let (code, said) = desk.say(&["push", &one, "--settings", &desk.file("s.json", mask().to_string().as_bytes())]);
    assert!(code == Some(0) && said.contains("1 fixture ran"), "{said}");
}

#[test]
fn a_function_that_looks_up_what_nobody_grants_it_is_not_pushed_unless_forced() {
    let desk = Desk::new();
    let mut manifest = manifest("x");
    manifest["lookups"] = json!(["places"]);
    let guest = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let one = desk.file("one.wasm", &embed(&guest, &manifest, &[]));
    let push = ["push", &one, "--settings", &desk.file("s.json", mask().to_string().as_bytes())];
    let (code, said) = desk.say(&push);
    assert!(code == Some(1) && said.contains("looks up places, which nobody grants it"), "{said}");
    assert!(said.contains("grant_to: [redact]") && said.contains("--force"), "{said}");
    let admin = Admin::new(&desk.server, &desk.token);
    assert_eq!(admin.ask("GET", "/admin/functions/redact", b"").status, 404, "something was pushed all the same");
    // What is on the server does not go live either, whoever asks.
    assert_eq!(desk.say(&[&push[..], &["--no-live"]].concat()).0, Some(0));
    let sha = admin.get("/admin/functions/redact")["versions"][0]["sha256"].clone();
    let live = admin.post("/admin/functions/redact/live", &json!({"sha256": sha, "settings": mask()}));
    assert_eq!((live.status, live.json()["code"].as_str()), (422, Some("lookups-missing")), "{}", live.text());
    let (code, said) = desk.say(&[&push[..], &["--force"]].concat());
    assert!(code == Some(0) && said.contains("looks up places, which nobody grants it"), "{said}");
}

/// The function with a fixture that says what comes of a page, and the table that its fixtures look up.
fn with_fixture(note: &str, expected: &Value, lookups: Option<&Value>) -> Vec<u8> {
    let input = json!([{"type": "page", "properties": {"email": "ada@example.com"}}]);
    let fixture = Fixture { name: "one".into(), input, expected: Some(expected.clone()), settings: mask() };
    let guest = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let mut manifest = manifest(note);
    match lookups {
        Some(tables) => {
            manifest["lookups"] = json!(["places"]);
            embed_with_lookups(&guest, &manifest, &[fixture], tables)
        }
        None => embed(&guest, &manifest, &[fixture]),
    }
}

#[test]
fn a_version_that_fails_its_own_fixtures_is_refused_and_taken_when_forced() {
    let desk = Desk::new();
    let settings = desk.file("settings.json", mask().to_string().as_bytes());
    let wrong = json!([{"keep": true}]);
    // Also where fixtures look things up: the component carries their tables.
    for tables in [None, Some(json!({"places": {}}))] {
        let one = desk.file("one.wasm", &with_fixture("wrong", &wrong, tables.as_ref()));
        let forced = if tables.is_some() { &["--no-live"][..] } else { &[] };
        let push = [&["push", &one, "--settings", &settings][..], forced].concat();
        let (code, said) = desk.say(&push);
        assert!(code == Some(1) && said.contains("comes out differently here"), "{said}");
        assert!(said.contains("--force takes it as it is"), "{said}");
        let (code, said) = desk.say(&[&push[..], &["--force"]].concat());
        assert!(code == Some(0) && said.contains("the fixture \"one\" comes out differently here"), "{said}");
        // The same bytes are refused again as long as nobody forces them.
        assert_eq!(desk.say(&push).0, Some(1));
    }
    let (_, said) = desk.say(&["versions", "redact"]);
    assert!(said.contains("fails its fixtures"), "{said}");
}

#[test]
fn rollback_walks_back_and_never_to_what_was_rolled_back() {
    let desk = Desk::new();
    let settings = desk.file("settings.json", mask().to_string().as_bytes());
    let push = |name: &str, more: &[&str]| {
        let file = desk.file(&format!("{name}.wasm"), &redact(name));
        let (code, said) = desk.say(&[&["push", &file, "--settings", &settings][..], more].concat());
        assert_eq!(code, Some(0), "{said}");
        let shown = desk.shown();
        let of = if more.is_empty() { &shown["live"] } else { &shown["canary"] };
        of["sha256"].as_str().unwrap().to_owned()
    };
    let live = || desk.shown()["live"]["sha256"].as_str().unwrap().to_owned();
    let [one, two, three] = ["one", "two", "three"].map(|name| push(name, &[]));
    push("four", &["--canary", "10%"]);
    assert_eq!(desk.say(&["rollback", "redact"]).0, Some(0));
    assert_eq!((live(), &desk.shown()["canary"]), (three.clone(), &Value::Null), "more than the rollout ended");
    let (_, said) = desk.say(&["rollback", "redact"]);
    assert!(live() == two && said.contains(&three[..12]) && said.contains(&one[..12]), "{said}");
    assert_eq!(desk.say(&["rollback", "redact"]).0, Some(0));
    assert_eq!(live(), one);
    let (code, said) = desk.say(&["rollback", "redact"]);
    assert!(code == Some(1) && said.contains("no earlier version"), "{said}");
    assert_eq!(live(), one);

    // Any version can be named, by how it begins.
    let (code, said) = desk.say(&["live", "redact", &three[..8]]);
    assert!(code == Some(0) && live() == three, "{said}");
    let (code, said) = desk.say(&["live", "redact", "ffffffffffff"]);
    assert!(code == Some(1) && said.contains("has no version ffffffffffff"), "{said}");
    let (code, said) = desk.say(&["live", "redact", ""]);
    assert!(code == Some(1) && said.contains("has no version"), "{said}");
}

#[test]
fn functions_are_listed_attached_and_detached_and_what_is_not_attached_cannot_be_detached() {
    let desk = Desk::new();
    let (code, said) = desk.say(&["list"]);
    assert!(code == Some(0) && said.contains("no function is on the server"), "{said}");
    let settings = desk.file("settings.json", mask().to_string().as_bytes());
    assert_eq!(desk.say(&["push", &desk.file("one.wasm", &redact("one")), "--settings", &settings]).0, Some(0));
    let (code, said) = desk.say(&["detach", "redact", "web"]);
    assert!(code == Some(1) && said.contains("is not attached to \"web\"; it is attached to no source"), "{said}");
    assert_eq!(desk.say(&["attach", "redact", "web"]).0, Some(0));
    let (code, said) = desk.say(&["attach", "redact", "nosuch"]);
    assert!(code == Some(1) && said.contains("there is no source \"nosuch\""), "{said}");
    let (code, said) = desk.say(&["list"]);
    assert!(code == Some(0) && said.contains("redact") && said.contains("web"), "{said}");
    let (code, said) = desk.say(&["detach", "redact", "app"]);
    assert!(code == Some(1) && said.contains("it is attached to web"), "{said}");
    assert_eq!(desk.say(&["detach", "redact", "web"]).0, Some(0));
}

#[test]
fn a_version_is_live_for_the_first_event_after_the_answer() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    // Whoever follows the releases is slow to begin.
    let server = workspace.serve_with(&["functions_follow=sleep(500)"]);
    let admin = Admin::new(&server, &token);
    let sha = admin.taken("redact", &redact("one"));
    admin.live("redact", &sha, mask());
    admin.attach("redact", "web");
    for (id, settings) in [("drop", json!({"fields": {"email": "drop"}})), ("mask", mask())] {
        admin.live("redact", &sha, settings);
        assert_eq!(server.batch(&[super::event(id)]).status, 200);
        // It is in the table, so it went through the function, before the next release.
        until("the event is in its table", || {
            let warehouse = workspace.warehouse();
            warehouse.has("pages") && warehouse.rows("SELECT id FROM pages").contains(&id.to_owned())
        });
    }
    server.stop();
    let seen = workspace.warehouse().rows("SELECT id, email LIKE '%*%' FROM pages ORDER BY id");
    assert_eq!(seen, ["drop|", "mask|1"]);
}

#[test]
fn a_version_that_fails_most_events_is_said_by_push_versions_status_and_log() {
    let desk = Desk::new();
    let guest = std::fs::read(guests::component("hostile/attacks")).unwrap();
    let failing = |note: &str| {
        let manifest =
            json!({"name": "redact", "kind": "transform", "description": note, "settings": {"type": "object"}});
        desk.file(&format!("{note}.wasm"), &embed(&guest, &manifest, &[]))
    };
    let (one, two) = (failing("one"), failing("two"));
    assert_eq!(desk.say(&["push", &one, "--to", "web", "--watch", "0"]).0, Some(0));
    let send = |from: u64| {
        let event = |n: u64| {
            let properties = json!({"attack": "long-code"});
            json!({"type": "track", "event": "A", "messageId": format!("m{n}"), "userId": "u", "properties": properties})
        };
        assert_eq!(desk.server.batch(&(from..from + 20).map(event).collect::<Vec<_>>()).status, 200);
    };
    let (code, said) = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| desk.say(&["push", &two, "--to", "web", "--watch", "120"]));
        let mut sent = 0;
        while !pushing.is_finished() {
            // Events keep coming, never faster than they are taken.
            send(sent);
            sent += 20;
            until("all are quarantined", || desk.workspace.quarantined().len() as u64 >= sent);
        }
        pushing.join().unwrap()
    });
    assert!(code == Some(0) && said.contains("warning:") && said.contains("rollback redact"), "{said}");
    assert!(said.contains("of ") && said.contains("events that it saw"), "{said}");
    let (_, said) = desk.say(&["versions", "redact"]);
    assert!(said.contains("warning:"), "{said}");
    let status = run(&["status", desk.workspace.path().to_str().unwrap()]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("failing: function redact: "), "{status}");
    let log = desk.server.stop();
    assert!(log.contains("a function fails most of its events"), "{log}");
}
