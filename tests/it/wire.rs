//! Every dialect on one port: routes, write keys, encodings, cross-origin rules, replies.

use std::io::Write;

use serde_json::json;

use crate::support::{Workspace, basic, request};

#[test]
fn every_route_of_every_dialect_ends_in_its_table() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let key = server.key.clone();
    let singles = [
        ("identify", "i", json!({"userId": "u", "traits": {"email": "a@b.c"}})),
        ("track", "t", json!({"userId": "u", "event": "Ping", "properties": {"n": 1}})),
        ("page", "p", json!({"userId": "u", "name": "Home"})),
        ("screen", "s", json!({"userId": "u", "name": "Main"})),
        ("group", "g", json!({"userId": "u", "groupId": "g1"})),
        ("alias", "a", json!({"userId": "u", "previousId": "p"})),
    ];
    for (long, short, body) in &singles {
        for path in [format!("/v1/{long}"), format!("/v1/{short}"), format!("//v1/{long}/")] {
            let reply = server.post(&path, body.to_string());
            assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#), "{path}");
            assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        }
    }
    for path in ["/v1/batch", "/v1/batch/", "/v1/b", "/v1/import", "/v1/import/", "/beacon/v1/batch"] {
        let body = json!({"batch": [{"type": "track", "event": "Batched", "userId": path}]}).to_string();
        assert_eq!(server.post(path, body).status, 200, "{path}");
    }
    let pixel = format!("/pixel/v1/track?writeKey={key}&event=Pixel+Seen&anonymousId=x&properties.plan=pro");
    let reply = request(&server.address, "GET", &pixel, &[], b"");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("image/gif")));
    assert!(reply.body.starts_with(b"GIF89a"));
    let page = format!("/pixel/v1/page?writeKey={key}&anonymousId=x&name=Landing");
    assert_eq!(request(&server.address, "GET", &page, &[], b"").status, 200);
    server.stop();
    let warehouse = workspace.warehouse();
    for (table, rows) in [
        ("identifies", 3),
        ("pages", 4),
        ("screens", 3),
        ("groups", 3),
        ("aliases", 3),
        ("ping", 3),
        ("batched", 6),
        ("pixel_seen", 1),
        ("tracks", 10),
    ] {
        assert_eq!(warehouse.count(table), rows, "{table}");
    }
    assert_eq!(warehouse.rows("SELECT event, event_text, plan FROM pixel_seen"), ["pixel_seen|Pixel Seen|pro"]);
    assert_eq!(workspace.quarantined(), [""; 0]);
}

#[test]
fn a_write_key_is_found_wherever_an_sdk_puts_it() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let key = server.key.clone();
    let bare = format!("Basic {}", basic(&key).trim_start_matches("Basic ").trim_end_matches('='));
    let no_colon = {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(&key))
    };
    let event = json!({"type": "track", "event": "E"});
    let mut keyed = event.clone();
    keyed["writeKey"] = json!(key);
    let query = format!("/v1/batch?x=1&writeKey={key}");
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, String);
    let cases: Vec<Case<'_>> = vec![
        ("/v1/batch", vec![("authorization", &bare)], json!({"batch": [event]}).to_string()),
        ("/v1/batch", vec![("authorization", &no_colon)], json!({"batch": [event]}).to_string()),
        ("/v1/batch", vec![], json!({"batch": [event], "writeKey": key}).to_string()),
        ("/v1/batch", vec![("authorization", "Bearer token")], json!({"batch": [event], "writeKey": key}).to_string()),
        ("/v1/batch", vec![], json!({"batch": [keyed]}).to_string()),
        ("/v1/track", vec![], keyed.to_string()),
        (&query, vec![], json!({"batch": [event]}).to_string()),
    ];
    let total = cases.len() as u64;
    for (path, headers, body) in cases {
        let reply = request(&server.address, "POST", path, &headers, body.as_bytes());
        assert_eq!(reply.status, 200, "{path} {headers:?} {body}");
    }
    for (path, body) in
        [("/v1/track", event.to_string()), ("/v1/batch", json!({"batch": [event], "writeKey": "wrong"}).to_string())]
    {
        let reply = request(&server.address, "POST", path, &[], body.as_bytes());
        assert_eq!(reply.code(), "401 unknown-write-key");
        let body = reply.json();
        assert!(body["error"].is_string() && body["message"].is_string());
    }
    server.stop();
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("e"), total);
    // A secret does not travel on.
    assert!(!warehouse.rows("SELECT group_concat(name) FROM pragma_table_info('tracks')")[0].contains("key"));
}

