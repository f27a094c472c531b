//! The same input ends the same way on every route, and what is quarantined is whole.
//!
//! A case is a file in `cases/elements`: one event as it lies on the wire; its name begins with the code under which
//! it ends.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, Workspace, request, run};

struct Case {
    name: String,
    code: String,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/elements");
    let mut cases: Vec<Case> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let code = name.split_once("--").unwrap().0.to_owned();
            Case { name, code, bytes: std::fs::read(entry.path()).unwrap() }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Entries of the quarantine, in order.
fn entries(workspace: &Workspace) -> Vec<Value> {
    let output = run(&["quarantine", workspace.path().to_str().unwrap(), "--json", "--most", "100000"]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends every case through `send` and compares what became of it; `around` are good events that must arrive.
fn all_end(send: impl Fn(&Server, &Case) -> String, around: u64) {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let cases = cases();
    let (mut want, mut accepted, mut bounded) = (Vec::new(), 0, 0);
    for case in &cases {
        if case.code == "unbounded" {
            assert_eq!(send(&server, case), "400 malformed-json", "{}", case.name);
            continue;
        }
        bounded += 1;
        assert_eq!(send(&server, case), "200", "{}", case.name);
        if case.code == "accepted" {
            accepted += 1;
        } else {
            want.push(case.code.clone());
        }
    }
    server.stop();
    assert!(accepted > 5 && want.len() > 60);
    assert_eq!(workspace.quarantined(), want);
    assert_eq!(workspace.warehouse().count("e"), accepted);
    if around > 0 {
        assert_eq!(workspace.warehouse().count("good"), around * bounded);
    }
}

#[test]
fn every_case_ends_under_its_code_on_the_route_of_one_event() {
    all_end(|server, case| server.post("/v1/track", &case.bytes).code(), 0);
}

#[test]
fn every_case_ends_under_its_code_in_a_batch_alone() {
    let send = |server: &Server, case: &Case| {
        let body = [b"{\"batch\":[", &*case.bytes, b"]}"].concat();
        server.post("/beacon/v1/batch", body).code()
    };
    all_end(send, 0);
}

#[test]
fn every_case_ends_under_its_code_between_neighbours_that_arrive() {
    let send = |server: &Server, case: &Case| {
        let good = br#"{"type":"track","event":"Good"}"#;
        let body = [b"{\"batch\":[", &good[..], b",", &case.bytes, b",", good, b"]}"].concat();
        server.post("/v1/batch", body).code()
    };
    all_end(send, 2);
}

#[test]
fn a_pixel_ends_under_the_codes_of_json_and_keeps_its_query() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlimits: {event_depth_max: 10, event_keys_max: 300}\n");
    let server = workspace.serve();
    let many: String = (0..301).map(|n| format!("&k{n}=1")).collect();
    let fine: String = (0..290).map(|n| format!("&properties.k{n}=1")).collect();
    let cases = [
        ("not-utf8", "&event=caf%E9".to_owned()),
        ("malformed-json", "&event=a%zz".to_owned()),
        ("malformed-json", "&event=a%".to_owned()),
        ("duplicate-key", "&event=a&event=b".to_owned()),
        ("duplicate-key", "&event=a&p=1&p.q=2".to_owned()),
        ("duplicate-key", format!("&event=a&write%4Bey={}", server.key)),
        ("too-deep", "&event=a&a.b.c.d.e.f.g.h.i.j.k=1".to_owned()),
        ("too-many-keys", format!("&event=a{many}")),
    ];
    for (code, query) in &cases {
        let reply =
            request(&server.address, "GET", &format!("/pixel/v1/track?writeKey={}{query}", server.key), &[], b"");
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/gif")), "{code} {query}");
    }
    let path = format!("/pixel/v1/track?writeKey={}&event=Fine{fine}", server.key);
    assert_eq!(request(&server.address, "GET", &path, &[], b"").status, 200);
    let key = server.key.clone();
    server.stop();
    let entries = entries(&workspace);
    assert_eq!(entries.len(), cases.len());
    for ((code, query), entry) in cases.iter().zip(&entries) {
        assert_eq!(entry["code"], *code, "{query}");
        let kept = entry["event"].as_str().unwrap();
        assert!(!kept.contains(&key), "{kept}");
        if !query.contains(&key) {
            assert_eq!(kept, &query[1..]);
        }
    }
    assert_eq!(workspace.warehouse().rows("SELECT k0, k289 FROM fine"), ["1|1"]);
}

#[test]
fn a_quarantined_event_has_what_its_batch_said_and_no_write_key() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let key = server.key.clone();
    let flawed = [
        format!(r#"{{"type":"track","event":"A","n":1,"a":tru,"writeKey":"{key}"}}"#),
        format!(r#"{{"type":"track","event":"A","n":2,"writeKey":"{key}","a":"\ud800"}}"#),
        format!(r#"{{"type":"order","n":3,"writeKey":"{key}"}}"#),
        format!("{{'n':4,'writeKey':'{key}'}}"),
        format!(r#"{{"type":"track","event":"A","n":5,"properties":{{"a":1,"a":2}},"writ\u0065Key":"{key}"}}"#),
    ];
    let context = r#"{"library":{"name":"shop"},"big":12345678901234567890.10}"#;
    let beside = format!(
        r#""context":{context},"integrations":{{"All":false}},"sentAt":"2026-01-01T00:00:00Z","writeKey":"{key}""#
    );
    let send = |events: &str, beside: &str| {
        let body = format!(r#"{{"batch":[{events}],{beside}}}"#);
        request(&server.address, "POST", "/v1/batch", &[], body.as_bytes()).code()
    };
    for _ in 0..2 {
        // A retry of the same bytes is the same event.
        assert_eq!(send(&flawed.join(","), &beside), "200");
    }
    // An error beside the batch: the events are kept, and so is the error.
    let good = r#"{"type":"track","event":"G","messageId":"g1"},{"type":"track","event":"G","messageId":"g2"}"#;
    let shared = format!(r#""context":{{"name":"\ud800"}},"sentAt":"now","writeKey":"{key}""#);
    assert_eq!(send(good, &shared), "200");
    // Mended, they are not mistaken for what was seen.
    assert_eq!(send(good, &format!(r#""context":{{"name":"ok"}},"writeKey":"{key}""#)), "200");
    server.stop();
    let entries = entries(&workspace);
    let codes: Vec<&str> = entries.iter().map(|entry| entry["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        [
            "malformed-json",
            "lone-surrogate",
            "unknown-type",
            "malformed-json",
            "duplicate-key",
            "lone-surrogate",
            "lone-surrogate"
        ]
    );
    for (n, entry) in entries.iter().enumerate() {
        assert!(!entry.to_string().contains(&key), "{entry}");
        let event = entry["event"].to_string();
        if n < flawed.len() {
            assert!(
                event.contains(&format!("n\\\":{}", n + 1))
                    || event.contains(&format!("n':{}", n + 1))
                    || event.contains(&format!("\"n\":{}", n + 1)),
                "{event}"
            );
            let want: Value = serde_json::from_str(context).unwrap();
            assert_eq!(
                entry["detail"],
                json!({"context": want, "integrations": {"All": false}, "sentAt": "2026-01-01T00:00:00Z"})
            );
        } else {
            assert!(event.contains(&format!("g{}", n - 4)), "{event}");
            assert_eq!(entry["detail"], json!({"shared": r#"{"context":{"name":"\ud800"},"sentAt":"now"}"#}));
        }
    }
    assert_eq!(workspace.warehouse().count("g"), 2);
}
