//! Clients that connect and keep the server waiting, of every kind, and honest clients that are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::conformance::skipped;
use crate::support::http::try_request;
use crate::support::{Server, Workspace, basic, request};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A workspace whose server has `places` and is quick to end a wait.
fn small(places: usize) -> Workspace {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", &format!("\nlimits: {{connections_max: {places}, connections_address_max: {places}, header_timeout: 2 s, idle_timeout: 2 s, read_timeout: 2 s, write_timeout: 2 s}}\n"));
    workspace
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends events, each on a connection of its own; all are accepted, and nobody has to ask twice.
fn honest(server: &Server, events: std::ops::Range<u64>) {
    for n in events {
        let body = json!({"type": "track", "event": "Honest", "messageId": format!("honest-{n}")}).to_string();
        let headers = [("authorization", basic(&server.key))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match try_request(&server.address, "POST", "/v1/track", &headers, body.as_bytes()) {
            Ok(reply) => assert_eq!(reply.code(), "200", "event {n}"),
            Err(error) => panic!("event {n}: {error}"),
        }
    }
}

/// Reads to the end of a connection that the server has to close; answers what came.
fn ends(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the server kept a connection that waits for ever")
        }
        // Whether the end is a reset does not matter.
        _ => String::from_utf8_lossy(&text).into_owned(),
    }
}

#[test]
fn idle_connections_keep_nobody_out() {
    let workspace = small(64);
    let server = workspace.serve();
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.extend((0..100).map(|_| connect(&server.address)));
        let sent = idle.len() as u64;
        honest(&server, sent - 100..sent - 50);
    }
    // Some that were served once, too.
    for stream in idle.iter_mut().rev().take(20) {
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    honest(&server, 1000..1050);
    for stream in idle {
        ends(stream);
    }
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 250);
}

#[test]
fn clients_that_pipeline_and_never_read_hold_no_place() {
    let workspace = small(12);
    let server = workspace.serve();
    // A preflight is answered with the headers that it asks for: as much to read as was sent.
    let asked = "x".repeat(8000);
    let ask = format!("OPTIONS /v1/t HTTP/1.1\r\nhost: x\r\naccess-control-request-headers: {asked}\r\n\r\n");
    let deaf: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = connect(&server.address);
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            // Until nothing goes in any more: the server has stopped reading.
            let refused = (0..10_000).find(|_| stream.write_all(ask.as_bytes()).is_err());
            assert!(refused.is_some(), "the server takes requests without end from a client that reads nothing");
            stream
        })
        .collect();
    honest(&server, 0..100);
    for stream in deaf {
        ends(stream);
    }
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 100);
}

/// Has `clients` send `first` and then a byte every now and then, until the server closes them all; meanwhile honest
/// clients are served. Answers what the dripping ones heard.
fn drip(server: &Server, clients: usize, first: &str) -> Vec<String> {
    let mut dripping: Vec<TcpStream> = (0..clients)
        .map(|_| {
            let mut stream = connect(&server.address);
            stream.write_all(first.as_bytes()).unwrap();
            stream
        })
        .collect();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| honest(server, 0..200));
        let deadline = Instant::now() + PATIENCE;
        let mut ended = vec![false; dripping.len()];
        while !ended.iter().all(|ended| *ended) {
            assert!(Instant::now() < deadline, "{ended:?}: some may drip for ever");
            for (stream, ended) in dripping.iter_mut().zip(&mut ended) {
                *ended = *ended || stream.write_all(b"x").is_err();
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        served.join().unwrap();
    });
    dripping.into_iter().map(ends).collect()
}

#[test]
fn heads_that_drip_keep_nobody_out() {
    let workspace = small(32);
    let server = workspace.serve();
    drip(&server, 100, "POST /v1/track HTTP/1.1\r\nhost: x\r\nx-slow: ");
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 200);
}

#[test]
fn bodies_that_drip_keep_nobody_out() {
    let workspace = small(32);
    let server = workspace.serve();
    let head = format!(
        "POST /v1/track HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: 100000\r\n\r\n{{",
        basic(&server.key)
    );
    drip(&server, 100, &head);
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 200);
}

#[test]
fn a_body_that_stops_coming_is_told_so() {
    let workspace = small(32);
    let server = workspace.serve();
    let mut stream = connect(&server.address);
    let head = "POST /v1/track HTTP/1.1\r\nhost: x\r\nauthorization: ";
    write!(stream, "{head}{}\r\ncontent-length: 100\r\n\r\n{{", basic(&server.key)).unwrap();
    let answer = ends(stream);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body-timeout"), "{answer}");
}