#[test]
fn bodies_come_in_four_encodings_in_chunks_and_as_any_content_type() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let auth = basic(&server.key);
    let body = |name: &str| {
        json!({"batch": [{"type": "track", "event": name, "properties": {"t": "é".repeat(50)}}]}).to_string()
    };
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zlib = |text: &str| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let raw = |text: &str| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd =
        |text: &str| ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    // One uncompressed meta-block, made by hand: window bits, length, not last, then an empty last one.
    let brotli = |text: &str| {
        let len = text.len() - 1;
        let mut bits: u64 = 0;
        let mut at: usize = 0;
        for (value, width) in [(0, 1), (0, 1), (0, 2), (len as u64, 16), (1, 1)] {
            bits |= value << at;
            at += width;
        }
        let mut out = bits.to_le_bytes()[..at.div_ceil(8)].to_vec();
        out.extend_from_slice(text.as_bytes());
        out.push(3);
        out
    };
    for (encoding, bytes) in [
        ("gzip", gzip(&body("Gzip"))),
        ("deflate", zlib(&body("Zlib"))),
        ("deflate", raw(&body("Raw"))),
        ("zstd", zstd(&body("Zstd"))),
        ("br", brotli(&body("Brotli"))),
        ("identity", body("Plain").into_bytes()),
    ] {
        let headers =
            [("authorization", auth.as_str()), ("content-encoding", encoding), ("content-type", "text/plain")];
        let reply = request(&server.address, "POST", "/v1/batch", &headers, &bytes);
        assert_eq!(reply.status, 200, "{encoding}: {}", reply.text());
    }
    let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
    let text = body("Chunked");
    write!(stream, "POST /v1/batch HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {auth}\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    for chunk in text.as_bytes().chunks(7) {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(crate::support::http::read(&mut stream).unwrap().status, 200);
    server.stop();
    assert_eq!(
        workspace.warehouse().rows("SELECT DISTINCT event FROM tracks ORDER BY 1"),
        ["brotli", "chunked", "gzip", "plain", "raw", "zlib", "zstd"]
    );
}

#[test]
fn browsers_of_any_origin_may_send() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let preflight = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-retry-count"),
        ("access-control-request-private-network", "true"),
    ];
    let reply = request(&server.address, "OPTIONS", "/v1/t", &preflight, b"");
    assert_eq!(reply.status, 200);
    for (name, value) in [
        ("access-control-allow-origin", "https://shop.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", "authorization,content-type,x-retry-count"),
        ("access-control-allow-private-network", "true"),
        ("access-control-max-age", "900"),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    // Errors are readable across origins too, or a browser could not tell them from a broken network.
    let reply = request(&server.address, "POST", "/v1/t", &[("origin", "https://a.example")], b"{}");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (401, Some("https://a.example")));
}

#[test]
fn sdks_find_their_settings() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let get = |path: &str| request(&server.address, "GET", path, &[], b"");
    for prefix in ["/v1/projects", "/projects"] {
        let reply = get(&format!("{prefix}/{}/settings", server.key));
        assert_eq!(reply.status, 200);
        let api = json!(format!("{}/v1", server.address));
        assert_eq!(reply.json()["integrations"]["Segment.io"]["apiHost"], api);
        assert_eq!(reply.json()["integrations"]["Hightouch.io"]["apiHost"], api);
        assert_eq!(get(&format!("{prefix}/unknown/settings")).status, 404);
    }
    assert_eq!(get(&format!("/v1/projects/{}/integrations", server.key)).text(), "[]");
    let config = get(&format!("/sourceConfig/?p=npm&v=3&writeKey={}", server.key));
    assert_eq!(config.status, 200);
    assert!(config.json()["source"]["config"].is_object() && config.json()["source"]["destinations"].is_array());
    let basic = request(&server.address, "GET", "/sourceConfig", &[("authorization", &basic(&server.key))], b"");
    assert_eq!(basic.json()["source"]["enabled"], true);
    assert_eq!(get("/sourceConfig?writeKey=unknown").status, 401);
    assert_eq!(get("/health").json()["status"], "ok");
    assert_eq!(get("/version").json()["name"], "tidegate");
    assert!(get("/robots.txt").text().contains("Disallow"));
    assert_eq!(get("/nothing/here").code(), "404 not-found");
    assert_eq!(get("/v1/track").code(), "405 wrong-method");
    assert_eq!(request(&server.address, "HEAD", "/health", &[], b"").body, b"");
    assert_eq!(request(&server.address, "POST", "/v1/m", &[], br#"{"series":[]}"#).status, 200);
}

#[test]
fn the_server_stamps_time_and_address_and_keeps_the_originals() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\ntrusted_proxies: [127.0.0.0/8]\n");
    let server = workspace.serve();
    let body = json!({
        "sentAt": "2040-01-01T00:00:10.000Z",
        "context": {"library": {"name": "go"}, "ip": "192.0.2.7"},
        "batch": [
            {"type": "track", "event": "Skewed", "messageId": "a", "timestamp": "2040-01-01T00:00:00.000Z", "context": {"ip": "192.0.2.1"}},
            {"type": "track", "event": "Skewed", "messageId": "b", "originalTimestamp": "2040-01-01T01:00:10.5+01:00", "x": {"y": 12345678901234567890_u64}},
        ],
    });
    let headers = [("authorization", &*basic(&server.key)), ("x-forwarded-for", "203.0.113.5, 127.0.0.9")];
    assert_eq!(request(&server.address, "POST", "/v1/batch", &headers, body.to_string().as_bytes()).status, 200);
    let single = json!({"type": "track", "event": "Skewed", "messageId": "c"}).to_string();
    assert_eq!(request(&server.address, "POST", "/v1/track", &headers, single.as_bytes()).status, 200);
    server.stop();
    let sql = "SELECT id, original_timestamp, sent_at, context_ip, context_library_name,
        round((julianday(received_at) - julianday(timestamp)) * 86400, 1) FROM skewed ORDER BY id";
    let rows = workspace.warehouse().rows(sql);
    assert!(rows[0].starts_with("a|2040-01-01T00:00:00.000") && rows[0].ends_with("|192.0.2.1|go|10"), "{rows:?}");
    assert!(rows[1].ends_with("|192.0.2.7|go|0"), "{rows:?}");
    assert_eq!(rows[2], "c|||203.0.113.5||0");
    assert_eq!(workspace.warehouse().rows("SELECT message_x_y FROM skewed WHERE id = 'b'"), ["12345678901234567890"]);
}

