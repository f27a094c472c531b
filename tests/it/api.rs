//! The admin API as its document describes it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_plugin::embed;

use crate::conformance::skipped;
use crate::support::admin::Admin;
use crate::support::http::request;
use crate::support::{Server, Workspace, guests};

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

/// Makes a function and a destination live, both called `crm`. What the fuzzer may say of them: the build and the versions.
fn made_live(admin: &Admin) -> (String, [String; 2]) {
    let function = json!({"name": "crm", "kind": "transform", "description": "one", "settings": {"type": "object"}});
    let component = std::fs::read(guests::component("transform/redact-pii")).unwrap();
    let built = admin.upload("crm", &embed(&component, &function, &[]));
    let of_function = built["version"]["sha256"].as_str().unwrap().to_owned();
    admin.live("crm", &of_function, json!({"fields": {"email": "mask"}}));
    let destination = json!({
        "name": "crm", "kind": "destination", "description": "one", "hosts": ["{{settings.endpoint}}"],
        "settings": {"type": "object", "required": ["endpoint"], "properties": {"endpoint": {"type": "string"}}},
    });
    let component = guests::destination("hostile/destination", &destination);
    let pushed = admin.ask("POST", "/admin/destinations/crm/versions", &component);
    assert_eq!(pushed.status, 202, "{}", pushed.text());
    let of_destination = admin.built(pushed.json()["build"].as_str().unwrap());
    let of_destination = of_destination["version"]["sha256"].as_str().unwrap().to_owned();
    let live = json!({"sha256": of_destination, "settings": {"endpoint": "https://crm.example"}});
    let reply = admin.post("/admin/destinations/crm/live", &live);
    assert_eq!(reply.status, 200, "{}", reply.text());
    (built["build"].as_str().unwrap().to_owned(), [of_function, of_destination])
}

/// What most of its tries name, so that there is something to answer.
fn configuration(build: &str, versions: &[String; 2]) -> String {
    let names = [
        ("path.name", "name", json!(["crm"])),
        ("path.id", "build", json!([build])),
        ("body.sha256", "version", json!(versions)),
        ("body.source", "source", json!(["web"])),
    ];
    let dictionaries: String =
        names.iter().map(|(_, name, values)| format!("{name} = {{ values = {values} }}\n")).collect();
    let parameters: String = names
        .iter()
        .map(|(place, name, _)| format!("\"{place}\" = {{ dictionary = \"{name}\", probability = 0.7 }}\n"))
        .collect();
    format!("[dictionaries]\n{dictionaries}\n[parameters]\n{parameters}")
}

/// The operations that did what they were asked, by the fuzzer's report.
fn operations_done(report: &str) -> BTreeSet<String> {
    let lines = report.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let scenarios = lines.map(|line| line["ScenarioFinished"]["recorder"].clone());
    let done = scenarios.filter(|scenario| {
        let tries = scenario["interactions"].as_object();
        tries.is_some_and(|tries| tries.values().any(|one| one["response"]["status_code"] == 200))
    });
    done.filter_map(|scenario| scenario["label"].as_str().map(str::to_owned)).collect()
}

/// What a fuzzer was given and what it found.
pub struct FuzzedApi {
    /// What it said; the end of it tells how much it tried.
    pub said: String,
    /// The operations that did what they were asked.
    pub done: BTreeSet<String>,
}

/// Where `tests/sdk/setup` installs.
pub fn sdk_cache() -> PathBuf {
    std::env::var_os("TIDEGATE_SDK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/sdk"),
        PathBuf::from,
    )
}

/// Schemathesis reads the document, and sends what fits it and what does not. None where it is not installed.
#[track_caller]
pub fn fuzzed(server: &Server, token: &str, configuration: &str, paths: &[&str]) -> Option<FuzzedApi> {
    let lib = sdk_cache().join("python/lib");
    if !lib.join("schemathesis").is_dir() {
        skipped("schemathesis", "it is not installed; `tests/sdk/setup python` says why");
        return None;
    }
    // The long form of `make faults` tries more, and follows what one answer offers to the next.
    let many = std::env::var_os("TIDEGATE_FUZZ_EXAMPLES").and_then(|many| many.into_string().ok());
    let phases = if many.is_some() { "examples,coverage,fuzzing,stateful" } else { "examples,coverage,fuzzing" };
    let examples = many.unwrap_or_else(|| "25".to_owned());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("schemathesis.toml"), configuration).unwrap();
    let output = Command::new("python3")
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(format!("http://{}/api/openapi.json", server.admin))
        .args(["--header", &format!("Authorization: Bearer {token}"), "--max-examples", &examples, "--seed", "1"])
        .args(paths)
        .args(["--phases", phases])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
             unsupported_method",
        ])
        .args(["--report", "ndjson", "--report-ndjson-path", "report.ndjson"])
        .current_dir(dir.path())
        .env("PYTHONPATH", &lib)
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let done = operations_done(&std::fs::read_to_string(dir.path().join("report.ndjson")).unwrap());
    Some(FuzzedApi { said, done })
}

#[test]
fn a_fuzzer_that_reads_the_document_gets_no_answer_that_it_does_not_describe() {
    let workspace = Workspace::new();
    workspace.write("destinations/crm.yaml", "kind: plugin\nallow_hosts: [https://crm.example]\n");
    workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let (build, versions) = made_live(&admin);
    let document = admin.get("/api/openapi.json");
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{document}");
    // Bytes of a component are no JSON, which is what it can make.
    let paths = ["--exclude-path-regex", "/versions$", "--include-path-regex", "^/admin"];
    let Some(found) = fuzzed(&server, &token, &configuration(&build, &versions), &paths) else { return };
    assert!(found.said.contains("Tested: 21"), "{}", found.said);
    assert!(found.done.len() >= 10, "too little was there to be answered: {:?}\n{}", found.done, found.said);
    server.stop();
}