#[test]
fn a_body_that_stops_coming_on_the_admin_port_is_told_so_as_a_problem() {
    let workspace = small(32);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let mut stream = connect(&server.admin);
    let head = "POST /admin/functions/x/live HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ";
    write!(stream, "{head}{token}\r\ncontent-length: 100\r\n\r\n{{").unwrap();
    let answer = ends(stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 408") && head.contains("application/problem+json"), "{answer}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    assert_eq!(problem["code"], "body-timeout", "{answer}");
}

#[test]
fn the_admin_port_answers_through_a_flood() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = crate::support::admin::Admin::new(&server, &token);
    let idle: Vec<TcpStream> = (0..300).map(|_| connect(&server.admin)).collect();
    let mut half: Vec<TcpStream> = (0..200).map(|_| connect(&server.admin)).collect();
    for stream in &mut half {
        let _ = stream.write_all(b"POST /admin/functions/x/versions HTTP/1.1\r\nhost: x\r\n");
    }
    for _ in 0..50 {
        admin.get("/admin/functions");
    }
    drop((idle, half));
}

#[test]
fn a_stop_does_not_wait_for_clients() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    honest(&server, 0..10);
    let mut all: Vec<TcpStream> = (0..30).map(|_| connect(&server.address)).collect();
    all.extend((0..10).map(|_| connect(&server.admin)));
    for (n, stream) in all.iter_mut().enumerate() {
        let half =
            ["POST /v1/track HTTP/1.1\r\n", "POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{", ""];
        stream.write_all(half[n % 3].as_bytes()).unwrap();
    }
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 10);
}

#[test]
fn few_descriptors_cost_connections_and_no_event() {
    let workspace = Workspace::new();
    let server = workspace.serve_under(&["bash", "-c", "ulimit -n 256; exec \"$0\" \"$@\""]);
    let mut idle = Vec::new();
    for round in 0..4 {
        idle.extend((0..150).map(|_| connect(&server.address)));
        idle.extend((0..20).map(|_| connect(&server.admin)));
        honest(&server, round * 50..round * 50 + 50);
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    assert!(open < 256 - 32, "{open} descriptors: nothing is left for the log");
    let said = server.stop();
    assert!(said.contains("connections_max=4096") && said.contains("ulimit -n"), "{said}");
    assert_eq!(workspace.warehouse().count("honest"), 200);
}

#[test]
fn the_soft_limit_on_descriptors_is_raised_to_the_hard_one() {
    let workspace = Workspace::new();
    let server = workspace.serve_under(&["bash", "-c", "ulimit -Sn 100 && ulimit -Hn 512 && exec \"$0\" \"$@\""]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3..5], ["512", "512"], "{line}");
    honest(&server, 0..20);
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 20);
}

#[test]
fn a_server_leaves_no_core_dump_unless_that_is_asked_for() {
    let core = |process: &str| {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
        line.split_whitespace().skip(4).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let workspace = Workspace::new();
    let server = workspace.serve();
    assert_eq!(core(&server.pid().to_string()), ["0", "0"]);
    // A kernel without core dumps has no such file.
    if let Ok(filter) = std::fs::read_to_string(format!("/proc/{}/coredump_filter", server.pid())) {
        assert_eq!(filter.trim().trim_start_matches('0'), "", "{filter}");
    }
    server.stop();
    let log = workspace.dir.path().join("log.txt");
    let server = workspace.serve_logging(&[("TIDEGATE_CORE_DUMPS", "1")], &[], &log);
    assert_eq!(core(&server.pid().to_string()), core("self"), "it is what whoever starts the server has");
    server.stop();
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let workspace = Workspace::new();
    let server = workspace.serve_with(&["net_accept=20*return"]);
    let idle: Vec<TcpStream> = (0..20).map(|_| connect(&server.address)).collect();
    honest(&server, 0..20);
    drop(idle);
    let said = server.stop();
    assert_eq!(said.matches("no free file descriptor").count(), 2, "said once for each port, not each time: {said}");
    assert_eq!(workspace.warehouse().count("honest"), 20);
}

#[test]
fn a_source_over_its_rate_is_told_and_no_other_is() {
    let workspace = Workspace::new();
    let noisy = "0123456789abcdef0123456789abcdef";
    let rate = "rate: 40/s\nrate_burst: 1 s\n";
    workspace.write("sources/noisy.yaml", &format!("kind: http\nwrite_key: {noisy}\n{rate}"));
    workspace.write("syncs/noisy.yaml", "source: noisy\ndestination: warehouse\nschema: noisy\n");
    let server = workspace.serve();
    let (accepted, limited, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (server, accepted, limited, over) = (&server, &accepted, &limited, &over);
            scope.spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    let event = json!({"type": "track", "event": "Loud", "messageId": format!("{thread}-{n}")});
                    let key = basic(noisy);
                    let body = event.to_string();
                    let reply =
                        request(&server.address, "POST", "/v1/track", &[("authorization", &key)], body.as_bytes());
                    match reply.code().as_str() {
                        "200" => accepted.fetch_add(1, Ordering::Relaxed),
                        "429 rate-limited" => {
                            assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
                            limited.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other}"),
                    };
                }
            });
        }
        honest(&server, 0..300);
        over.store(true, Ordering::Relaxed);
    });
    assert!(limited.load(Ordering::Relaxed) > 0);
    // A large batch of a source in debt is refused before it is read.
    let large = json!({"batch": vec![json!({"type": "track", "event": "Large"}); 200]}).to_string();
    let post = || request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(noisy))], large.as_bytes());
    let replies: Vec<String> = (0..4).map(|_| post().code()).collect();
    assert!(replies.contains(&"429 rate-limited".to_owned()), "{replies:?}");
    let larges = replies.iter().filter(|code| *code == "200").count() as u64 * 200;
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 300);
    assert_eq!(workspace.warehouse().count("noisy__loud"), accepted.load(Ordering::Relaxed));
    assert_eq!(workspace.warehouse().count("noisy__tracks"), accepted.load(Ordering::Relaxed) + larges);
}

