//! Webhooks: other people's servers send, sign, ask and repeat; each message is in its table once, or in quarantine as it came.

mod environments;
mod providers;
mod settings;

use std::io::Write as _;

use serde_json::{Value, json};

use self::providers::{PROVIDERS, Provider, now_seconds, provider};
use crate::support::{Reply, Server, Workspace, basic, request, run};

const KEY: &str = "key-of-hooks-0123456789";

/// A source of webhooks with a sync into tables of its own: `<source>__tracks`.
fn with_source(workspace: &Workspace, name: &str, text: &str) {
    workspace.write(&format!("sources/{name}.yaml"), &format!("kind: webhook\n{text}"));
    let sync = format!("source: {name}\ndestination: warehouse\nschema: {name}\n");
    workspace.write(&format!("syncs/{name}.yaml"), &sync);
}

fn send(server: &Server, path: &str, headers: &[(String, String)], body: &[u8]) -> Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    request(&server.address, "POST", path, &headers, body)
}

/// Sends to `/hooks/hooks/KEY` with one header.
fn send_plain(server: &Server, (name, value): (&str, &str), body: &[u8]) -> Reply {
    request(&server.address, "POST", &format!("/hooks/hooks/{KEY}"), &[(name, value)], body)
}

/// What is in quarantine.
fn quarantine(workspace: &Workspace) -> Vec<Value> {
    let output = run(&["quarantine", workspace.path().to_str().unwrap(), "--json", "--most", "1000"]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_provider_is_believed_by_its_signature_and_its_delivery_is_one_row() {
    let workspace = Workspace::new();
    for Provider { preset, secret, .. } in PROVIDERS {
        with_source(&workspace, preset, &format!("preset: {preset}\nsecret: {secret}\n"));
    }
    let server = workspace.serve();
    for known in &PROVIDERS {
        let (path, body) = (format!("/v1/webhook/{}", known.preset), known.payload());
        let right = known.signed(known.secret, &body, now_seconds());
        // The provider has not heard the answer, and sends again.
        for _ in 0..2 {
            let reply = send(&server, &path, &right, &body);
            assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#), "{}", known.preset);
        }
        let other = known.signed(known.other_secret(), &body, now_seconds());
        assert_eq!(send(&server, &path, &other, &body).code(), "401 wrong-signature", "{}", known.preset);
        let changed = [&body[..], b" "].concat();
        assert_eq!(send(&server, &path, &right, &changed).code(), "401 wrong-signature", "{}", known.preset);
        assert_eq!(send(&server, &path, &[], &body).code(), "401 wrong-signature", "{}", known.preset);
        // Somebody who has listened sends the same an hour later.
        let replayed = known.signed(known.secret, &body, now_seconds() - 3_600);
        let answer = send(&server, &path, &replayed, &body).code();
        assert_eq!(answer, if known.signs_time { "401 wrong-signature" } else { "200" }, "{}", known.preset);
    }
    server.stop();
    let (warehouse, status) = (workspace.warehouse(), workspace.status());
    for known in &PROVIDERS {
        let preset = known.preset;
        let rows = warehouse.rows(&format!("SELECT id, event_text, user_id FROM {preset}__tracks"));
        assert_eq!(rows, [format!("{}|{}|{}", known.delivery, known.event, known.user)], "{preset}");
        let table = warehouse.rows(&format!("SELECT event FROM {preset}__tracks"));
        let columns = "digits, context_webhook_delivery_id, context_webhook_ip";
        let rows = warehouse.rows(&format!("SELECT {columns} FROM {preset}__{}", table[0]));
        let digits = "[1.10,9007199254740993,12345678901234567890123]";
        assert_eq!(rows, [format!("{digits}|{}|127.0.0.1", known.delivery)], "{preset}");
        let duplicates = if known.signs_time { 1 } else { 2 };
        assert_eq!(status["sources"][preset]["duplicates"], duplicates, "{preset}: {status:#}");
    }
    assert_eq!(warehouse.rows("SELECT original_timestamp FROM standard__tracks"), ["2026-11-20T09:30:00.123456Z"]);
    assert_eq!(workspace.quarantined(), [""; 0]);
}

#[test]
fn what_cannot_be_mapped_is_quarantined_as_it_came_and_its_neighbours_are_in() {
    let workspace = Workspace::new();
    with_source(
        &workspace,
        "hooks",
        &format!("write_key: {KEY}\ndelivery_id: header:X-Id\nmapping: {{event: /kind, userId: /who}}\n"),
    );
    let server = workspace.serve();
    let several = br#"[{"kind":"First","who":7},{"writeKey":"theirs","n":1.10},{"kind":"Last"}]"#;
    let broken = b"{\"kind\":";
    let sent: [(&str, &[u8]); 5] = [("d1", several), ("d1", several), ("d2", broken), ("d3", broken), ("d4", b"\xff")];
    for (id, body) in sent {
        assert_eq!(send_plain(&server, ("x-id", id), body).status, 200, "{id}");
    }
    server.stop();
    let rows = workspace.warehouse().rows("SELECT id, event_text, user_id FROM hooks__tracks ORDER BY id");
    assert_eq!(rows, ["d1:0|First|7", "d1:2|Last|"]);
    let kept = quarantine(&workspace);
    let told: Vec<String> = kept
        .iter()
        .map(|entry| {
            let webhook = &entry["detail"]["context"]["webhook"];
            assert_eq!((&entry["code"], &entry["scope"]), (&json!("unmappable"), &json!("hooks")), "{entry}");
            let message = format!("the message cannot be mapped to an event: {}", webhook["reason"].as_str().unwrap());
            assert_eq!(entry["message"], message, "{entry}");
            format!("{} {}: {}", webhook["deliveryId"], webhook["reason"], entry["event"])
        })
        .collect();
    let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            r#""d1" "it has no text for `event` at /kind": {"n":1.10,"writeKey":"theirs"}"#,
            r#""d2" "it is not JSON at byte 8": "{\"kind\":""#,
            r#""d3" "it is not JSON at byte 8": "{\"kind\":""#,
            "\"d4\" \"it is not JSON at byte 0\": \"\u{fffd}\"",
        ]
    );
    assert_eq!(workspace.status()["sources"]["hooks"]["duplicates"], 3);
}

