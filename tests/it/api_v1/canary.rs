//! Secrets stand where somebody wrote them, sealed in the catalog, and nowhere else: each is a text that nothing else has, and is looked for
//! in everything that the program says, answers and keeps.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::ApiCaller;
use crate::support::http::{basic, request};
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Server, Workspace, guests, tidegate};

/// What each secret is, and its text.
const CANARIES: [(&str, &str); 13] = [
    ("a write key in a file", "canary-0-wk-5Tq8zLm2"),
    ("a password in a file", "canary-1-pw-9Xc3vBn7"),
    ("a variable of the environment", "canary-2-en-4Kd6wPs1"),
    ("a secret setting of a plugin", "canary-3-st-8Hj2yRf5"),
    ("a password of a proxy", "canary-4-px-7Gv1uTz3"),
    ("a secret over the API", "canary-5/ap+3Ne9?qWo6="),
    ("a secret that is not taken", "canary-6-no-2Mb5xEi8"),
    ("a password of a user", "canary-7-us-6Lr4cYk9"),
    ("a wrong token", "canary-8-wt-1Qs7oAj4"),
    ("a wrong write key", "canary-9-ww-5Fd0pUh2"),
    ("a text in the wrong field", "canary-x-wf-0Vt8mZg6"),
    ("a secret in settings of a function", "canary-a-fs-3Rk9\"wLd1"),
    ("a secret among entries of a table", "canary-b/te+7Yc2"),
];
const VARIABLE: &str = "CANARY_PASSWORD";

/// The text of a secret.
fn canary(what: &str) -> &'static str {
    CANARIES.iter().find(|(known, _)| *known == what).unwrap().1
}

/// How a text may be written elsewhere: as it is, in a URL, in base64 wherever it begins, in hexadecimal digits, in JSON.
fn spellings(text: &str) -> Vec<String> {
    let mut spellings = vec![text.to_owned(), HEXLOWER.encode(text.as_bytes())];
    spellings.push(url::form_urlencoded::byte_serialize(text.as_bytes()).collect());
    spellings.push(Value::from(text).to_string().trim_matches('"').to_owned());
    for before in 0..3 {
        let bytes = [vec![0; before].as_slice(), text.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        // The digits that hold bits of nothing else.
        let whole = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        spellings.push(encoded[whole].to_owned());
    }
    spellings
}

/// Everything in which secrets are looked for.
#[derive(Default)]
struct CanarySearch {
    places: Vec<(String, Vec<u8>)>,
}

impl CanarySearch {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.places.push((place.into(), bytes.into()));
    }

    /// Asks, and keeps the whole answer.
    fn ask(&mut self, caller: &ApiCaller, method: &str, path: &str, body: &Value) -> u16 {
        let reply = caller.ask(method, path, body);
        let headers: Vec<String> = reply.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        self.add(format!("the answer to {method} {path}"), format!("{}\n{}", headers.join("\n"), reply.text()));
        reply.status
    }

    /// Runs a command of the program, and keeps what it says.
    fn run(&mut self, words: &[&str]) -> Option<i32> {
        let output = tidegate().args(words).env(VARIABLE, canary("a variable of the environment")).output().unwrap();
        let place = format!("tidegate {}", words.first().unwrap());
        self.add(format!("the output of {place}"), output.stdout);
        self.add(format!("the messages of {place}"), output.stderr);
        output.status.code()
    }

    /// All files of a folder.
    fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.files(&path);
            } else if path.is_file() {
                self.add(format!("the file {}", path.display()), std::fs::read(&path).unwrap());
            }
        }
    }

    /// Where a text is, however it is written.
    fn found(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for spelling in spellings(text) {
            let finder = memchr::memmem::Finder::new(spelling.as_bytes());
            for (place, _) in self.places.iter().filter(|(_, bytes)| finder.find(bytes).is_some()) {
                found.push(format!("{place}, as {spelling}"));
            }
        }
        found
    }
}

