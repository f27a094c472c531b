//! Events while they pass.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::delivery::event;
use crate::reliability::drained;
use crate::support::waiting::{PATIENCE, until};
use crate::support::{Server, Workspace, guests, tidegate};

/// Starts `tidegate tap`, and waits until it listens.
fn listening(server: &Server, token: &str, words: &[&str]) -> Child {
    let address = format!("http://{}", server.admin);
    let mut command = tidegate();
    command.arg("tap").args(["--server", &address, "--token", token, "--json"]).args(words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    child
}

/// What a command has printed by its end.
fn printed(child: Child) -> Vec<Value> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_are_seen_with_every_step_that_they_take() {
    let workspace = Workspace::new();
    let key = workspace.write_key.clone();
    workspace.write(
        "functions/few.yaml",
        &format!("component: {}\nsettings: {{\"percent\": 100}}\n", guests::component("transform/sampling").display()),
    );
    workspace.write("sources/web.yaml", &format!("kind: http\nwrite_key: {key}\nfunctions: [few]\n"));
    workspace.write(
        "syncs/web-to-warehouse.yaml",
        "source: web\ndestination: warehouse\nfilter:\n  except_events: [Left]\nmapping:\n  remove: [/properties/secret]\n",
    );
    let token = workspace.admin_token();
    let server = workspace.serve();
    let steps = listening(&server, &token, &["--steps", "--user", "ann", "--limit", "3"]);
    let of_sync = listening(&server, &token, &["--sync", "web-to-warehouse", "--limit", "2"]);
    let of_place = listening(&server, &token, &["--filter", "/properties/plan=pro", "--limit", "1"]);
    let track = |id: &str, name: &str, user: &str| {
        json!({"type": "track", "event": name, "messageId": id, "userId": user,
            "properties": {"plan": if id == "m2" { "pro" } else { "free" }, "secret": "s3"}})
    };
    assert_eq!(
        server.batch(&[track("m0", "Kept", "ann"), track("m1", "Left", "bob"), track("m2", "Kept", "bob")]).status,
        200
    );
    let steps = printed(steps);
    let told: Vec<_> = steps.iter().map(|step| (step["stage"].clone(), step["outcome"].clone())).collect();
    let passed = |stage: &str| (json!(stage), json!("passed"));
    assert_eq!(told, [passed("accepted"), passed("function"), passed("sync")]);
    assert_eq!(steps[1]["name"], "few");
    assert_eq!(steps[2]["before"]["properties"]["secret"], "s3", "{}", steps[2]);
    assert!(steps[2]["after"][0]["properties"]["secret"].is_null(), "{}", steps[2]);
    let of_sync = printed(of_sync);
    let mut outcomes: Vec<_> = of_sync.iter().map(|step| step["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert!(outcomes == ["filtered", "passed"] || outcomes == ["passed", "passed"], "{of_sync:?}");
    let of_place = printed(of_place);
    assert_eq!((&of_place[0]["stage"], &of_place[0]["before"]["messageId"]), (&json!("accepted"), &json!("m2")));
    drained(&workspace);
    server.stop();
}

#[test]
fn a_reader_that_stands_still_costs_nobody_anything_and_is_told_what_it_lost() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let mut still = TcpStream::connect(&server.admin).unwrap();
    still.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "GET /api/v1/tap?rate=1000 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    still.write_all(head.as_bytes()).unwrap();
    let mut begun = Vec::new();
    while !begun.windows(11).any(|window| window == b": listening") {
        let mut some = [0; 256];
        let read = still.read(&mut some).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&begun));
        begun.extend_from_slice(&some[..read]);
    }
    // More than its buffer and every socket's take.
    let large = "x".repeat(20_000);
    for round in 0..60 {
        let events: Vec<Value> =
            (0..20).map(|n| event(&format!("r{round}-{n}"), "ann", json!({ "large": large }))).collect();
        assert_eq!(server.batch(&events).status, 200);
    }
    drained(&workspace);
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("bought"), 1_200);
    // It is told what it lost or was not shown, or was given up for standing still: which comes first depends on how long all this took.
    let mut reader = BufReader::new(still);
    loop {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(read) if read > 0 && !line.starts_with(b"event: lost") && !line.starts_with(b"event: sampled") => {}
            Ok(_) | Err(_) => break,
        }
    }
    server.stop();
}

