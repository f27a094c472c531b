//! `tidegate top`: a running server at a glance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::reliability::{bad, drained, event};
use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, until};
use crate::support::{Server, Workspace, tidegate};

/// A server with three events that were delivered and one in quarantine, and an admin token.
fn served() -> (Workspace, Server, String) {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    assert_eq!(server.batch(&[event("a"), event("b"), event("c"), bad(0)]).status, 200);
    drained(&workspace);
    (workspace, server, token)
}

fn top(address: &str, token: &str, words: &[&str]) -> Command {
    let mut command = tidegate();
    command.args(["top", "--server", address, "--token", token, "--interval", "1"]).args(words);
    command
}

fn at(server: &Server) -> String {
    format!("http://{}", server.admin)
}

/// The row of a table that begins with this.
#[track_caller]
fn row<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.split_whitespace().next().is_some_and(|first| first.starts_with(name)));
    line.unwrap_or_else(|| panic!("no row {name} in {text}")).split_whitespace().collect()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The lines of a command while it runs.
fn lines(child: &mut Child) -> Receiver<Value> {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (say, said) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|read| read > 0) {
            // Whoever listens may have heard enough.
            if say.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
            line.clear();
        }
    });
    said
}

fn interrupt(mut child: Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_frame_has_the_numbers_of_what_was_sent_and_nothing_for_a_terminal() {
    let (_workspace, server, token) = served();
    let output = top(&at(&server), &token, &["--once"]).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    for part in
        [at(&server).as_str(), "in 0.0/s", "out 0.0/s", "waiting 0", "pending 0", "quarantine 1", "disk ", "log "]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(row(&text, "web"), ["web", "0.0", "0.0", "0.0", "0.0", "4", "1", "0.0"], "{text}");
    let sync = row(&text, "web-to-warehouse");
    assert_eq!(sync[1..3], ["0.0", "0"], "{text}");
    assert_eq!(sync[sync.len() - 4..], ["0", "3", "0.0", "0.0"], "{text}");
    assert_eq!(row(&text, "web/").last(), Some(&"4"), "{text}");
    // What is piped is one frame all the same.
    let piped = top(&at(&server), &token, &[]).output().unwrap();
    assert!(piped.status.success() && told(&piped).contains("web-to-warehouse"), "{}", told(&piped));
    server.stop();
}

#[test]
fn lines_of_json_have_what_comes_in_a_second() {
    let (_workspace, server, token) = served();
    let once = top(&at(&server), &token, &["--once", "--json"]).output().unwrap();
    let numbers: Value = serde_json::from_slice(&once.stdout).unwrap();
    assert_eq!((&numbers["sources"][0]["totals"]["accepted"], &numbers["in_a_second"]), (&json!(4), &json!(0.0)));
    assert_eq!(numbers["syncs"][0]["totals"]["delivered"], 3, "{numbers}");
    assert_eq!(numbers["not_seen"], json!([]), "{numbers}");
    let mut child = top(&at(&server), &token, &["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = lines(&mut child);
    let first = said.recv_timeout(PATIENCE).unwrap();
    assert!(first["in_a_second"].is_null() && first["seconds"].is_null(), "{first}");
    let mut sent = 0;
    until("events are seen coming in and going out", || {
        assert_eq!(server.batch(&[event(&format!("more{sent}"))]).status, 200);
        sent += 1;
        let line = said.recv_timeout(PATIENCE).unwrap();
        let is_more = |name: &str| line[name].as_f64().is_some_and(|number| number > 0.0);
        is_more("in_a_second") && is_more("out_a_second") && is_more("seconds")
    });
    interrupt(child);
    server.stop();
}

#[test]
fn a_server_that_is_not_reached_is_asked_again_and_who_may_not_look_is_told_so() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{closed}");
    let output = top(&nowhere, "tg_x", &["--once"]).output().unwrap();
    assert!(output.status.code() == Some(1) && told(&output).contains("could not reach"), "{}", told(&output));
    let mut child = top(&nowhere, "tg_x", &["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = lines(&mut child);
    let (first, second) = (said.recv_timeout(PATIENCE).unwrap(), said.recv_timeout(PATIENCE).unwrap());
    assert!(first["error"].as_str().unwrap().contains("could not reach"), "{first}");
    assert!(first["no_answer_since"].is_string() && first["no_answer_since"] == second["no_answer_since"], "{second}");
    interrupt(child);

    let (_workspace, server, token) = served();
    for words in [&["--once"][..], &["--json"]] {
        let output = top(&at(&server), "tg_wrong", words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(told(&output).contains("tidegate login"), "{}", told(&output));
    }
    // A viewer has no part of what is an admin's.
    let admin = Admin::new(&server, &token);
    let made = admin.post("/api/v1/objects/user", &json!({"name": "vera", "spec": {}}));
    let group = json!({"name": "veras", "spec": {"members": [made.json()["objects"][0]["id"]], "roles": {"default": "viewer"}}});
    assert_eq!(admin.post("/api/v1/objects/group", &group).status, 201);
    let made = admin.post("/api/v1/tokens?workspace=default", &json!({"name": "of vera", "user": "vera"}));
    assert_eq!(made.status, 201, "{}", made.text());
    let output = top(&at(&server), made.json()["token"].as_str().unwrap(), &["--once"]).output().unwrap();
    let text = told(&output);
    assert!(output.status.success() && row(&text, "web-to-warehouse").len() > 5, "{text}");
    assert!(text.contains("not shown: functions") && text.contains("not shown: write keys"), "{text}");
    assert!(!text.contains("WRITE KEYS"), "{text}");
    server.stop();
}

/// `tidegate top` on a terminal of 70 columns, which `script` makes; its output, and the id of its process.
fn on_a_terminal(server: &Server, token: &str) -> Option<(Child, Receiver<String>)> {
    let program = env!("CARGO_BIN_EXE_tidegate");
    let line = format!("echo pid=$$; stty cols 70 rows 40; exec {program} top --server {} --interval 1", at(server));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TIDEGATE_ADMIN_TOKEN", token).env("TERM", "xterm-256color");
    command.env("SHELL", "/bin/sh").env_remove("NO_COLOR").env_remove("CLICOLOR");
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        println!("skipped: a terminal: there is no `script` of util-linux");
        return None;
    };
    let mut stdout = child.stdout.take().unwrap();
    let (say, said) = channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stdout.read(&mut piece) {
            if say.send(String::from_utf8_lossy(&piece[..read]).into_owned()).is_err() {
                return;
            }
        }
    });
    Some((child, said))
}

/// Reads until this has come.
#[track_caller]
fn read_until(said: &Receiver<String>, seen: &mut String, wanted: &str) {
    while !seen.contains(wanted) {
        match said.recv_timeout(PATIENCE) {
            Ok(piece) => seen.push_str(&piece),
            Err(error) => panic!("{error}: no {wanted:?} in {seen:?}"),
        }
    }
}

const ENTERED: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEFT: &str = "\u{1b}[?25h\u{1b}[?1049l";

#[test]
fn a_terminal_is_drawn_anew_and_is_as_before_when_it_is_over() {
    let (_workspace, server, token) = served();
    let mut seen = String::new();
    let Some((mut child, said)) = on_a_terminal(&server, &token) else { return };
    read_until(&said, &mut seen, "in 0.0/s");
    assert!(seen.contains(ENTERED) && seen.contains("\u{1b}[H") && seen.contains("\u{1b}[1mSYNCS"), "{seen:?}");
    // As many numbers as 70 columns have room for.
    assert!(seen.contains("waiting") && !seen.contains("filter/s"), "{seen:?}");
    child.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    read_until(&said, &mut seen, LEFT);
    assert!(child.wait().unwrap().success(), "{seen:?}");

    let mut seen = String::new();
    let Some((mut child, said)) = on_a_terminal(&server, &token) else { return };
    read_until(&said, &mut seen, "in 0.0/s");
    let pid = seen.split("pid=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    read_until(&said, &mut seen, LEFT);
    assert!(child.wait().unwrap().success(), "{seen:?}");
    server.stop();
}
