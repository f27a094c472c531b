//! An order to stop ends the process in time, whoever does not answer, and nothing accepted is lost by it.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::Running;
use crate::delivery::{Route, event};
use crate::support::far::{Act, Far};
use crate::support::waiting::{PATIENCE, within};
use crate::support::{Workspace, guests, tidegate};

/// What a supervisor waits before it kills.
const STOP_MAX: Duration = Duration::from_secs(10);

fn pages(count: usize) -> Vec<serde_json::Value> {
    (0..count).map(|n| json!({"type": "page", "messageId": format!("m{n}"), "properties": {"n": n}})).collect()
}

fn stops(mut server: Running) -> String {
    server.signal("TERM");
    let status = server.ends_within(STOP_MAX);
    assert_eq!(status.code(), Some(0), "{}", server.log());
    server.log()
}

/// A port that takes connections and says nothing, as a stopped server does.
fn silent_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn with_silent_postgres() -> (Workspace, TcpListener) {
    let workspace = Workspace::new();
    let (listener, port) = silent_port();
    workspace.write("destinations/pg.yaml", &format!("kind: postgres\nurl: postgres://u:p@127.0.0.1:{port}/db\n"));
    workspace.write("syncs/web-to-pg.yaml", "source: web\ndestination: pg\n");
    (workspace, listener)
}

#[test]
fn clients_that_do_not_read_or_do_not_end_hold_nothing_up() {
    let workspace = Workspace::new();
    let server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &pages(10));
    let connect = || TcpStream::connect(&server.address).unwrap();
    let mut unfinished = connect();
    unfinished.write_all(b"POST /v1/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{\"batch\":[").unwrap();
    let mut deaf = connect();
    deaf.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let request = format!("GET /v1/projects/{}/settings HTTP/1.1\r\nhost: x\r\n\r\n", workspace.write_key);
    // Until its answers fill every buffer between us, or there were many.
    for _ in 0..20_000 {
        if deaf.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    stops(server);
    drop((unfinished, deaf));
    assert_eq!(workspace.warehouse().count("pages"), 10);
}

#[test]
fn a_warehouse_that_never_answers_holds_nothing_up() {
    let (workspace, _silent) = with_silent_postgres();
    let server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &pages(10));
    let log = stops(server);
    assert!(log.contains("web-to-pg") && log.contains("waits in the log"), "{log}");
    // The other sync had its time.
    assert_eq!(workspace.warehouse().count("pages"), 10);
}

#[test]
fn an_order_to_stop_is_heard_while_a_warehouse_does_not_let_the_server_start() {
    let (workspace, silent) = with_silent_postgres();
    let mut server = Running::spawn(&workspace, &[]);
    // It has come as far as asking the warehouse.
    let _asked = silent.accept().unwrap();
    server.signal("TERM");
    let status = server.ends_within(Duration::from_secs(3));
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(server.log().contains("before it was ready"), "{}", server.log());
}

#[test]
fn a_second_order_ends_it_at_once() {
    let (workspace, _silent) = with_silent_postgres();
    let mut server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &pages(10));
    server.signal("TERM");
    server.wait_for_line("stopping");
    server.signal("INT");
    let status = server.ends_within(Duration::from_secs(3));
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(server.log().contains("at once"), "{}", server.log());
}

#[test]
fn a_far_side_that_never_answers_holds_nothing_up_and_gets_everything_later() {
    let far = Far::new(|_| Act::Hang);
    let route = Route::with(&far, |manifest| manifest["traffic"]["timeout"] = json!("60 s"), "");
    let server = Running::start(&route.workspace, &[]);
    server.batch(&route.workspace.write_key, &pages(10));
    stops(server);
    // The same far side, answering.
    let far = Far::new(|_| Act::status(200));
    let file = route.workspace.path().join("destinations/crm.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let before = text.lines().find_map(|line| line.trim().strip_prefix("endpoint: ")).unwrap().to_owned();
    std::fs::write(&file, text.replace(&before, &far.origin())).unwrap();
    let server = Running::start(&route.workspace, &[]);
    assert_eq!(route.wait_for_end(10)["delivered"], 10);
    stops(server);
}

#[test]
fn what_is_tried_again_while_the_server_stops_is_recorded_and_goes_once() {
    let (is_well, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (begun, begins) = channel();
    let (now_well, now_taken, begun) = (Arc::clone(&is_well), Arc::clone(&taken), Mutex::new(begun));
    let far = Far::new(move |_| {
        if !now_well.load(Ordering::SeqCst) {
            return Act::status(503);
        }
        now_taken.fetch_add(1, Ordering::SeqCst);
        // It answers after whoever does not wait for it has left.
        let _ = begun.lock().unwrap().send(());
        std::thread::park_timeout(Duration::from_millis(700));
        Act::status(200)
    });
    let route = Route::new(&far);
    let mut server = Running::start(&route.workspace, &[]);
    server.batch(&route.workspace.write_key, &[event("m", "u", json!({}))]);
    route.wait("it waits for another try", |sync| sync["pending"] == 1);
    is_well.store(true, Ordering::SeqCst);
    begins.recv_timeout(PATIENCE).unwrap();
    server.signal("TERM");
    server.wait_for_line("tidegate has stopped");
    assert_eq!(server.ends_within(STOP_MAX).code(), Some(0), "{}", server.log());
    let server = Running::start(&route.workspace, &[]);
    assert_eq!(route.wait_for_end(1)["delivered"], 1);
    stops(server);
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

#[test]
fn a_function_that_never_ends_holds_nothing_up_and_its_events_come_to_an_end_later() {
    let workspace = Workspace::new();
    std::fs::copy(guests::component("hostile/attacks"), workspace.path().join("functions/f.component.wasm")).unwrap();
    let with = |cpu: &str| {
        workspace.write("functions/f.yaml", &format!("component: functions/f.component.wasm\ncpu_batch_max: {cpu}\n"));
    };
    with("1 h");
    workspace.append("sources/web.yaml", "\nfunctions: [f]\n");
    let server = Running::start(&workspace, &[]);
    let mut events = pages(5);
    events.push(json!({"type": "track", "event": "Bad", "messageId": "bad", "properties": {"attack": "loop"}}));
    server.batch(&workspace.write_key, &events);
    stops(server);
    with("200 ms");
    let server = Running::start(&workspace, &[]);
    stops(server);
    assert_eq!(workspace.quarantined(), ["cpu-budget"]);
    assert_eq!(workspace.warehouse().count("pages"), 5);
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let workspace = Workspace::new();
    let mut command = tidegate();
    command.args(["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0", "--json", "--log", "trace"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    // Connections are traced, until the pipe is full and whoever writes to it stands still.
    let mut clients = Vec::new();
    for _ in 0..2_000 {
        let Ok(mut client) = TcpStream::connect(&address) else { break };
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let answered = client.read(&mut [0; 1]).is_ok();
        clients.push(client);
        if !answered {
            break;
        }
    }
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let ended =
        within(STOP_MAX, "the server ends", || child.try_wait().unwrap().ok_or_else(|| "it is still there".to_owned()));
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn signals_that_mean_no_end_end_nothing() {
    let workspace = Workspace::new();
    let mut server = Running::start(&workspace, &[]);
    for signal in ["HUP", "USR1", "USR2", "PIPE"] {
        server.signal(signal);
        if signal != "PIPE" {
            server.wait_for_line(&format!("SIG{signal}"));
        }
    }
    server.wait_for_line("the workspace was read again");
    assert!(server.is_running());
    server.batch(&workspace.write_key, &pages(3));
    stops(server);
    assert_eq!(workspace.warehouse().count("pages"), 3);
}
