//! Bodies of any size, cut and encoding: taken up to the limits, refused readably beyond them, and never more memory
//! than the budgets say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::http::Kept;
use crate::support::{Server, Workspace, basic, http, request};

/// A batch of exactly `bytes` bytes with one event.
fn batch_of(bytes: usize, id: usize) -> Vec<u8> {
    let head = format!(r#"{{"batch":[{{"type":"track","event":"Sized","messageId":"{id}"}}],"pad":""#);
    let mut body = head.into_bytes();
    body.resize(bytes - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

#[test]
fn a_body_up_to_the_limit_is_taken_however_it_is_cut() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let auth = basic(&server.key);
    let mut kept = Kept::open(&server.address);
    let mut sent = 0;
    // How large the pieces are; the last size goes on.
    let cuts: [&[usize]; 8] = [
        &[usize::MAX],
        &[1, usize::MAX],
        &[997],
        &[300_000, 1, 10_000],
        &[65_536],
        &[250_000, 7, 200_000],
        &[399_999, 1, 50_000],
        &[16],
    ];
    for bytes in [400_000, 440_000, 480_001, 500_000, 511_999, 512_000] {
        for cut in cuts {
            for chunked in [false, true] {
                let body = batch_of(bytes, sent);
                let framing =
                    if chunked { "transfer-encoding: chunked".into() } else { format!("content-length: {bytes}") };
                kept.write(
                    format!("POST /v1/batch HTTP/1.1\r\nhost: x\r\nauthorization: {auth}\r\n{framing}\r\n\r\n")
                        .as_bytes(),
                );
                let mut rest = &body[..];
                let mut sizes = cut.iter().chain(std::iter::repeat(&cut[cut.len() - 1]));
                let mut small = Vec::new();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                    rest = later;
                    let piece = if chunked {
                        [format!("{:x}\r\n", now.len()).as_bytes(), now, b"\r\n"].concat()
                    } else {
                        now.to_vec()
                    };
                    // The smallest chunks share a packet; a system call for each would take the test's time.
                    if cut[0] == 16 { small.extend_from_slice(&piece) } else { kept.write(&piece) }
                }
                kept.write(&small);
                if chunked {
                    kept.write(b"0\r\n\r\n");
                }
                let reply = kept.read();
                assert_eq!(reply.status, 200, "{bytes} in {cut:?}, chunked {chunked}: {}", reply.text());
                sent += 1;
            }
        }
    }
    assert_eq!(server.post("/v1/batch", batch_of(512_001, 0)).code(), "400 request-too-large");
    server.stop();
    assert_eq!(workspace.warehouse().count("sized"), sent as u64);
}

#[test]
fn a_kept_connection_takes_a_body_of_the_limit_after_every_refusal() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let (good, bad) = (basic(&server.key), basic("wrong"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 60 << 20]).unwrap();
    let (bomb, oversize) = (gzip.finish().unwrap(), batch_of(700_000, 0));
    let refusals: [(&str, &str, &[u8], &str); 5] = [
        (&good, "", b"not json", "400 malformed-json"),
        (&good, "", &oversize, "400 request-too-large"),
        (&bad, "", &oversize, "401 unknown-write-key"),
        (&good, "content-encoding: gzip\r\n", &bomb, "400 inflates-too-far"),
        (&good, "content-encoding: gzip\r\n", b"no gzip", "400 malformed-encoding"),
    ];
    let mut kept = Kept::open(&server.address);
    let mut post = |auth: &str, more: &str, body: &[u8]| {
        let head = "POST /v1/batch HTTP/1.1\r\nhost: x\r\nauthorization: ";
        kept.write(format!("{head}{auth}\r\n{more}content-length: {}\r\n\r\n", body.len()).as_bytes());
        kept.write(body);
        kept.read().code()
    };
    for (n, (auth, more, body, want)) in refusals.into_iter().enumerate() {
        assert_eq!(post(auth, more, body), want);
        assert_eq!(post(&good, "", &batch_of(512_000, n)), "200", "after {want}");
    }
    server.stop();
    assert_eq!(workspace.warehouse().count("sized"), 5);
}