#[test]
fn a_source_over_its_bytes_a_second_is_told() {
    let workspace = Workspace::new();
    workspace.append("sources/web.yaml", "\nrate_bytes: 100 B/s\nrate_burst: 1 s\n");
    let server = workspace.serve();
    let event = json!({"type": "track", "event": "Large", "properties": {"text": "x".repeat(20_000)}}).to_string();
    // It is taken whole, and takes what comes in 200 s.
    assert_eq!(server.post("/v1/track", &event).code(), "200");
    let reply = server.post("/v1/track", &event);
    assert_eq!(reply.code(), "429 rate-limited");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 60);
    server.stop();
    assert_eq!(workspace.warehouse().count("large"), 1);
}

#[test]
fn a_flood_waits_for_the_disk_in_its_own_lane() {
    let workspace = Workspace::new();
    let noisy = "0123456789abcdef0123456789abcdef";
    workspace.append("tidegate.yaml", "\nlog: {pending_bytes_max: 1 MiB}\n");
    workspace.write("sources/noisy.yaml", &format!("kind: http\nwrite_key: {noisy}\n"));
    // A disk that takes its time.
    let server = workspace.serve_with(&["intake_sync=sleep(100)"]);
    let text = "x".repeat(1500);
    let flood = json!({"batch": vec![json!({"type": "track", "event": "Loud", "properties": {"text": text}}); 12]});
    let flood = flood.to_string();
    let (busy, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..80 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let headers = [("authorization", basic(noisy))];
                    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    match request(&server.address, "POST", "/v1/batch", &headers, flood.as_bytes()).code().as_str() {
                        "200" => {}
                        "429 too-busy" => drop(busy.fetch_add(1, Ordering::Relaxed)),
                        other => panic!("{other}"),
                    }
                }
            });
        }
        for n in 0..20 {
            let event = json!({"type": "track", "event": "Quiet", "messageId": n, "text": "y".repeat(25_000)});
            let code = server.post("/v1/track", event.to_string()).code();
            if code != "200" {
                over.store(true, Ordering::Relaxed);
            }
            assert_eq!(code, "200", "event {n} of the quiet source");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(busy.load(Ordering::Relaxed) > 0, "the flood was too small to tell");
    server.stop();
    assert_eq!(workspace.warehouse().count("quiet"), 20);
}

#[test]
fn wrong_keys_are_limited_by_address_and_right_ones_work() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlimits: {wrong_keys_max: 5}\ntrusted_proxies: [127.0.0.1]\n");
    let server = workspace.serve();
    let send = |from: &str, key: &str| {
        let (key, body) = (basic(key), r#"{"type":"track","event":"Honest"}"#);
        let headers = [("authorization", key.as_str()), ("x-forwarded-for", from)];
        request(&server.address, "POST", "/v1/track", &headers, body.as_bytes())
    };
    for _ in 0..4 {
        assert_eq!(send("203.0.113.1", "wrong").code(), "401 unknown-write-key");
    }
    let asked = |key: &str| {
        let path = format!("/v1/projects/{key}/settings");
        request(&server.address, "GET", &path, &[("x-forwarded-for", "203.0.113.1")], b"")
    };
    assert_eq!(asked("wrong").status, 404, "a guess is a guess on every path");
    let reply = send("203.0.113.1", "wrong");
    assert_eq!(reply.code(), "429 too-many-wrong-keys");
    assert!((1..=60).contains(&reply.header("retry-after").unwrap().parse().unwrap()));
    assert_eq!(asked("wrong").status, 429);
    assert_eq!((send("203.0.113.1", &server.key).status, asked(&server.key).status), (200, 200));
    assert_eq!(send("203.0.113.2", "wrong").code(), "401 unknown-write-key");
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), 1);
}