#[test]
fn what_php_and_python_send_is_read_as_they_mean_it() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let body = json!({
        "context": {"app": {"name": "shop", "version": "2"}, "device": {"id": "d"}},
        "batch": [
            {"type": "page", "messageId": "php", "properties": [], "context": [], "integrations": []},
            {"type": "page", "messageId": "own", "context": {"app": {"name": "own"}, "device": []}},
            {"type": "page", "messageId": "naive", "timestamp": "2024-05-06T07:08:09.5"},
            {"type": "page", "messageId": "epoch", "timestamp": 1_714_979_289_500_i64},
        ],
    });
    assert_eq!(server.post("/v1/batch", body.to_string()).status, 200);
    server.stop();
    let rows = workspace.warehouse().rows(
        "SELECT id, context_app_name, context_app_version, context_device_id, context_timestamp_read_as, original_timestamp,
        CASE WHEN timestamp < received_at THEN timestamp END, _overflow FROM pages ORDER BY id",
    );
    let at = "2024-05-06T07:08:09.500000Z";
    assert_eq!(
        rows,
        [
            format!("epoch|shop|2|d|epoch-milliseconds|{at}|{at}|{{\"originalTimestamp\":1714979289500}}"),
            format!("naive|shop|2|d|utc|{at}|{at}|{{\"originalTimestamp\":\"2024-05-06T07:08:09.5\"}}"),
            "own|own|2|d||||".to_owned(),
            "php|shop|2|d||||".to_owned(),
        ]
    );
}

#[test]
fn a_retried_batch_gives_one_row_each_even_after_a_restart() {
    let workspace = Workspace::new();
    let batch: Vec<_> =
        (0..50).map(|n| json!({"type": "track", "event": "Once", "messageId": format!("m{n}")})).collect();
    for _ in 0..2 {
        let server = workspace.serve();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(server.batch(&batch).status, 200));
            }
        });
        server.stop();
    }
    assert_eq!(workspace.warehouse().count("once"), 50);
    let status = workspace.status();
    assert_eq!(status["sources"]["web"]["accepted"], 800);
    assert_eq!(status["sources"]["web"]["duplicates"], 750);
    assert_eq!(status["syncs"]["web-to-warehouse"]["delivered"], 50);
    assert_eq!(status["syncs"]["web-to-warehouse"]["lag"], 0);
}

#[test]
fn the_same_id_from_two_sources_is_two_events() {
    let workspace = Workspace::new();
    let other = "0123456789abcdef0123456789abcdef";
    workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {other}\n"));
    workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\nschema: app\n");
    let server = workspace.serve();
    let body = json!({"type": "track", "event": "Shared", "messageId": "same"}).to_string();
    assert_eq!(server.post("/v1/track", &body).status, 200);
    let reply = request(&server.address, "POST", "/v1/track", &[("authorization", &basic(other))], body.as_bytes());
    assert_eq!(reply.status, 200);
    server.stop();
    assert_eq!(workspace.warehouse().count("shared"), 1);
    assert_eq!(workspace.warehouse().count("app__shared"), 1);
}