/// Writes all of a request and only then reads.
fn write_then_read(server: &Server, head: &str, bytes: usize) -> http::Reply {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 50_000];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        stream.write_all(&piece[..now]).unwrap_or_else(|error| panic!("{head}: {error} with {left} bytes to go"));
        left -= now;
    }
    http::read(&mut stream).unwrap_or_else(|error| panic!("{head}: {error}"))
}

#[test]
fn an_answer_is_readable_by_a_client_that_first_sends_everything() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let (good, bad) = (basic(&server.key), basic("wrong"));
    for bytes in [700_000, 3_000_000] {
        for (head, want) in [
            (format!("POST /v1/batch HTTP/1.1\r\nauthorization: {good}"), "400 request-too-large"),
            (format!("POST /v1/track HTTP/1.1\r\nauthorization: {bad}"), "401 unknown-write-key"),
            (
                format!("POST /v1/track HTTP/1.1\r\nauthorization: {good}\r\ncontent-encoding: snappy"),
                "400 unsupported-encoding",
            ),
            ("POST /v1/batch HTTP/1.1\r\ncontent-encoding: zstd".to_owned(), "401 unknown-write-key"),
            ("POST /v1/nope HTTP/1.1".to_owned(), "404 not-found"),
            ("POST /health HTTP/1.1".to_owned(), "405 wrong-method"),
            ("GET /v1/track HTTP/1.1".to_owned(), "405 wrong-method"),
            ("POST /v1/m HTTP/1.1".to_owned(), "200"),
            ("OPTIONS /v1/track HTTP/1.1".to_owned(), "200"),
        ] {
            assert_eq!(write_then_read(&server, &head, bytes).code(), want, "{head}, {bytes} bytes");
        }
    }
    // Who asks first is told at once, and its body is never asked for.
    for (path, auth, want) in [
        ("/v1/track", format!("authorization: {bad}\r\n"), "401 unknown-write-key"),
        ("/v1/track?writeKey=wrong", String::new(), "401 unknown-write-key"),
        ("/v1/track", format!("authorization: {good}\r\n"), "400 request-too-large"),
    ] {
        let mut kept = Kept::open(&server.address);
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\n{auth}expect: 100-continue\r\ncontent-length: 700000\r\n\r\n");
        kept.write(head.as_bytes());
        assert_eq!(kept.read().code(), want, "{path}");
    }
    server.stop();
}

fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Opens connections that send most of a body and then wait.
fn unfinished(server: &Server, auth: &str, count: usize) -> Vec<TcpStream> {
    let piece = vec![b' '; 400_000];
    let open = || {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "POST /v1/batch HTTP/1.1{auth}\r\nhost: x\r\ncontent-length: 500000\r\n\r\n").unwrap();
        stream.write_all(&piece).unwrap();
        stream
    };
    (0..count).map(|_| open()).collect()
}

/// Sends bodies until the server has no room for one. Those in `held` may be on their way still, and the last of them
/// may all have been refused for one another, so each try leaves one more that stays.
fn late(server: &Server, auth: &str, held: &mut Vec<TcpStream>) -> http::Reply {
    for _ in 0..100 {
        let reply = write_then_read(server, &format!("POST /v1/batch HTTP/1.1{auth}"), 500_000);
        if reply.status == 429 {
            return reply;
        }
        held.extend(unfinished(server, auth, 1));
    }
    panic!("there was always room");
}

