//! The admin API as its document describes it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::conformance::skipped;
use crate::support::Workspace;
use crate::support::admin::Admin;
use crate::support::http::request;

#[test]
fn a_refusal_is_a_problem_with_a_code_and_a_fix() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let authorization = format!("Bearer {token}");
    for (method, path, body, status, code) in [
        ("GET", "/admin/functions/nosuch", "", 404, "no-such-name"),
        ("GET", "/admin/functions/No_Such", "", 400, "name"),
        ("GET", "/admin/functions/%ff", "", 400, "name"),
        ("GET", "/admin/functions/a%2fb", "", 400, "name"),
        ("GET", "/admin/functions/a/logs?limit=x", "", 400, "limit"),
        ("GET", "/admin/functions/a/logs?nosuch=x", "", 400, "query"),
        ("GET", "/admin/nosuch", "", 404, "not-found"),
        ("POST", "/admin/functions", "", 405, "wrong-method"),
        ("DELETE", "/admin/functions/a", "", 405, "wrong-method"),
        ("POST", "/admin/functions/a/live", "{", 400, "json"),
        ("POST", "/admin/functions/a/live", "[]", 400, "json"),
        ("POST", "/admin/functions/a/live", "{\"sha256\": 1}", 400, "sha256"),
        ("POST", "/admin/functions/a/live", "{\"sha256\": \"1\", \"settings\": 1}", 400, "sha256"),
        ("POST", "/admin/functions/a/live", "{}", 400, "body"),
        ("POST", "/admin/functions/a/rollback", "{\"x\": 1}", 400, "body"),
        ("POST", "/admin/functions/a/canary", "{\"share\": 300}", 400, "share"),
        ("POST", "/admin/functions/a/canary", "{\"off\": true, \"share\": 3}", 400, "off"),
        ("POST", "/admin/functions/a/attach", "{\"source\": \"nosuch\"}", 400, "no-such-source"),
    ] {
        let reply = request(&server.admin, method, path, &[("authorization", &authorization)], body.as_bytes());
        let problem: Value = reply.json();
        let said = format!("{method} {path} {body}: {} {problem}", reply.status);
        assert_eq!((reply.status, problem["code"].as_str()), (status, Some(code)), "{said}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{said}");
        assert_eq!(problem["status"], status, "{said}");
        assert_eq!(problem["type"], format!("urn:tidegate:problem:{code}"), "{said}");
        assert!(
            ["title", "detail", "fix"].iter().all(|of| problem[*of].as_str().is_some_and(|it| !it.is_empty())),
            "{said}"
        );
    }
    let refused = request(&server.admin, "GET", "/api/openapi.json", &[], b"");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("no-token")));
}

/// Schemathesis reads the document, and sends what fits it and what does not.
#[test]
fn a_fuzzer_that_reads_the_document_gets_no_answer_that_it_does_not_describe() {
    let cache = std::env::var_os("TIDEGATE_SDK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/sdk"),
        PathBuf::from,
    );
    let lib = cache.join("python/lib");
    if !lib.join("schemathesis").is_dir() {
        return skipped("schemathesis", "it is not installed; `tests/sdk/setup python` says why");
    }
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let document = Admin::new(&server, &token).get("/api/openapi.json");
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{document}");
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(format!("http://{}/api/openapi.json", server.admin))
        .args(["--header", &format!("Authorization: Bearer {token}"), "--max-examples", "15", "--seed", "1"])
        // Bytes of a component are no JSON, which is what it can make.
        .args(["--exclude-path-regex", "/versions$", "--phases", "examples,coverage,fuzzing"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
             unsupported_method",
        ])
        .current_dir(empty.path())
        .env("PYTHONPATH", &lib)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Tested: 16"), "{said}");
    server.stop();
}
