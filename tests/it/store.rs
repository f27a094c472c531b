//! Uploads, pointers and what must never come of them, over the admin API of a real server.

mod compile;
mod crash;
mod hostile;
mod push;

use serde_json::{Value, json};
use tidegate_plugin::{Fixture, embed};

use crate::support::admin::Admin;
use crate::support::{Workspace, guests, request, run};

/// A manifest of the function `redact`, told apart by `note`.
fn manifest(note: &str) -> Value {
    json!({
        "name": "redact", "kind": "transform", "description": note,
        "settings": {
            "type": "object", "additionalProperties": false,
            "properties": {"fields": {"type": "object"}, "salt": {"type": "string"}},
        },
    })
}

fn redact(note: &str) -> Vec<u8> {
    embed(&std::fs::read(guests::component("transform/redact-pii")).unwrap(), &manifest(note), &[])
}

fn event(id: &str) -> Value {
    json!({"type": "page", "name": "Home", "messageId": id, "properties": {"email": "ada@example.com"}})
}

fn hash() -> Value {
    json!({"fields": {"email": "hash"}, "salt": "s"})
}

fn mask() -> Value {
    json!({"fields": {"email": "mask"}})
}

#[test]
fn a_version_goes_live_and_back_and_events_see_it() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    assert_eq!(admin.ask("GET", "/admin/functions/redact", b"").status, 404);

    let (one, two) = (admin.taken("redact", &redact("one")), admin.taken("redact", &redact("two")));
    assert_ne!(one, two);
    assert_eq!(admin.taken("redact", &redact("one")), one, "the same bytes are the same version");
    let shown = admin.get("/admin/functions/redact");
    assert_eq!((shown["versions"].as_array().unwrap().len(), &shown["live"]), (2, &Value::Null));

    let refused = admin.post("/admin/functions/redact/live", &json!({"sha256": one, "settings": {"field": 1}}));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some("settings")), "{}", refused.text());
    // The schema lets it pass, the function itself does not: a hash needs a salt.
    let unsalted = json!({"sha256": one, "settings": {"fields": {"email": "hash"}}});
    let refused = admin.post("/admin/functions/redact/live", &unsalted);
    assert!(refused.status == 422 && refused.text().contains("the plugin refuses them"), "{}", refused.text());
    let refused = admin.post("/admin/functions/redact/attach", &json!({"source": "nowhere"}));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("no-such-source")));

    admin.attach("redact", "web");
    admin.live("redact", &one, mask());
    admin.live("redact", &two, json!({"fields": {"email": "drop"}}));
    assert_eq!(admin.get("/admin/functions/redact")["previous"]["sha256"].as_str(), Some(one.as_str()));
    let back = admin.post("/admin/functions/redact/rollback", &json!({}));
    assert_eq!(back.json()["live"], json!({"sha256": one, "settings": mask()}), "{}", back.text());
    assert_eq!(admin.get("/admin/functions")["functions"][0]["live"].as_str(), Some(one.as_str()));
    server.stop();

    // What is live is live after a restart, and sees events.
    let server = workspace.serve();
    assert_eq!(server.batch(&[event("a")]).status, 200);
    server.stop();
    let masked = workspace.warehouse().rows("SELECT id, email LIKE '%*%' FROM pages");
    assert_eq!(masked, ["a|1"]);
}