/// A workspace in whose files secrets stand, of every kind that there is.
fn workspace() -> Workspace {
    let mut workspace = Workspace::new();
    canary("a write key in a file").clone_into(&mut workspace.write_key);
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {}\n", workspace.write_key));
    let password = canary("a password in a file");
    let url = format!("postgres://ann:{password}@127.0.0.1:1/shop");
    workspace.write("destinations/far.yaml", &format!("kind: postgres\nurl: {url}\nsslmode: disable\n"));
    let proxy = format!("http://ann:{}@127.0.0.1:1", canary("a password of a proxy"));
    workspace.write(
        "destinations/columns.yaml",
        &format!(
            "kind: clickhouse\nurl: http://clickhouse.example:8123\nuser: ann\npassword: ${{{VARIABLE}}}\nproxy: {proxy}\n"
        ),
    );
    let manifest = json!({
        "name": "crm", "kind": "destination", "hosts": ["{{settings.endpoint}}"],
        "settings": {"type": "object", "required": ["endpoint"], "properties": {
            "endpoint": {"type": "string"}, "key": {"type": "string", "secret": true}}},
    });
    let component = guests::destination("hostile/destination", &manifest);
    std::fs::write(workspace.path().join("crm.wasm"), component).unwrap();
    let origin = "http://127.0.0.1:1";
    workspace.write(
        "destinations/crm.yaml",
        &format!(
            "kind: plugin\ncomponent: crm.wasm\nsettings:\n  endpoint: {origin}\n  key: {}\nallow_hosts: [\"{origin}\"]\n\
             allow_private_hosts: [127.0.0.1]\n",
            canary("a secret setting of a plugin")
        ),
    );
    for destination in ["far", "columns", "crm"] {
        workspace.write(
            &format!("syncs/web-to-{destination}.yaml"),
            &format!("source: web\ndestination: {destination}\nstart: beginning\n"),
        );
    }
    workspace
}

/// Sends secrets where they belong, and where they do not.
fn send_secrets(said: &mut CanarySearch, admin: &ApiCaller) {
    let kept = json!({"value": canary("a secret over the API")});
    assert_eq!(said.ask(admin, "PUT", "/api/v1/secrets/crm", &kept), 200);
    let refused = canary("a secret that is not taken");
    let wrong = canary("a text in the wrong field");
    for (method, path, body) in [
        ("POST", "objects/destination", json!({"name": "a", "spec": {"password": refused}})),
        (
            "POST",
            "objects/destination",
            json!({"name": "a", "spec": {"url": format!("postgres://ann:{refused}@db/x")}}),
        ),
        (
            "POST",
            "drafts",
            json!({"title": "t", "edits": [
            {"action": "create", "kind": "destination", "content": {"name": "a", "spec": {"token": refused}}}]}),
        ),
        ("PUT", "secrets/other", json!({"value": refused, "days": 3})),
        ("POST", "objects/destination", json!({"name": "a", "spec": wrong})),
        ("POST", "objects/destination", json!({"name": "a", "labels": wrong, "spec": {}})),
        ("POST", "tokens", json!({"name": "a", "days": wrong})),
        ("POST", "tokens", json!({"name": "a", "form": wrong})),
        ("POST", "tokens", json!({"name": "a", "grants": wrong})),
        ("POST", "plans", json!({"documents": wrong})),
        ("POST", "audit/verify", json!({"checkpoints": [{"seq": wrong, "hash": "0"}]})),
        ("POST", "events/domains", json!({"name": "a", "onUndeclaredSchema": wrong})),
        ("POST", "login", json!({"user": "admin", "password": canary("a password of a user")})),
    ] {
        let status = said.ask(admin, method, &format!("/api/v1/{path}"), &body);
        assert!((400..500).contains(&status), "{method} {path}: {status}");
    }
    for body in [json!({"sha256": wrong}), json!({"sha256": "0".repeat(64), "settings": wrong})] {
        let status = said.ask(admin, "POST", "/admin/functions/a/live", &body);
        assert!((400..500).contains(&status), "{status}");
    }
    let nobody = ApiCaller { address: admin.address.clone(), token: canary("a wrong token").to_owned() };
    assert_eq!(said.ask(&nobody, "GET", "/api/v1/whoami", &Value::Null), 401);
}