#[test]
fn a_flood_reaches_a_listener_as_a_sample_that_says_what_it_is_of() {
    const RATE: u64 = 50;
    const EVENTS: u64 = 3_000;
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("accept", "text/event-stream")];
    for wrong in ["rate=0", "rate=1001", "rate=x", "type=purchase"] {
        let reply = crate::support::request(&server.admin, "GET", &format!("/api/v1/tap?{wrong}"), &headers, b"");
        assert_eq!(reply.code(), "400 query", "{wrong}");
    }
    let mut child = listening(&server, &token, &["--rate", "50"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (say, said) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
            // Whoever listens may have heard enough.
            if say.send(serde_json::from_str::<Value>(&line).unwrap()).is_err() {
                return;
            }
            line.clear();
        }
    });
    for round in 0..EVENTS / 500 {
        let events: Vec<Value> = (0..500).map(|n| event(&format!("r{round}-{n}"), "ann", json!({}))).collect();
        assert_eq!(server.batch(&events).status, 200);
    }
    // Every event was shown, or is said to have been left out.
    let (mut steps, mut left_out) = (0, 0);
    while steps + left_out < EVENTS {
        let line = said.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {steps} shown, {left_out} not"));
        if line["stage"] == "accepted" {
            steps += 1;
            continue;
        }
        let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"));
        let (seen, shown) = (number("seen"), number("shown"));
        assert!(seen > shown && number("errors_seen") == 0, "{line}");
        assert!(shown * 1_000 <= RATE * number("took_ms"), "{line}");
        left_out += seen - shown;
    }
    assert_eq!(steps + left_out, EVENTS);
    assert!(left_out > 0 && steps >= RATE, "{steps} shown");
    child.kill().unwrap();
    child.wait().unwrap();
    drained(&workspace);
    assert_eq!(workspace.warehouse().count("bought"), EVENTS);
    server.stop();
}

#[test]
fn listeners_are_few_and_whoever_does_not_ask_for_a_stream_gets_none() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = crate::support::admin::Admin::new(&server, &token);
    assert_eq!(admin.ask("GET", "/api/v1/tap", b"").code(), "406 not-acceptable");
    let mut listeners: Vec<Child> = (0..16).map(|_| listening(&server, &token, &[])).collect();
    let address = format!("http://{}", server.admin);
    let refused = || {
        let output =
            tidegate().args(["tap", "--limit", "1", "--server", &address, "--token", &token]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused();
    assert!(said.contains("as many as may"), "{said}");
    let mut one = listeners.pop().unwrap();
    one.kill().unwrap();
    one.wait().unwrap();
    until("there is room again", || {
        let mut child = listening_or_not(&server, &token);
        let has_room = child.is_some();
        if let Some(child) = &mut child {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        has_room
    });
    for mut child in listeners {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    server.stop();
}

#[test]
fn a_listener_goes_with_its_connection_whatever_kind_of_request_it_was() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    // One after the other, and more than may listen at once.
    for (method, version) in [("GET", "1.0"), ("HEAD", "1.1")].into_iter().cycle().take(20) {
        until("there is room for a listener", || {
            let mut stream = TcpStream::connect(&server.admin).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let head = format!(
                "{method} /api/v1/tap HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
                 accept: text/event-stream\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            line.contains(" 200 ")
        });
    }
    server.stop();
}

fn listening_or_not(server: &Server, token: &str) -> Option<Child> {
    let address = format!("http://{}", server.admin);
    let mut command = tidegate();
    command.args(["tap", "--server", &address, "--token", token]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line.contains("listening") {
        return Some(child);
    }
    child.wait().unwrap();
    None
}
