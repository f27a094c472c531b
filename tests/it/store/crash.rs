//! The process dies at any step of an upload or a flip; what is there afterwards is the old or the new, and whole.

use serde_json::{Value, json};

use super::{event, hash, mask, redact};
use crate::support::Workspace;
use crate::support::admin::Admin;
use crate::support::http::try_request;
use crate::support::waiting::{PATIENCE, within};

/// Uploads and makes live for as long as the server lives; answers whether it outlived it.
fn push(address: &str, token: &str, component: &[u8], settings: &Value) -> bool {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let ask = |method: &str, path: &str, body: &[u8]| {
        let reply = try_request(address, method, path, &headers, body).ok()?;
        (reply.status < 300).then(|| reply.json())
    };
    let done = || {
        let taken = ask("POST", "/admin/functions/redact/versions", component)?;
        let path = format!("/admin/builds/{}?wait_ms=20000", taken["build"].as_str()?);
        let built = std::iter::repeat_with(|| ask("GET", &path, b""))
            .find(|answer| answer.as_ref().is_none_or(|answer| answer["state"] == "ready"))??;
        let body = json!({"sha256": built["version"]["sha256"], "settings": settings});
        ask("POST", "/admin/functions/redact/live", body.to_string().as_bytes())
    };
    done().is_some()
}

#[test]
fn a_crash_at_any_write_leaves_the_old_or_the_new() {
    let mut crashes = 0;
    for point in ["store_before_rename", "store_after_rename"] {
        // The writes of a push: bytes, metadata, releases.
        for writes_before in 0..3 {
            let workspace = Workspace::new();
            let token = workspace.admin_token();
            let server = workspace.serve();
            let admin = Admin::new(&server, &token);
            let old = admin.taken("redact", &redact("old"));
            admin.attach("redact", "web");
            admin.live("redact", &old, mask());
            server.stop();

            let server = workspace.serve_with(&[&format!("{point}={writes_before}*off->return")]);
            let outlived = push(&server.admin, &token, &redact("new"), &hash());
            crashes += u32::from(!outlived);
            server.kill();

            let server = workspace.serve();
            let admin = Admin::new(&server, &token);
            let shown = admin.get("/admin/functions/redact");
            let versions: Vec<&str> =
                shown["versions"].as_array().unwrap().iter().map(|v| v["sha256"].as_str().unwrap()).collect();
            let live = shown["live"]["sha256"].as_str().unwrap();
            assert!(versions.contains(&live) && versions.contains(&old.as_str()), "{point} {writes_before}: {shown}");
            let settings = if live == old { mask() } else { hash() };
            assert_eq!(shown["live"]["settings"], settings, "{point} {writes_before}");
            assert_eq!(server.batch(&[event("a")]).status, 200);
            assert!(push(&server.admin, &token, &redact("new"), &hash()), "{point} {writes_before}: it goes on");
            server.stop();
            assert_eq!(
                workspace.warehouse().rows("SELECT count(*) FROM pages WHERE email <> 'ada@example.com'"),
                ["1"]
            );
        }
    }
    assert_eq!(crashes, 6, "a fail point was not reached");
}

#[test]
fn a_build_that_is_killed_leaves_nothing_behind() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let whole = redact("one");
    for waits in [false, true] {
        let server = workspace.serve();
        let admin = Admin::new(&server, &token);
        let taken = admin.ask("POST", "/admin/functions/redact/versions", &whole).json();
        if waits {
            let build = taken["build"].as_str().unwrap();
            let mut state = json!("queued");
            within(PATIENCE, "the component is compiled", || {
                let from = state.as_str().unwrap();
                let path = format!("/admin/builds/{build}?wait_ms=20000&from={from}");
                state = admin.get(&path)["state"].clone();
                if state == "queued" || state == "inspecting" { Err(state.to_string()) } else { Ok(()) }
            });
        }
        server.kill();
    }
    let server = workspace.serve();
    let incoming = std::fs::read_dir(workspace.data().join("store/incoming")).unwrap();
    assert_eq!(incoming.count(), 0, "what was on its way is still there");
    let admin = Admin::new(&server, &token);
    let sha256 = admin.taken("redact", &whole);
    admin.live("redact", &sha256, mask());
    assert_eq!(admin.get("/admin/functions/redact")["live"]["sha256"].as_str(), Some(sha256.as_str()));
}