/// Sends events with the right key and with a wrong one.
fn send_events(said: &mut CanarySearch, server: &Server) {
    let event = json!({"type": "track", "event": "Order Completed", "userId": "u-1", "properties": {"n": 1}});
    assert_eq!(server.batch(std::slice::from_ref(&event)).status, 200);
    let in_body = json!({"writeKey": server.key, "batch": [event]}).to_string();
    let reply = request(&server.address, "POST", "/v1/batch", &[], in_body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    said.add("the answer to a batch", reply.body);
    let wrong = canary("a wrong write key");
    let reply = request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(wrong))], b"{\"batch\": []}");
    assert_eq!(reply.status, 401, "{}", reply.text());
    said.add("the answer to a batch with a wrong key", reply.body);
}

/// Asks for everything that there is to be read.
fn look(said: &mut CanarySearch, admin: &ApiCaller) {
    for kind in ["source", "destination", "sync", "secret", "user", "group", "role", "token", "write-key", "domain"] {
        said.ask(admin, "GET", &format!("/api/v1/objects/{kind}"), &Value::Null);
        for object in admin.get(&format!("/api/v1/objects/{kind}"))["objects"].as_array().unwrap() {
            for below in ["", "/history", "/diff?from=0", "/used-by"] {
                let path = format!("/api/v1/objects/{kind}/{}{below}", object["id"].as_str().unwrap());
                assert_eq!(said.ask(admin, "GET", &path, &Value::Null), 200, "{path}");
            }
        }
    }
    for path in [
        "/api/v1/tokens",
        "/api/v1/drafts",
        "/api/v1/audit?limit=1000",
        "/api/v1/audit/export?limit=1000",
        "/api/v1/whoami",
        "/admin/write-keys",
        "/admin/destinations",
        "/admin/functions",
        "/api/v1/events/domains",
    ] {
        assert_eq!(said.ask(admin, "GET", path, &Value::Null), 200, "{path}");
    }
}

/// A folder that is not right, in places where secrets stand, is refused.
fn reload_what_is_wrong(said: &mut CanarySearch, workspace: &Workspace, admin: &ApiCaller) {
    let dir = workspace.path();
    let far = dir.join("destinations/far.yaml");
    let right = std::fs::read_to_string(&far).unwrap();
    let password = canary("a password in a file");
    for wrong in [
        format!("kind: postgres\nurl: postgres://ann:{password}@db:x/shop\n"),
        format!("kind: postgres\nurl: [postgres://ann:{password}@db/shop]\n"),
        format!("kind: postgres\nurl: postgres://db/shop\npasword: {password}\n"),
        format!("kind: postgres\nurl: postgres://db/shop\npassword: {{a: {password}}}\n"),
        format!("kind: clickhouse\nurl: https://db\npassword: {password}\nproxy: 'socks9://ann:{password}@x:y'\n"),
    ] {
        std::fs::write(&far, &wrong).unwrap();
        let status = said.ask(admin, "POST", "/admin/reload", &json!({}));
        assert!(status == 422, "{status}: {wrong}");
        assert_eq!(said.run(&["check", dir.to_str().unwrap()]), Some(3), "{wrong}");
    }
    std::fs::write(&far, right).unwrap();
    assert_eq!(said.ask(admin, "POST", "/admin/reload", &json!({})), 200);
}

