//! Bad bodies: each has a stated outcome, none panics, none costs a neighbour.

use std::io::{Read, Write};

use serde_json::json;

use crate::support::{Workspace, basic, request};

/// A batch with `bad` between two good events.
fn between(bad: &[u8]) -> Vec<u8> {
    let mut body = br#"{"batch":[{"type":"track","event":"Good","userId":"before"},"#.to_vec();
    body.extend_from_slice(bad);
    body.extend_from_slice(br#",{"type":"track","event":"Good","userId":"after"}]}"#);
    body
}

#[test]
fn a_bad_event_in_a_batch_is_quarantined_and_its_neighbours_arrive() {
    let deep = format!(r#"{{"type":"track","event":"D","properties":{}1{}}}"#, r#"{"a":"#.repeat(70), "}".repeat(70));
    let big = format!(r#"{{"type":"track","event":"B","x":"{}"}}"#, "x".repeat(33 << 10));
    let keys: String = (0..10_001).map(|n| format!(r#""{n}":1,"#)).collect();
    let keys = format!(r#"{{{keys}"type":"track"}}"#);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("malformed-json", br#"{"type":"track","event":"N","n":NaN}"#.to_vec()),
        ("malformed-json", br#"{"type":"track","event":"N","n":Infinity}"#.to_vec()),
        ("malformed-json", br#"{"type":"track","event":"N","n":01}"#.to_vec()),
        ("malformed-json", b"{\"type\":\"track\",\"event\":\"N\nL\"}".to_vec()),
        ("malformed-json", b"{'type':'track'}".to_vec()),
        ("not-utf8", b"{\"type\":\"track\",\"event\":\"\xff\xfe\"}".to_vec()),
        ("lone-surrogate", br#"{"type":"track","event":"\ud800"}"#.to_vec()),
        ("too-deep", deep.into_bytes()),
        ("event-too-large", big.into_bytes()),
        ("event-too-large", keys.into_bytes()),
        ("duplicate-key", br#"{"type":"track","event":"a","event":"b"}"#.to_vec()),
        ("not-an-object", b"[1,2]".to_vec()),
        ("not-an-object", b"null".to_vec()),
        ("unknown-type", br#"{"type":"purchase"}"#.to_vec()),
        ("missing-type", br#"{"event":"x"}"#.to_vec()),
        ("missing-event-name", br#"{"type":"track"}"#.to_vec()),
        ("invalid-message-id", br#"{"type":"page","messageId":{}}"#.to_vec()),
        ("invalid-message-id", br#"{"type":"page","messageId":"h\u0000a"}"#.to_vec()),
        ("invalid-message-id", format!(r#"{{"type":"page","messageId":"{}"}}"#, "i".repeat(1_025)).into_bytes()),
    ];
    let workspace = Workspace::new();
    let server = workspace.serve();
    for (code, bad) in &cases {
        let reply = server.post("/v1/batch", between(bad));
        assert_eq!(reply.status, 200, "{code}: {}", reply.text());
    }
    server.stop();
    let want: Vec<_> = cases.iter().map(|(code, _)| *code).collect();
    assert_eq!(workspace.quarantined(), want);
    assert_eq!(workspace.warehouse().count("good"), 2 * cases.len() as u64);
    assert_eq!(workspace.warehouse().count("tracks"), 2 * cases.len() as u64);
}

#[test]
fn what_is_odd_but_valid_arrives_unaltered() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let odd = br#"{"type":"track","event":"Odd","messageId":"o","properties":{"big":18446744073709551616,"huge":1e999,"tiny":0.1000000000000000055,"negative":-0,"nul":"a\u0000b","emoji":"\ud83d\ude00","edge":9007199254740993,"__proto__":{"x":1},"007":"007"}}"#;
    assert_eq!(server.post("/v1/batch", between(odd)).status, 200);
    server.stop();
    let rows = workspace.warehouse().rows("SELECT big, tiny, negative, hex(nul), emoji, edge FROM odd");
    assert_eq!(rows, ["18446744073709551616|0.1000000000000000055|0|610062|😀|9007199254740993"]);
    assert_eq!(workspace.warehouse().rows("SELECT huge FROM odd WHERE huge LIKE '1%'").len(), 1);
    assert_eq!(workspace.warehouse().count("good"), 2);
    assert_eq!(workspace.quarantined(), [""; 0]);
}

#[test]
fn a_body_that_cannot_be_read_is_refused_with_400_and_a_code() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let bomb = "[".repeat(400_000);
    let big = json!({"batch": [{"type": "track", "event": "x", "pad": "x".repeat(513_000)}]}).to_string();
    let many = json!({"batch": vec![json!({}); 5_001]}).to_string();
    for (path, body, want) in [
        ("/v1/batch", b"".as_slice(), "400 malformed-json"),
        ("/v1/batch", b"not json", "400 malformed-json"),
        ("/v1/track", b"", "400 malformed-json"),
        ("/v1/track", b" \n ", "400 malformed-json"),
        ("/v1/track", b"{\"a\":1", "400 malformed-json"),
        ("/v1/track", b"{\"a\":\"1}", "400 malformed-json"),
        ("/v1/track", b"{\"a\":1}}", "400 malformed-json"),
        ("/v1/batch", br#"{"batch":[{"a":1}"#, "400 malformed-json"),
        ("/v1/batch", br#"{"batch":[{"a":1}}]}"#, "400 malformed-json"),
        ("/v1/track", bomb.as_bytes(), "400 malformed-json"),
        ("/v1/batch", b"[1]", "400 not-an-object"),
        ("/v1/batch", b"{}", "400 no-batch"),
        ("/v1/batch", big.as_bytes(), "400 request-too-large"),
        ("/v1/batch", many.as_bytes(), "400 too-many-events"),
    ] {
        let reply = server.post(path, body);
        assert_eq!(reply.code(), want, "{path} {:?}", &body[..body.len().min(30)]);
        assert!(reply.json()["error"].is_string() && reply.json()["message"].is_string());
    }
    // 501 KB of good events is too much on the wire, and says so before it is read.
    let events: Vec<_> =
        (0..520).map(|n| json!({"type": "track", "event": "x", "n": n, "pad": "y".repeat(960)})).collect();
    assert_eq!(server.batch(&events).code(), "400 request-too-large");
    assert_eq!(server.batch(&events[..400]).status, 200);
    server.stop();
    assert_eq!(workspace.warehouse().count("x"), 400);
}

#[test]
fn what_inflates_too_far_or_is_not_what_it_says_is_refused() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let auth = basic(&server.key);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zeros = gzip(&vec![b'0'; 400 << 20]);
    assert!(zeros.len() < 512_000);
    let post = |encoding: &str, body: &[u8]| {
        let headers = [("authorization", auth.as_str()), ("content-encoding", encoding)];
        request(&server.address, "POST", "/v1/batch", &headers, body).code()
    };
    assert_eq!(post("gzip", &zeros), "400 inflates-too-far");
    assert_eq!(post("gzip", &gzip(&vec![b' '; 1 << 20])), "400 inflates-too-far");
    assert_eq!(post("gzip, gzip", &gzip(&gzip(b"{}"))), "400 unsupported-encoding");
    assert_eq!(post("compress", b"x"), "400 unsupported-encoding");
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        assert_eq!(post(encoding, b"\x78not what it says"), "400 malformed-encoding", "{encoding}");
    }
    // A zstd frame that asks for a window of 2 GiB or more.
    assert_eq!(post("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0, 0, 0, 0]), "400 malformed-encoding");
    let rss = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = rss.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 150 << 10, "peak memory {kib} KiB");
    server.stop();
}

#[test]
fn slow_clients_are_cut_off_and_others_served_meanwhile() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlimits: {header_timeout: 300 ms, body_timeout: 300 ms}\n");
    let server = workspace.serve();
    let open = |text: &str| {
        let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let mut heads: Vec<_> = (0..50).map(|_| open("POST /v1/track HTTP/1.1\r\nhost: x\r\nx-slow: ")).collect();
    let mut slow = open("POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    assert_eq!(server.post("/v1/track", r#"{"event":"Quick"}"#).status, 200);
    for head in &mut heads {
        let mut rest = Vec::new();
        // Closed with or without an answer; what matters is that it ends.
        let _ = head.read_to_end(&mut rest);
    }
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.stop();
    assert_eq!(workspace.warehouse().count("quick"), 1);
}