#[test]
fn unfinished_bodies_share_a_budget_that_unknown_clients_cannot_take() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlimits: {unfinished_bytes_max: 16 MiB, body_timeout: 300 s}\n");
    let server = workspace.serve();
    assert_eq!(server.post("/v1/track", r#"{"event":"Warm"}"#).status, 200);
    let before = memory_kib(&server);
    let mut unknown = unfinished(&server, "", 400);
    // One that came late is told to come again, readably, once it has sent its body.
    let late = late(&server, "", &mut unknown);
    assert_eq!((late.code().as_str(), late.header("retry-after")), ("429 too-busy", Some("1")));
    assert_eq!(server.post("/v1/batch", batch_of(512_000, 1)).status, 200, "a known key has room");
    let auth = format!("\r\nauthorization: {}", basic(&server.key));
    let mut known = unfinished(&server, &auth, 400);
    assert_eq!(self::late(&server, &auth, &mut known).code(), "429 too-busy");
    // What arrives in one piece was never unfinished.
    let key = &server.key;
    let small = format!(r#"{{"event":"Small","writeKey":"{key}"}}"#);
    assert_eq!(request(&server.address, "POST", "/v1/track", &[], small.as_bytes()).status, 200);
    let grown = memory_kib(&server).saturating_sub(before);
    // Their 320 MB would be here without a budget; what is left is the buffers of 800 connections.
    assert!(grown < 160 << 10, "800 connections cost {grown} KiB");
    drop((unknown, known));
    // The room comes back with the connections.
    let mut tries = 0;
    while server.post("/v1/batch", batch_of(512_000, 2)).status != 200 {
        tries += 1;
        assert!(tries < 1_000);
    }
    server.stop();
    assert_eq!((workspace.warehouse().count("sized"), workspace.warehouse().count("small")), (2, 1));
}

#[test]
fn a_budget_below_one_body_has_room_for_one() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlimits: {unfinished_bytes_max: 1 KiB}\n");
    let server = workspace.serve();
    assert_eq!(server.post("/v1/batch", batch_of(512_000, 1)).code(), "200");
    // Unknown clients have a part of the budget.
    let inside = String::from_utf8(batch_of(400_000, 2)).unwrap();
    let inside = inside.replacen('{', &format!(r#"{{"writeKey":"{}","#, server.key), 1);
    assert_eq!(request(&server.address, "POST", "/v1/batch", &[], inside.as_bytes()).code(), "200");
    server.stop();
    assert_eq!(workspace.warehouse().count("sized"), 2);
}

#[test]
fn a_compressed_body_of_an_unknown_client_is_bounded_by_its_format() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let key = &server.key;
    let body = |pad: usize| {
        format!(r#"{{"batch":[{{"type":"track","event":"Inside"}}],"writeKey":"{key}","pad":"{}"}}"#, "y".repeat(pad))
    };
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        // Bytes that do not compress keep the ratio honest.
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = ruzstd::encoding::compress_to_vec(body(10).as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let post = |encoding: &str, body: &[u8], auth: Option<&str>| {
        let auth = auth.map(|auth| ("authorization", auth));
        let headers: Vec<(&str, &str)> = auth.into_iter().chain([("content-encoding", encoding)]).collect();
        request(&server.address, "POST", "/v1/batch", &headers, body)
    };
    // Hightouch's SDKs for Python and Android send their key inside a gzip body.
    assert_eq!(post("gzip", &gzip(&body(10)), None).status, 200);
    let refused = post("zstd", &zstd, None);
    assert_eq!(refused.code(), "401 unknown-write-key");
    assert!(refused.text().contains("Authorization"), "{}", refused.text());
    assert_eq!(post("zstd", &zstd, Some(&basic(key))).status, 200);
    // Without a key outside, a body inflates to what a plain one may have.
    let noise: String = (0..60_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    let large = format!(
        r#"{{"batch":[{{"type":"track","event":"Large"}}],"writeKey":"{key}","pad":"{noise}{}"}}"#,
        "z".repeat(40_000)
    );
    assert!(large.len() > 512_000);
    assert_eq!(post("gzip", &gzip(&large), None).code(), "400 inflates-too-far");
    assert_eq!(post("gzip", &gzip(&large), Some(&basic(key))).status, 200);
    assert_eq!(post("gzip", &gzip(&body(10)), Some(&basic("wrong"))).code(), "401 unknown-write-key");
    server.stop();
    assert_eq!((workspace.warehouse().count("inside"), workspace.warehouse().count("large")), (2, 1));
}

#[test]
fn twelve_senders_of_bombs_take_little_memory_and_honest_clients_are_served() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let auth = basic(&server.key);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 60 << 20]).unwrap();
    // Blocks of 128 KiB of one repeated byte, in frames with a window of 8 MiB and of 128 MiB.
    let zstd = |window: u8, blocks| {
        [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window << 3], &[2, 0, 16, b' '].repeat(blocks)[..]].concat()
    };
    let bombs = [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd(13, 20_000)),
        ("zstd", zstd(17, 1_000)),
        ("br", vec![0x0f; 4_000]),
    ];
    assert_eq!(server.post("/v1/track", r#"{"event":"Before"}"#).status, 200);
    let before = memory_kib(&server);
    let most = std::sync::atomic::AtomicU64::new(before);
    std::thread::scope(|scope| {
        for n in 0..12 {
            let (bombs, server, auth, most) = (&bombs, &server, &auth, &most);
            scope.spawn(move || {
                for round in 0..12 {
                    let (encoding, body) = &bombs[(n + round) % bombs.len()];
                    let headers = [("authorization", auth.as_str()), ("content-encoding", encoding)];
                    let reply = request(&server.address, "POST", "/v1/batch", &headers, body);
                    assert!([400, 429].contains(&reply.status), "{encoding}: {}", reply.text());
                    most.fetch_max(memory_kib(server), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        for n in 0..50 {
            assert_eq!(server.post("/v1/track", format!(r#"{{"event":"Honest","n":{n}}}"#)).status, 200);
        }
    });
    let grown = most.into_inner() - before;
    assert!(grown < 64 << 10, "twelve senders cost {grown} KiB");
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 50);
}

#[test]
fn what_can_never_fit_is_413_and_what_may_fit_later_429() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {pending_bytes_max: 300 KiB}\n");
    let server = workspace.serve();
    let events: Vec<_> = (0..5_000).map(|n| json!({"type": "page", "messageId": n})).collect();
    let body = json!({"context": {"pad": "x".repeat(5_000)}, "batch": events}).to_string();
    let reply = server.post("/v1/batch", body);
    assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("413 expands-too-far", None));
    // Small, and still more than may ever wait for the disk.
    let reply = server.post("/v1/batch", batch_of_events(400));
    assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("413 expands-too-far", None));
    assert!(reply.text().contains("pending_bytes_max"), "{}", reply.text());
    assert_eq!(server.post("/v1/batch", batch_of_events(200)).status, 200);
    server.stop();
    assert_eq!(workspace.warehouse().count("pages"), 200);
    assert_eq!(workspace.quarantined(), [""; 0]);
}

/// A batch of events of about 1 KB.
fn batch_of_events(count: usize) -> String {
    let events: Vec<_> = (0..count).map(|n| json!({"type": "page", "messageId": n, "name": "n".repeat(950)})).collect();
    json!({ "batch": events }).to_string()
}

#[test]
fn a_chunked_body_beyond_every_bound_ends_with_an_answer_or_a_closed_connection() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "POST /v1/batch HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        basic(&server.key)
    )
    .unwrap();
    let chunk = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
    let mut sent: u64 = 0;
    // It never ends by itself: only the server can end it.
    while stream.write_all(&chunk).is_ok() {
        sent += 0x10000;
        assert!(sent < 1 << 30, "the server reads on for ever");
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(server.post("/v1/track", r#"{"event":"After"}"#).status, 200);
    server.stop();
}