/// Runs the commands that read the folder, the server and the data.
fn run_commands(said: &mut CanarySearch, workspace: &Workspace, admin: &ApiCaller) {
    let (dir, url) = (workspace.path(), format!("http://{}", admin.address));
    let dir = dir.to_str().unwrap();
    let with_server = |words: &[&'static str]| {
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--server", &url, "--token", &admin.token].map(str::to_owned));
        words
    };
    said.run(&["check", dir]);
    said.run(&["status", dir]);
    said.run(&["status", dir, "--json"]);
    said.run(&["plan", dir, "--server", &url, "--token", &admin.token]);
    for words in [
        &["object", "list", "destination"][..],
        &["object", "get", "destination", "far"],
        &["object", "history", "destination", "far"],
        &["object", "get", "secret", "crm"],
        &["token", "list"],
        &["user", "list"],
        &["audit", "verify"],
        &["audit", "export"],
    ] {
        let words = with_server(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(said.run(&words), Some(0), "{words:?}");
    }
    let exported = workspace.dir.path().join("exported");
    assert_eq!(said.run(&["export", exported.to_str().unwrap(), "--server", &url, "--token", &admin.token]), Some(0));
    said.files(&exported);
}

#[test]
fn no_secret_is_said_answered_or_kept_in_the_clear() {
    let workspace = workspace();
    let admin_token = workspace.admin_token();
    let log = workspace.dir.path().join("log.txt");
    let variables = [(VARIABLE, canary("a variable of the environment"))];
    let server = workspace.serve_logging(&variables, &["--log", "trace"], &log);
    let admin = ApiCaller::new(&server, &admin_token);
    let mut said = CanarySearch::default();
    // Its text is in this answer, and nowhere else.
    let made = admin.ask("POST", "/api/v1/tokens", &json!({"name": "canary"}));
    assert_eq!(made.status, 201, "{}", made.text());
    let api_token = made.json()["token"].as_str().unwrap().to_owned();
    let person = ApiCaller::new(&server, &api_token);
    assert_eq!(said.ask(&person, "GET", "/api/v1/whoami", &Value::Null), 200);
    send_secrets(&mut said, &admin);
    send_events(&mut said, &server);
    within(PATIENCE, "every destination has failed", || {
        let syncs = workspace.status()["syncs"].clone();
        let all = ["web-to-far", "web-to-columns"].into_iter().all(|sync| syncs[sync]["failure"].is_string());
        if all { Ok(()) } else { Err(syncs.to_string()) }
    });
    reload_what_is_wrong(&mut said, &workspace, &admin);
    look(&mut said, &admin);
    run_commands(&mut said, &workspace, &admin);
    server.stop();
    let dir = workspace.path();
    said.run(&["check", dir.to_str().unwrap(), "--deep"]);
    said.add("the log", std::fs::read(&log).unwrap());
    said.files(&workspace.data());
    let tokens = [("the admin token", admin_token.as_str()), ("an API token", api_token.as_str())];
    let mut found = Vec::new();
    for (what, text) in CANARIES.into_iter().chain(tokens) {
        found.extend(said.found(text).into_iter().map(|place| format!("{what} is in {place}")));
    }
    assert!(found.is_empty(), "{found:#?}");
    // What is looked for would be found.
    said.add("a control", format!("x{}", STANDARD_NO_PAD.encode(format!("ann:{}", CANARIES[1].1))));
    assert_eq!(said.found(CANARIES[1].1).len(), 1);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("web-to-far"), "too little was logged: {log}");
}

/// Everything in which a text of `CANARIES` is, however it is written.
fn leaks(said: &CanarySearch) -> Vec<String> {
    let found = |(what, text): (&str, &str)| {
        let places = said.found(text);
        places.into_iter().map(|place| format!("{what} is in {place}")).collect::<Vec<_>>()
    };
    CANARIES.into_iter().flat_map(found).collect()
}

/// A function that tells its settings and a table in every way in which a guest says something.
fn tell(said: &mut CanarySearch, workspace: &Workspace, admin: &ApiCaller) {
    for (name, what) in
        [("in-settings", "a secret in settings of a function"), ("in-table", "a secret among entries of a table")]
    {
        let value = json!({"value": canary(what)});
        assert_eq!(said.ask(admin, "PUT", &format!("/api/v1/secrets/{name}"), &value), 200);
    }
    workspace.write("lookups/keys.yaml", "kind: table\nentries: {key: secret:in-table}\n");
    workspace.append("sources/web.yaml", "\nfunctions: [told]\n");
    let component = guests::component("hostile/attacks");
    let function = |mode: &str| {
        let settings = format!("settings: {{key: secret:in-settings, mode: {mode}}}");
        let text = format!("component: {}\nlookups: {{keys: keys}}\n{settings}\n", component.display());
        workspace.write("functions/told.yaml", &text);
    };
    function("refuse-by-settings");
    assert_eq!(said.ask(admin, "POST", "/admin/reload", &json!({})), 422);
    function("tell");
    assert_eq!(said.ask(admin, "POST", "/admin/reload", &json!({})), 200);
}

const TELLING: [&str; 7] =
    ["tell-error", "tell-drop", "tell-log", "tell-table", "tell-not-json", "tell-no-kind", "tell-fatal"];