#[test]
fn clients_behind_a_proxy_are_counted_by_themselves() {
    let workspace = Workspace::new();
    let limits = "limits: {connections_address_max: 3, requests_address_max: 2}";
    workspace.append("tidegate.yaml", &format!("\n{limits}\ntrusted_proxies: [127.0.0.1]\n"));
    let server = workspace.serve();
    let key = basic(&server.key);
    let mut slow: Vec<TcpStream> = (0..2).map(|_| connect(&server.address)).collect();
    for stream in &mut slow {
        let head = "POST /v1/track HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.1\r\nexpect: 100-continue";
        write!(stream, "{head}\r\nauthorization: {key}\r\ncontent-length: 100\r\n\r\n").unwrap();
        // The server says so when it waits for the body.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100");
    }
    let send = |from: &str| {
        let headers = [("authorization", key.as_str()), ("x-forwarded-for", from)];
        request(&server.address, "POST", "/v1/track", &headers, br#"{"event":"Honest"}"#).code()
    };
    assert_eq!(send("203.0.113.1"), "429 too-many-requests");
    for n in 2..20 {
        assert_eq!(send(&format!("203.0.113.{n}")), "200", "the proxy itself has no limit");
    }
    drop(slow);
}

#[test]
fn settings_name_no_host_that_is_not_ours() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let ask = |server: &Server, host: &str| {
        let mut stream = connect(&server.address);
        let path = format!("/v1/projects/{}/settings", server.key);
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let reply = crate::support::http::read(&mut stream).unwrap();
        assert_eq!(reply.status, 200, "{host}");
        reply.json()["integrations"]["Segment.io"]["apiHost"].as_str().map(str::to_owned)
    };
    for host in ["evil.example", "evil.example:80", "\"", "a b", "127.0.0.1.evil.example", &"a".repeat(300)] {
        assert_eq!(ask(&server, host), None, "{host}");
    }
    assert_eq!(ask(&server, &server.address), Some(format!("{}/v1", server.address)));
    assert_eq!(ask(&server, "localhost:8080").as_deref(), Some("localhost:8080/v1"));
    assert!(server.stop().contains("public_url"), "the operator hears of it");
    workspace.append("tidegate.yaml", "\npublic_url: https://events.example.com/in/\n");
    let server = workspace.serve();
    for host in ["evil.example", "localhost"] {
        assert_eq!(ask(&server, host).as_deref(), Some("events.example.com/in/v1"));
    }
}

#[test]
fn an_address_with_a_port_is_the_clients() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\ntrusted_proxies: [127.0.0.1]\n");
    let server = workspace.serve();
    let key = basic(&server.key);
    for (id, name, value) in [
        ("a", "x-forwarded-for", "203.0.113.7:51234"),
        ("b", "x-forwarded-for", "8.8.8.8, 203.0.113.8:51234"),
        ("c", "x-forwarded-for", "[2001:db8::9]:443"),
        ("d", "x-forwarded-for", "8.8.8.8, unknown"),
        ("e", "forwarded", "for=8.8.8.8, for=\"203.0.113.9:47011\";proto=https"),
    ] {
        let body = json!({"type": "track", "event": "Seen", "messageId": id}).to_string();
        let headers = [("authorization", key.as_str()), (name, value)];
        assert_eq!(request(&server.address, "POST", "/v1/track", &headers, body.as_bytes()).status, 200);
    }
    server.stop();
    assert_eq!(
        workspace.warehouse().rows("SELECT id, context_ip FROM seen ORDER BY id"),
        ["a|203.0.113.7", "b|203.0.113.8", "c|2001:db8::9", "d|127.0.0.1", "e|203.0.113.9"]
    );
}

/// slowhttptest's three ways to keep a server waiting, with more connections than there are places.
#[test]
fn slowhttptest_keeps_nobody_out() {
    if Command::new("slowhttptest").arg("-h").output().is_err() {
        return skipped("connections::slowhttptest", "slowhttptest is not installed; install the package slowhttptest");
    }
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlimits: {connections_max: 300, connections_address_max: 300}\n");
    let server = workspace.serve();
    let settings = format!("{}/v1/projects/{}/settings", server.url(), server.key);
    let mut sent = 0;
    for mode in [vec!["-H", "-i", "1"], vec!["-B", "-i", "1"], vec!["-X", "-k", "20", "-w", "1", "-y", "2", "-z", "1"]]
    {
        let mut attack = Command::new("slowhttptest")
            .args(&mode)
            .args(["-c", "500", "-r", "500", "-l", "6", "-p", "1", "-u", &settings])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        loop {
            honest(&server, sent..sent + 20);
            sent += 20;
            if attack.try_wait().unwrap().is_some() {
                break;
            }
        }
    }
    server.stop();
    assert_eq!(workspace.warehouse().count("honest"), sent);
}