#[test]
fn messages_of_every_format_become_events() {
    let workspace = Workspace::new();
    let mapping = "mapping:\n  - match: {/kind: signup}\n    type: identify\n    userId: /who\n    traits: /data\n  - event: [/kind, /type, {constant: Noted}]\n    userId: /who\n";
    with_source(&workspace, "hooks", &format!("write_key: {KEY}\npass_events: true\n{mapping}"));
    let server = workspace.serve();
    let passed = br#"{"type":"page","name":"Home","messageId":"own","userId":"u9"}"#;
    let sent: [(&str, &[u8]); 7] = [
        ("application/json", br#"{"kind":"signup","who":"u1","data":{"plan":"pro"}}"#),
        ("application/x-ndjson", b"{\"kind\":\"Lined\",\"who\":\"u2\"}\n{\"kind\":\"Lined\",\"who\":\"u3\"}\n"),
        ("application/x-www-form-urlencoded", b"kind=Formed&who=u4&text=a+b"),
        ("application/x-www-form-urlencoded", b"payload=%7B%22kind%22%3A%22Loaded%22%2C%22who%22%3A%22u5%22%7D"),
        (
            "application/cloudevents+json",
            br#"{"specversion":"1.0","id":"1","source":"/s","type":"Clouded","data":{"n":1}}"#,
        ),
        ("text/plain", b"hello"),
        ("application/json", passed),
    ];
    for (kind, body) in sent {
        assert_eq!(send_plain(&server, ("content-type", kind), body).status, 200, "{kind}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(br#"{"kind":"Zipped","who":"u6"}"#).unwrap();
    assert_eq!(send_plain(&server, ("content-encoding", "gzip"), &gzip.finish().unwrap()).status, 200);
    let attributes: Vec<(String, String)> =
        [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "/s"), ("ce-type", "Attributed")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    assert_eq!(send(&server, &format!("/hooks/hooks/{KEY}"), &attributes, b"{\"n\":2}").status, 200);
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.rows("SELECT user_id, plan FROM hooks__identifies"), ["u1|pro"]);
    assert_eq!(warehouse.rows("SELECT id, user_id, name FROM hooks__pages"), ["own|u9|Home"]);
    assert_eq!(
        warehouse.rows("SELECT event_text, user_id FROM hooks__tracks ORDER BY 1, 2"),
        ["Attributed|", "Clouded|", "Formed|u4", "Lined|u2", "Lined|u3", "Loaded|u5", "Noted|", "Zipped|u6"]
    );
    assert_eq!(warehouse.rows("SELECT id, data_n FROM hooks__clouded"), ["/s/1|1"]);
    assert_eq!(warehouse.rows("SELECT id, data_n FROM hooks__attributed"), ["/s/2|2"]);
    assert_eq!(warehouse.rows("SELECT body FROM hooks__noted"), ["hello"]);
    assert_eq!(workspace.quarantined(), [""; 0]);
}

#[test]
fn a_question_is_answered_and_not_kept() {
    let workspace = Workspace::new();
    let slack = provider("slack");
    with_source(&workspace, "slack", &format!("preset: slack\nsecret: {}\n", slack.secret));
    let asks = "challenge: {echo: hub.challenge, verify: hub.verify_token, secret: a-verify-token}\n";
    with_source(&workspace, "hooks", &format!("write_key: {KEY}\n{asks}"));
    let server = workspace.serve();
    let question = br#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#;
    let signed = slack.signed(slack.secret, question, now_seconds());
    let reply = send(&server, "/v1/webhook/slack", &signed, question);
    assert_eq!((reply.status, reply.text().as_str()), (200, "3eZbrw1aB"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(send(&server, "/v1/webhook/slack", &[], question).code(), "401 wrong-signature");
    let get = |path: &str| request(&server.address, "GET", path, &[], b"");
    let asked = "hub.mode=subscribe&hub.challenge=%3Cb%3E1158201444";
    for path in ["/v1/webhook/hooks".to_owned(), format!("/hooks/hooks/{KEY}")] {
        let right = get(&format!("{path}?{asked}&hub.verify_token=a-verify-token"));
        assert_eq!((right.status, right.text().as_str()), (200, "<b>1158201444"), "{path}");
        assert!(right.header("content-type").unwrap().starts_with("text/plain"));
        assert_eq!(get(&format!("{path}?{asked}&hub.verify_token=other")).code(), "401 wrong-signature");
        assert_eq!(get(&path).code(), "405 wrong-method");
    }
    assert_eq!(get("/v1/webhook/slack?hub.challenge=1").code(), "405 wrong-method");
    assert_eq!(get("/v1/webhook/nobody?hub.challenge=1").code(), "404 not-found");
    server.stop();
    let status = workspace.status();
    for source in ["slack", "hooks"] {
        assert_eq!(status["sources"][source]["accepted"].as_u64().unwrap_or(0), 0, "{source}");
    }
}

#[test]
fn either_secret_is_right_while_it_is_changed() {
    let workspace = Workspace::new();
    let github = provider("github");
    let (old, new) = ("old-secret-0123456789", "new-secret-0123456789");
    let body = github.payload();
    let answers = |text: &str| {
        with_source(&workspace, "git", &format!("preset: github\n{text}"));
        let server = workspace.serve();
        let answer = |secret: &str| {
            let signed = github.signed(secret, &body, now_seconds());
            send(&server, "/v1/webhook/git", &signed, &body).status
        };
        let statuses = [old, new, "third-secret-012345"].map(answer);
        server.stop();
        statuses
    };
    assert_eq!(answers(&format!("secret: {old}\n")), [200, 401, 401]);
    assert_eq!(answers(&format!("secret: {new}\nprevious_secret: {old}\n")), [200, 200, 401]);
    assert_eq!(answers(&format!("secret: {new}\n")), [401, 200, 401]);
    assert_eq!(workspace.warehouse().count("git__tracks"), 1);
}

#[test]
fn a_kill_after_the_answer_loses_nothing() {
    let workspace = Workspace::new();
    let standard = provider("standard");
    with_source(&workspace, "standard", &format!("preset: standard\nsecret: {}\n", standard.secret));
    let server = workspace.serve();
    let body = standard.payload();
    for n in 0..20 {
        let signed = standard.signed_as(&format!("msg_{n}"), standard.secret, (&body, now_seconds()));
        assert_eq!(send(&server, "/v1/webhook/standard", &signed, &body).status, 200, "{n}");
    }
    server.kill();
    workspace.serve().stop();
    let rows = workspace.warehouse().rows("SELECT count(*), count(DISTINCT id) FROM standard__tracks");
    assert_eq!(rows, ["20|20"]);
}

#[test]
fn a_write_key_of_webhooks_opens_nothing_else_and_a_signature_is_asked_for_all_the_same() {
    let workspace = Workspace::new();
    let github = provider("github");
    with_source(&workspace, "hooks", &format!("write_key: {KEY}\nkey_header: X-Gitlab-Token\n"));
    let both = "key-of-both-0123456789";
    with_source(&workspace, "git", &format!("preset: github\nsecret: {}\nwrite_key: {both}\n", github.secret));
    with_source(&workspace, "still", "write_key: key-of-still-0123456789\npaused: true\n");
    let log = workspace.dir.path().join("server.log");
    let server = workspace.serve_logging(&[], &["--log", "trace"], &log);
    let body = br#"{"type":"Sent","messageId":"theirs"}"#;
    let to = |path: &str, headers: &[(&str, &str)]| request(&server.address, "POST", path, headers, body).code();
    let header = basic(KEY);
    // Wherever a key is shown.
    assert_eq!(to(&format!("/hooks/hooks/{KEY}"), &[]), "200");
    assert_eq!(to("/v1/webhook/hooks", &[("x-gitlab-token", KEY)]), "200");
    assert_eq!(to("/v1/webhook/hooks", &[("authorization", &header)]), "200");
    assert_eq!(to(&format!("/v1/webhook?writeKey={KEY}"), &[]), "200");
    // Without one, with a wrong one, with one of another source.
    assert_eq!(to("/v1/webhook/hooks", &[]), "401 unknown-write-key");
    assert_eq!(to("/hooks/hooks/another-key-0123456789", &[]), "401 unknown-write-key");
    assert_eq!(to(&format!("/hooks/git/{KEY}"), &[]), "401 unknown-write-key");
    assert_eq!(to(&format!("/hooks/web/{}", workspace.write_key), &[]), "401 unknown-write-key");
    assert_eq!(to("/v1/webhook/nobody", &[]), "404 not-found");
    // The routes of the SDKs know no signature, so they know no key of webhooks.
    assert_eq!(to("/v1/track", &[("authorization", &header)]), "401 unknown-write-key");
    assert_eq!(to(&format!("/v1/batch?writeKey={both}"), &[]), "401 unknown-write-key");
    let settings = request(&server.address, "GET", &format!("/v1/projects/{KEY}/settings"), &[], b"");
    assert_eq!(settings.status, 404);
    assert_eq!(to(&format!("/hooks/git/{both}"), &[]), "401 wrong-signature");
    let payload = github.payload();
    let signed = github.signed(github.secret, &payload, now_seconds());
    assert_eq!(send(&server, &format!("/hooks/git/{both}"), &signed, &payload).status, 200);
    assert_eq!(to("/hooks/still/key-of-still-0123456789", &[]), "503 source-paused");
    server.stop();
    let said = std::fs::read_to_string(&log).unwrap();
    for secret in [KEY, both, github.secret] {
        assert!(!said.contains(secret), "a secret is in the log of the server");
    }
    assert!(said.contains("a webhook was not signed as its source says"));
    let warehouse = workspace.warehouse();
    assert_eq!((warehouse.count("hooks__tracks"), warehouse.count("git__tracks")), (4, 1));
    let status = workspace.status();
    let used = status["key_uses"].as_array().unwrap();
    assert!(used.iter().any(|used| used["source"] == "git" && used["events"] == 1), "{status:#}");
}