#[test]
fn the_command_line_pushes_lists_and_rolls_back() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let url = format!("http://{}", server.admin);
    let file = |name: &str, bytes: &[u8]| {
        let path = workspace.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let tidegate = |args: &[&str]| {
        let mut all = vec!["--json", "function"];
        all.extend(args);
        all.extend(["--server", &url, "--token", &token]);
        let output = run(&all);
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let settings = file("settings.json", mask().to_string().as_bytes());
    let (one, two) = (file("one.wasm", &redact("one")), file("two.wasm", &redact("two")));
    let (code, pushed) = tidegate(&["push", &one, "--to", "web", "--settings", &settings]);
    assert_eq!((code, pushed["state"].as_str()), (Some(0), Some("live")), "{pushed}");
    let (code, canary) = tidegate(&["push", &two, "--canary", "10%"]);
    assert_eq!((code, canary["state"].as_str()), (Some(0), Some("candidate")), "{canary}");
    let (_, shown) = tidegate(&["versions", "redact"]);
    assert_eq!((shown["canary"]["share"].as_u64(), &shown["attached"]), (Some(10), &json!(["web"])), "{shown}");
    let (code, live) = tidegate(&["push", &two]);
    assert_eq!((code, live["state"].as_str()), (Some(0), Some("live")), "{live}");
    let (code, back) = tidegate(&["rollback", "redact"]);
    assert_eq!((code, &back["live"]["sha256"]), (Some(0), &pushed["version"]["sha256"]), "{back}");
    let (code, logs) = tidegate(&["logs", "redact"]);
    assert_eq!((code, logs), (Some(0), Value::Null));

    let (code, refused) = tidegate(&["push", &file("core.wasm", b"\0asm\x01\0\0\0")]);
    assert_eq!(code, Some(1), "{refused}");
    let output = run(&["function", "versions", "redact", "--server", &url, "--token", "tg_wrong"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("the token opens nothing"), "{text}");
    server.stop();
    let output = run(&["function", "versions", "redact", "--server", &url, "--token", &token]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("is `tidegate serve` running there?"), "{text}");
}

#[test]
fn nothing_is_answered_without_the_token() {
    let workspace = Workspace::new();
    let first = workspace.admin_token();
    let server = workspace.serve();
    let code = |headers: &[(&str, &str)]| {
        let reply = request(&server.admin, "GET", "/admin/functions", headers, b"");
        (reply.status, reply.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(code(&[]), (401, "no-token".into()));
    assert_eq!(code(&[("authorization", "Basic dTpw")]), (401, "no-token".into()));
    assert_eq!(code(&[("authorization", &bearer("tg_00"))]), (401, "wrong-token".into()));
    assert_eq!(code(&[("authorization", &bearer(&first))]).0, 200);
    let second = workspace.admin_token();
    assert_eq!(code(&[("authorization", &bearer(&first))]), (401, "wrong-token".into()), "a reset counts at once");
    assert_eq!(code(&[("authorization", &bearer(&second))]).0, 200);
    for _ in 0..10 {
        code(&[("authorization", &bearer("guess"))]);
    }
    assert_eq!(code(&[("authorization", &bearer("guess"))]), (429, "too-many-wrong-tokens".into()));
    assert_eq!(code(&[("authorization", &bearer(&second))]).0, 200, "the right one always passes");
    let kept = std::fs::read_to_string(workspace.data().join("admin.json")).unwrap();
    assert!(!kept.contains(&second[3..]), "the token itself is on disk");
    use std::os::unix::fs::PermissionsExt as _;
    for secret in ["admin.json", "store/key", "store/pointers.json"] {
        let path = workspace.data().join(secret);
        let Ok(found) = std::fs::metadata(&path) else { continue };
        assert_eq!(found.permissions().mode() & 0o077, 0, "{secret} may be read by others");
    }
    assert_eq!(request(&server.admin, "POST", "/admin/functions/a/versions", &[], &[0; 1_000]).status, 401);
}

#[test]
fn the_token_is_shown_at_the_first_start_alone() {
    let workspace = Workspace::new();
    let shown = workspace.serve().stop();
    let token = shown.split_whitespace().find(|word| word.starts_with("tg_")).unwrap().to_owned();
    let server = workspace.serve();
    assert_eq!(Admin::new(&server, &token).ask("GET", "/admin/functions", b"").status, 200);
    assert!(!server.stop().contains("tg_"));
}

#[test]
fn fixtures_that_come_out_differently_refuse_the_upload() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let with = |input: Value, expected: Option<Value>, settings: Value| {
        let fixture = Fixture { name: "one".into(), input, expected, settings };
        embed(&std::fs::read(guests::component("transform/redact-pii")).unwrap(), &manifest("x"), &[fixture])
    };
    let input = json!({"type": "page", "properties": {"email": "ada@example.com"}});
    let refused = admin.refused("redact", &with(input.clone(), Some(json!([{"keep": true}])), hash()));
    assert!(refused.starts_with("smoke: the fixture \"one\"") && refused.contains("-     \"keep\": true"), "{refused}");
    let passed = admin.upload("redact", &with(json!({"type": "page"}), Some(json!([{"keep": true}])), hash()));
    assert_eq!(passed["version"]["smoke"]["passed"], 1, "{passed}");
    let refused = admin.refused("redact", &with(input, None, json!({"fields": {"email": "burn"}})));
    assert!(refused.contains("breaks on the fixture"), "{refused}");
}

#[test]
fn changed_or_foreign_code_is_compiled_again_and_never_loaded() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let sha256 = admin.taken("redact", &redact("one"));
    admin.attach("redact", "web");
    admin.live("redact", &sha256, mask());
    assert!(!server.stop().contains("compiled again"));

    let artifact = workspace.data().join(format!("store/artefacts/{sha256}.cwasm"));
    let good = std::fs::read(&artifact).unwrap();
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0xff;
    let key = workspace.data().join("store/key");
    type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let damages: [Damage<'_>; 5] = [
        ("changed", Box::new(|| std::fs::write(&artifact, &changed).unwrap())),
        ("cut", Box::new(|| std::fs::write(&artifact, &good[..good.len() - 1]).unwrap())),
        ("empty", Box::new(|| std::fs::write(&artifact, b"").unwrap())),
        ("of another key", Box::new(|| std::fs::write(&key, [7; 32]).unwrap())),
        ("without a key", Box::new(|| std::fs::write(&key, b"short").unwrap())),
    ];
    for (n, (name, damage)) in damages.iter().enumerate() {
        damage();
        let server = workspace.serve();
        assert_eq!(server.batch(&[event(&n.to_string())]).status, 200);
        let log = server.stop();
        assert!(log.contains("it is compiled again"), "{name}: {log}");
        let again = workspace.serve().stop();
        assert!(!again.contains("compiled again"), "{name}: the new code is not kept: {again}");
    }
    assert_eq!(workspace.warehouse().rows("SELECT count(*) FROM pages WHERE email LIKE '%*%'"), ["5"]);

    // The component itself is what its name says, or nothing runs.
    std::fs::remove_file(&artifact).unwrap();
    std::fs::write(workspace.data().join(format!("store/versions/{sha256}.wasm")), redact("two")).unwrap();
    let output =
        run(&["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("its sha-256 is another than its name"), "{text}");
}
