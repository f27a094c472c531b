//! Uploads made to hurt: each refused with a sentence that says why, and the server goes on.

use serde_json::{Value, json};
use tidegate_plugin::embed;

use super::{event, mask, redact};
use crate::support::admin::Admin;
use crate::support::waiting::until;
use crate::support::{Workspace, guests};

/// A component of this text with a manifest of the function `f`.
fn packaged(text: &str) -> Vec<u8> {
    embed(&wat::parse_str(text).unwrap(), &json!({"name": "f", "kind": "transform"}), &[])
}

/// What passes for the world `transform` as long as nobody compiles it.
const EXPORTS: &str = r#"
    (instance $nothing)
    (export "tidegate:plugin/lifecycle@0.1.0" (instance $nothing))
    (export "tidegate:plugin/transformer@0.1.0" (instance $nothing))"#;

fn with_module(body: &str) -> String {
    format!("(component (core module {body}) {EXPORTS})")
}

fn many(n: usize, one: impl Fn(usize) -> String) -> String {
    (0..n).map(one).collect::<Vec<_>>().join(" ")
}

/// A type within a type within a type: three bytes a level.
fn deep_types(levels: usize) -> Vec<u8> {
    let mut component = wat::parse_str(with_module("")).unwrap();
    let mut types = vec![1];
    types.extend([0x41, 1, 1].repeat(levels));
    types.push(0x7f);
    component.push(7);
    let mut length = types.len();
    while length > 0x7f {
        component.push(length as u8 & 0x7f | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend(types);
    embed(&component, &json!({"name": "f", "kind": "transform"}), &[])
}

/// Name, component, and what the answer must say.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let nested = |n: usize| format!("{}{}", "(component ".repeat(n), ")".repeat(n));
    let other_version = r#"(component (import "tidegate:plugin/host@0.2.0" (instance)))"#;
    vec![
        (
            "a huge function",
            packaged(&with_module(&format!("(func {})", many(400_000, |_| "i32.const 1 drop".into())))),
            "bytes of code in one function",
        ),
        ("many functions", packaged(&with_module(&many(60_001, |_| "(func)".into()))), "functions"),
        ("many types", packaged(&with_module(&many(20_001, |_| "(type (func))".into()))), "types"),
        (
            "many component types",
            packaged(&format!("(component {} {EXPORTS})", many(20_001, |_| "(type bool)".into()))),
            "types",
        ),
        (
            "10,000 exports",
            packaged(&format!(
                "(component {} {EXPORTS})",
                many(10_000, |n| format!("(instance $i{n}) (export \"e{n}\" (instance $i{n}))"))
            )),
            "exports of components",
        ),
        (
            "10,000 exports of a module",
            packaged(&with_module(&format!("(func $f) {}", many(10_000, |n| format!("(export \"e{n}\" (func $f))"))))),
            "exports of one core module",
        ),
        (
            "many modules",
            packaged(&format!("(component {} {EXPORTS})", many(65, |_| "(core module)".into()))),
            "core modules",
        ),
        ("deep nesting", packaged(&nested(100)), "levels of nesting"),
        ("many globals", packaged(&with_module(&many(20_001, |_| "(global i32 (i32.const 0))".into()))), "globals"),
        ("a huge memory", packaged(&with_module("(memory 8192)")), "bytes of memory"),
        ("many memories", packaged(&with_module(&many(5, |_| "(memory 1)".into()))), "memories"),
        ("a huge table", packaged(&with_module("(table 10000000 funcref)")), "table elements"),
        (
            "sockets",
            packaged(&format!("(component (import \"evil:net/sockets@1.0.0\" (instance)) {EXPORTS})")),
            "imports evil:net/sockets@1.0.0",
        ),
        (
            "files",
            packaged(&format!("(component (import \"wasi:filesystem/types@0.2.0\" (instance)) {EXPORTS})")),
            "imports wasi:filesystem/types@0.2.0",
        ),
        (
            "secrets in a function",
            packaged(&format!("(component (import \"tidegate:plugin/secrets@0.1.0\" (instance)) {EXPORTS})")),
            "imports tidegate:plugin/secrets@0.1.0",
        ),
        ("another version", packaged(other_version), "tidegate:plugin@0.2.0; this host speaks 0.1.0"),
        ("no exports", packaged("(component)"), "does not export tidegate:plugin/lifecycle@0.1.0"),
        ("exports without functions", packaged(&with_module("")), "world `transform`"),
        ("no manifest", wat::parse_str(with_module("")).unwrap(), "carries no manifest"),
        ("a core module", b"\0asm\x01\0\0\0".to_vec(), "core module, not a component"),
        ("a script", b"#!/bin/sh\nrm -rf /\n".to_vec(), "not a WebAssembly component"),
        ("nothing", Vec::new(), "not a WebAssembly component"),
        ("types within types", deep_types(300_000), "compile: "),
        (
            "blocks within blocks",
            packaged(&with_module(&format!("(func {} {})", "block ".repeat(250_000), "end ".repeat(250_000)))),
            "compile: ",
        ),
        ("code that is none", packaged(&with_module("(func (result i32) unreachable i64.const 0)")), "type mismatch"),
    ]
}

#[test]
fn every_bomb_is_refused_with_its_reason_and_the_server_goes_on() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    for (name, component, reason) in bombs() {
        let refused = admin.refused("f", &component);
        assert!(refused.contains(reason), "{name}: {refused}");
        assert!(refused.len() < 3_000, "{name}: an answer of {} bytes", refused.len());
    }

    let good = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let of = |manifest: Value| embed(&good, &manifest, &[]);
    for (name, manifest, reason) in [
        ("another name", json!({"name": "g", "kind": "transform"}), "send it as \"g\""),
        (
            "another world",
            json!({"name": "f", "kind": "fields"}),
            "does not export tidegate:plugin/field-transformer@0.1.0",
        ),
        (
            "another shelf",
            json!({"name": "f", "kind": "destination", "hosts": ["https://a.example"]}),
            "use `tidegate destination push`",
        ),
        ("another api", json!({"name": "f", "kind": "transform", "api": "0.9.0"}), "this host speaks 0.1.0"),
        (
            "a wrong manifest",
            json!({"name": "f", "kind": "transform", "settings": {"type": "banana"}}),
            "manifest is wrong",
        ),
    ] {
        let refused = admin.refused("f", &of(manifest));
        assert!(refused.contains(reason), "{name}: {refused}");
    }

    let whole = redact("one");
    for part in 1..16 {
        let refused = admin.refused("redact", &whole[..whole.len() * part / 16]);
        assert!(!refused.contains("Backtrace"), "{part}: {refused}");
    }
    for at in (0..whole.len()).step_by(whole.len() / 12) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        // It may still be a component; whatever it is, it has an end.
        admin.upload("redact", &changed);
    }

    let huge = admin.ask("POST", "/admin/functions/f/versions", &vec![0; 50_000_000]);
    assert_eq!((huge.status, huge.json()["code"].as_str()), (413, Some("too-large")));
    for body in ["{", "[]", "{\"sha256\": 1}", "{\"sha256\": \"../../key\"}", "{\"unknown\": 1}", ""] {
        assert_eq!(admin.ask("POST", "/admin/functions/f/live", body.as_bytes()).status, 400, "{body}");
    }

    // An answer may be there before the file that was refused is gone.
    until("nothing is left of the uploads", || {
        std::fs::read_dir(workspace.data().join("store/incoming")).unwrap().next().is_none()
    });
    let sha256 = admin.taken("redact", &whole);
    admin.attach("redact", "web");
    admin.live("redact", &sha256, mask());
    server.stop();
    let server = workspace.serve();
    assert_eq!(server.batch(&[event("a")]).status, 200);
    server.stop();
    assert_eq!(workspace.warehouse().rows("SELECT email LIKE '%*%' FROM pages"), ["1"]);
}

#[test]
fn the_queue_is_bounded() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let replies: Vec<_> =
        (0..40).map(|n| admin.ask("POST", "/admin/functions/redact/versions", &redact(&n.to_string()))).collect();
    let busy: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    let taken: Vec<_> = replies.iter().filter(|reply| reply.status == 202).collect();
    assert_eq!(busy.len() + taken.len(), 40);
    assert!(!busy.is_empty(), "40 uploads at once were all taken");
    assert!(busy[0].text().contains("uploads wait already") && busy[0].header("retry-after").is_some());
    for reply in taken {
        assert_eq!(admin.built(reply.json()["build"].as_str().unwrap())["state"], "ready");
    }
}
