//! What `push` and its neighbours say and leave behind when something is not as it should be.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use tidegate::plugin::{Fixture, embed};

use super::{hash, manifest, mask, redact};
use crate::support::admin::Admin;
use crate::support::http::read;
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
fn a_trial_ends_by_a_rollback_or_by_name_and_a_function_leaves_its_source() {
    let desk = Desk::new();
    let settings = desk.file("settings.json", mask().to_string().as_bytes());
    let (one, two) = (desk.file("one.wasm", &redact("one")), desk.file("two.wasm", &redact("two")));
    assert_eq!(desk.say(&["push", &one, "--settings", &settings, "--to", "web"]).0, Some(0));
    let live = desk.shown()["live"].clone();

    let (code, said) = desk.say(&["push", &two, "--canary", "10%"]);
    assert!(code == Some(0) && said.contains("on trial with 10% of the batches"), "{said}");
    let (code, said) = desk.say(&["rollback", "redact"]);
    assert!(code == Some(0) && said.contains("has ended"), "{said}");
    assert_eq!((&desk.shown()["canary"], &desk.shown()["live"]), (&Value::Null, &live));
    // Now there is neither a trial nor a version before.
    let (code, said) = desk.say(&["rollback", "redact"]);
    assert!(code == Some(1) && said.contains("no version before"), "{said}");
    let (code, said) = desk.say(&["rollback", "nosuch"]);
    assert!(code == Some(1) && said.contains("there is no function \"nosuch\""), "{said}");

    assert_eq!(desk.say(&["push", &two, "--shadow"]).0, Some(0));
    assert_eq!(desk.shown()["canary"]["shadow"], true);
    assert_eq!(desk.say(&["canary", "redact", "--off"]).0, Some(0));
    assert_eq!(desk.shown()["canary"], Value::Null);
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
fn a_token_file_counts_before_the_variable_and_https_is_refused_with_a_way_out() {
    let desk = Desk::new();
    let file = desk.file("token", desk.token.as_bytes());
    let one = desk.file("one.wasm", &redact("one"));
    let (code, said) = desk.say_with("tg_wrong", &["push", &one, "--no-live", "--token-file", &file]);
    assert_eq!(code, Some(0), "{said}");
    let output = run(&["function", "versions", "redact", "--server", "https://far.example", "--token", "t"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("https is not spoken") && said.contains("8089"), "{said}");
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
        assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (400, Some("limit")), "{limit}");
    }
}

#[test]
fn fixtures_that_ran_without_an_expectation_are_counted_too_and_a_table_that_nobody_lends_is_named() {
    let desk = Desk::new();
    let fixture = Fixture { name: "one".into(), input: json!({"type": "page"}), expected: None, settings: hash() };
    let mut manifest = manifest("x");
    manifest["lookups"] = json!(["places"]);
    let guest = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let one = desk.file("one.wasm", &embed(&guest, &manifest, &[fixture]));
    let (code, said) = desk.say(&["push", &one, "--settings", &desk.file("s.json", mask().to_string().as_bytes())]);
    assert!(code == Some(0) && said.contains("1 fixture ran"), "{said}");
    assert!(said.contains("looks up places, which nobody lends it") && said.contains("lend_to: [redact]"), "{said}");
}
