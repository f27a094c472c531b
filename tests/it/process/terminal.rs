//! Text from outside reaches no terminal as it came, and a terminal without colours or a width gets neither.

use std::process::{Command, Stdio};

use serde_json::json;

use super::Running;
use crate::conformance::skipped;
use crate::support::waiting::PATIENCE;
use crate::support::{Workspace, guests, run, tidegate};

/// A name that would colour the screen, turn the text, hide in it, and ring.
const HOSTILE: &str = "a\u{1b}[31mb\u{9b}32mc\u{202e}d\u{2066}e\u{200b}f\u{feff}g\u{7f}h\u{7}i\u{61c}j\rk\u{e0041}";

fn assert_harmless(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    let found: Vec<char> = text.chars().filter(|c| bad(*c)).collect();
    assert!(found.is_empty(), "{what}: {found:?} in {text:?}");
}

/// Runs a command and looks at all that it prints.
fn look(args: &[&str]) -> String {
    let output = run(args);
    assert_harmless(&format!("{args:?} stdout"), &output.stdout);
    assert_harmless(&format!("{args:?} stderr"), &output.stderr);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A text of YAML that means `text`.
fn quoted(text: &str) -> String {
    json!(text).to_string().chars().fold(String::new(), |out, c| match u32::from(c) {
        0..=0x7e => out + &c.to_string(),
        code if code > 0xffff => out + &format!("\\U{code:08x}"),
        code => out + &format!("\\u{code:04x}"),
    })
}

#[test]
fn problems_and_arguments_show_hostile_names_spelled_out() {
    let workspace = Workspace::new();
    let name = quoted(HOSTILE);
    workspace.write("syncs/bad.yaml", &format!("source: {name}\ndestination: {name}\n{name}: 1\nschema: {name}\n"));
    workspace.write("destinations/bad.yaml", &format!("kind: {name}\n"));
    workspace.write("lookups/bad.yaml", &format!("kind: table\npath: {name}\n"));
    std::fs::write(workspace.path().join(format!("sources/{HOSTILE}.yaml")), "kind: http\n").unwrap();
    let path = workspace.path();
    let path = path.to_str().unwrap();
    let said = look(&["check", path]);
    assert!(said.contains("\\u{1b}[31m") && said.contains("\\u{202e}"), "{said}");
    look(&["serve", path]);
    let said = look(&["check", path, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(answer["problems"].to_string().contains("e0041"), "{said}");
    // What the arguments hold.
    for args in [
        &["check", HOSTILE][..],
        &["check", path, HOSTILE],
        &[HOSTILE],
        &["check", path, &format!("--{HOSTILE}")],
        &["send", HOSTILE, "--write-key", "k", "--to", "http://127.0.0.1:1"],
        &["init", &format!("/proc/{HOSTILE}")],
        &["status", path, "--data", HOSTILE],
        &["send", "--generate", "1", "--rate", HOSTILE],
    ] {
        let said = look(args);
        assert!(said.contains("u{202e}"), "{args:?}: {said}");
    }
}

#[test]
fn events_and_what_guests_say_reach_tables_and_the_log_spelled_out() {
    let workspace = Workspace::new();
    std::fs::copy(guests::component("hostile/attacks"), workspace.path().join("functions/f.component.wasm")).unwrap();
    workspace.write("functions/f.yaml", "component: functions/f.component.wasm\n");
    workspace.append("sources/web.yaml", "\nfunctions: [f]\n");
    let mut server = Running::start(&workspace, &["--log", "tidegate=trace"]);
    server.batch(
        &workspace.write_key,
        &[
            json!({"type": HOSTILE, "messageId": HOSTILE}),
            json!({"type": "track", "event": HOSTILE, "messageId": "b", "properties": {HOSTILE: HOSTILE}}),
            json!({"type": "track", "event": "Bad", "messageId": "c", "properties": {"attack": "long-code"}}),
        ],
    );
    server.signal("TERM");
    server.ends_within(PATIENCE);
    assert_harmless("the log", server.log().as_bytes());
    let path = workspace.path();
    let path = path.to_str().unwrap();
    let said = look(&["quarantine", path, "--events"]);
    assert!(said.contains("unknown-type"), "{said}");
    let said = look(&["quarantine", path, "--json"]);
    for line in said.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(entry["code"] != "unknown-type" || entry["event"]["type"] == HOSTILE, "{line}");
    }
    for args in [&["status", path][..], &["status", path, "--json"]] {
        look(args);
    }
    let sample = workspace.path().join("sample.jsonl");
    std::fs::write(&sample, json!({"type": "track", "event": HOSTILE, "properties": {HOSTILE: 1}}).to_string())
        .unwrap();
    look(&["warehouse", "plan", path, "--from-nothing", "--events", sample.to_str().unwrap()]);
    // As JSON the log means the same.
    workspace.write("functions/f.yaml", "component: functions/f.component.wasm\nsettings: {mode: refuse-settings}\n");
    let output = run(&["serve", path, "--listen", "127.0.0.1:0", "--log-json"]);
    assert_harmless("an error of a guest", &output.stderr);
    assert_eq!(output.status.code(), Some(1));
}

/// Runs the program on a terminal of its own (of no size, as those of containers are) and answers what it got; `None` when
/// this machine has no program that makes a terminal.
fn on_a_terminal(args: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let mut words = vec![env!("CARGO_BIN_EXE_tidegate").to_owned()];
    words.extend(args.iter().map(|arg| format!("'{arg}'")));
    let mut command = Command::new("script");
    command.args(["-qec", &words.join(" "), "/dev/null"]).stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").envs(environment.iter().copied());
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

const NO_SCRIPT: &str = "`script` is not installed, which makes a terminal; on Debian it is in the package bsdutils";

#[test]
fn colours_are_for_terminals_that_want_them() {
    let workspace = Workspace::new();
    let path = workspace.path();
    let path = path.to_str().unwrap();
    let Some(coloured) = on_a_terminal(&["check", path], &[]) else {
        return skipped("process::terminal, colours", NO_SCRIPT);
    };
    assert!(coloured.contains("\u{1b}[32mok\u{1b}[0m"), "{coloured:?}");
    for wish in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR", "0")] {
        for args in
            [&["check", path][..], &["check", "/nowhere"], &["--help"], &["serve", path, "--listen", "1.1.1.1:1"]]
        {
            let said = on_a_terminal(args, &[wish, ("CI", "true")]).unwrap();
            assert!(!said.contains('\u{1b}'), "{wish:?} {args:?}: {said:?}");
        }
    }
}

#[test]
fn a_terminal_without_a_width_gets_lines_that_can_be_read() {
    let workspace = Workspace::new();
    let server = Running::start(&workspace, &[]);
    drop(server);
    let path = workspace.path();
    let path = path.to_str().unwrap();
    for environment in [&[][..], &[("COLUMNS", "0")]] {
        let Some(said) = on_a_terminal(&["status", path], environment) else {
            return skipped("process::terminal, width", NO_SCRIPT);
        };
        let is_wide = said.lines().any(|line| line.chars().count() > 60);
        assert!(said.contains("records in the log") && is_wide, "{said}");
        let said = on_a_terminal(&["--help"], environment).unwrap();
        assert!(said.contains("Collect events from the SDKs you run"), "{said}");
    }
    let mut plain = tidegate();
    let output = plain.args(["status", path]).env("COLUMNS", "0").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("last delivery"));
}