#[test]
fn no_secret_is_in_what_a_function_says_of_itself() {
    let workspace = Workspace::new();
    let admin_token = workspace.admin_token();
    let log = workspace.dir.path().join("log.txt");
    let server = workspace.serve_logging(&[], &["--log", "trace"], &log);
    let admin = ApiCaller::new(&server, &admin_token);
    let mut said = CanarySearch::default();
    tell(&mut said, &workspace, &admin);
    let event =
        |attack: &str| json!({"type": "track", "event": "Bad", "userId": "u", "properties": {"attack": attack}});
    let events: Vec<Value> = TELLING.into_iter().map(event).collect();
    assert_eq!(server.batch(&events).status, 200);
    // All but the one that is dropped and the one that is kept.
    within(PATIENCE, "the others are quarantined", || {
        let codes = workspace.quarantined();
        if codes.len() == TELLING.len() - 2 { Ok(()) } else { Err(format!("{codes:?}")) }
    });
    for attack in TELLING.into_iter().chain(["tell-event"]) {
        let body = json!({"events": [event(attack)]});
        let path = "/api/v1/objects/sync/web-to-warehouse/test";
        assert_eq!(said.ask(&admin, "POST", path, &body), 200, "{attack}");
    }
    let dir = workspace.path();
    let dir = dir.to_str().unwrap();
    for words in
        [&["quarantine", dir][..], &["quarantine", dir, "--json"], &["status", dir], &["status", dir, "--json"]]
    {
        assert_eq!(said.run(words), Some(0), "{words:?}");
    }
    said.run(&["check", dir]);
    for path in ["/admin/functions", "/admin/functions/told/logs", "/api/v1/objects/function/told", "/api/v1/running"] {
        said.ask(&admin, "GET", path, &Value::Null);
    }
    server.stop();
    said.add("the log", std::fs::read(&log).unwrap());
    said.files(&workspace.data());
    assert_eq!(leaks(&said), Vec::<String>::new());
    // What stands for them is where they would be.
    for place in ["the output of tidegate quarantine", "the answer to POST /admin/reload", "the file "] {
        let is_masked = |bytes: &[u8]| memchr::memmem::find(bytes, b"(secret)").is_some();
        let found = said.places.iter().any(|(of, bytes)| of.starts_with(place) && is_masked(bytes));
        assert!(found, "nothing is masked in {place}");
    }
}

/// What is held when the program panics is in no message, whatever a panic says.
#[test]
fn no_secret_is_in_what_a_panic_leaves() {
    for point in ["endings_written", "catalog_committed", "rules_recorded", "refine_before_commit"] {
        let workspace = workspace();
        let admin_token = workspace.admin_token();
        let log = workspace.dir.path().join("log.txt");
        let failpoints = format!("{point}=panic(as asked)");
        let environment = ("RUST_BACKTRACE", "full");
        let variable = (VARIABLE, canary("a variable of the environment"));
        let variables = [variable, ("FAILPOINTS", failpoints.as_str()), environment];
        let server = workspace.serve_logging(&variables, &["--log", "trace"], &log);
        let admin = ApiCaller::new(&server, &admin_token);
        let mut said = CanarySearch::default();
        let event = json!({"type": "track", "event": "Order Completed", "userId": "u-1", "properties": {"n": 1}});
        assert_eq!(server.batch(&[event]).status, 200, "{point}");
        if point != "refine_before_commit" {
            // The value is held while the task that changes what runs panics.
            let value = json!({"value": canary("a secret over the API")});
            let status = said.ask(&admin, "PUT", "/api/v1/secrets/crm", &value);
            assert_eq!(status, 503, "{point}");
            said.ask(&admin, "GET", "/api/v1/running", &Value::Null);
        }
        let text = within(PATIENCE, "the panic is told", || {
            let text = std::fs::read_to_string(&log).unwrap();
            if text.contains("panicked at") && text.contains("as asked") { Ok(text) } else { Err(text) }
        });
        server.kill();
        assert!(text.contains("stack backtrace"), "{text}");
        said.run(&["status", workspace.path().to_str().unwrap(), "--json"]);
        said.add("the log", std::fs::read(&log).unwrap());
        said.files(&workspace.data());
        assert_eq!(leaks(&said), Vec::<String>::new(), "{point}");
    }
}
