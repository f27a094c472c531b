//! The command line: what it prints, what it refuses, how it exits.

use std::process::{Output, Stdio};

use serde_json::json;

use crate::support::waiting::until;
use crate::support::{Workspace, run, tidegate};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What `check` notes of a workspace that it finds right: end of the file's name, line, words of the message and of the fix.
fn notes_are(workspace: &Workspace, wanted: &[(&str, u64, &str, &str)]) {
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = answer["notes"].as_array().unwrap();
    for (file, line, words, fix) in wanted {
        let fits = |note: &&serde_json::Value| {
            note["file"].as_str().unwrap().ends_with(file)
                && note["line"] == *line
                && note["message"].as_str().unwrap().contains(words)
                && note["fix"].as_str().unwrap().contains(fix)
        };
        assert!(notes.iter().any(|note| fits(&note)), "{file}:{line} {words} in {answer:#}");
    }
    assert_eq!(notes.len(), wanted.len(), "{answer:#}");
}

#[test]
fn init_writes_a_workspace_that_checks_and_never_writes_over_one() {
    let workspace = Workspace::new();
    let path = workspace.path();
    for name in ["tidegate.yaml", "sources/web.yaml", "destinations/warehouse.yaml", "syncs/web-to-warehouse.yaml"] {
        assert!(path.join(name).is_file(), "{name}");
    }
    assert_eq!(workspace.write_key.len(), 32);
    let check = run(&["check", path.to_str().unwrap()]);
    assert_eq!((check.status.code(), text(&check).contains("1 sources")), (Some(0), true), "{}", text(&check));
    let again = run(&["init", path.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("tidegate.yaml"), "{}", text(&again));
}

#[test]
fn every_option_in_the_commented_files_is_known() {
    let workspace = Workspace::new();
    for name in ["tidegate.yaml", "sources/web.yaml", "destinations/warehouse.yaml", "syncs/web-to-warehouse.yaml"] {
        let path = workspace.path().join(name);
        let uncommented: String = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| {
                let option = line.strip_prefix("# ").filter(|rest| {
                    let word = rest.trim_start().split(':').next().unwrap_or_default();
                    rest.contains(':')
                        && !word.is_empty()
                        && (word.chars().all(|c| c.is_ascii_lowercase() || c == '_') || word.starts_with('/'))
                });
                format!("{}\n", option.unwrap_or(line))
            })
            .collect();
        assert_ne!(uncommented, std::fs::read_to_string(&path).unwrap(), "{name} shows no option");
        std::fs::write(path, uncommented).unwrap();
    }
    let check = run(&["check", workspace.path().to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
}

#[test]
fn the_example_of_a_kafka_source_is_taken_as_it_is() {
    let workspace = Workspace::new();
    let sources = workspace.path().join("sources");
    std::fs::rename(sources.join("kafka.yaml.example"), sources.join("kafka.yaml")).unwrap();
    workspace.write("syncs/kafka.yaml", "source: kafka\ndestination: warehouse\nschema: orders\n");
    let check = run(&["check", workspace.path().to_str().unwrap()]);
    assert_eq!((check.status.code(), text(&check).contains("2 sources")), (Some(0), true), "{}", text(&check));
}

#[test]
fn check_reports_every_problem_at_once_with_file_line_and_fix() {
    let workspace = Workspace::new();
    workspace
        .write("tidegate.yaml", "listen: nowhere\nlimtis: {}\nlimits:\n  event_bytes_max: -1\n  body_timeout: soon\nslots:\n  pagemap_scan: perhaps\n");
    workspace.write("sources/web.yaml", "kind: htpp\nwrite_key: short\nfunctions: [missing]\n");
    workspace.write("sources/bad name.yaml", "kind: http\n");
    workspace.write("destinations/warehouse.yaml", "kind: sqlite\ncolumns_max: 5000\n");
    workspace.write("syncs/a.yaml", "source: wbe\ndestination: warehouse\nfilter: {types: [purchase]}\n");
    workspace.write("syncs/b.yaml", "source: [1, 2\n");
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: MAYBE\n");
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = answer["problems"].as_array().unwrap();
    for (file, line, words) in [
        ("tidegate.yaml", 1, "`listen` is \"nowhere\""),
        ("tidegate.yaml", 2, "`limtis` is not known"),
        ("tidegate.yaml", 4, "`limits.event_bytes_max` is"),
        ("tidegate.yaml", 5, "`limits.body_timeout` is"),
        ("tidegate.yaml", 7, "`slots.pagemap_scan` is"),
        ("sources/web.yaml", 1, "htpp"),
        ("sources/web.yaml", 2, "shorter than 16"),
        ("sources/web.yaml", 3, "no function \"missing\""),
        ("sources/bad name.yaml", 0, "the object's name"),
        ("destinations/warehouse.yaml", 2, "`columns_max` is above 1900"),
        ("syncs/a.yaml", 1, "no source \"wbe\""),
        ("syncs/a.yaml", 3, "no event type"),
        ("events/domains/shop/domain.yaml", 2, "onUndeclaredSchema"),
    ] {
        let found = problems.iter().any(|problem| {
            problem["file"].as_str().unwrap().ends_with(file)
                && problem["line"] == line
                && problem["message"].as_str().unwrap().contains(words)
                && !problem["fix"].as_str().unwrap().is_empty()
        });
        assert!(found, "{file}:{line}: {words}\n{answer:#}");
    }
    assert!(problems.iter().any(|problem| problem["file"].as_str().unwrap().ends_with("syncs/b.yaml")));
    assert!(text(&output).contains("did you mean `limits`?"));
    // No other command starts on it either, and each says the same.
    assert_eq!(run(&["serve", workspace.path().to_str().unwrap()]).status.code(), Some(3));
}

#[test]
fn a_kind_with_a_typo_is_one_problem_with_the_right_word() {
    let workspace = Workspace::new();
    workspace.write("destinations/warehouse.yaml", "kind: postgress\nurl: postgres://a@b/c\npool: 7\n");
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("did you mean `kind: postgres`?"), "{}", text(&output));
    assert!(text(&output).contains("1 problem;"), "{}", text(&output));
}

#[test]
fn one_mistake_is_one_problem() {
    let sync = "source: web\ndestination: warehouse\n";
    for (file, written, problem, fix) in [
        (
            "destinations/warehouse.yaml",
            "url: postgres://a@b/c\nschema: x\n".to_owned(),
            "`kind` is missing",
            "`kind: ",
        ),
        ("destinations/warehouse.yaml", "kind: [sqlite]\npool: 7\n".to_owned(), "`kind` is a list", "`kind: "),
        (
            "destinations/warehouse.yaml",
            "kind: SQLite\npool: 7\n".to_owned(),
            "\"SQLite\" is not known",
            "`kind: sqlite`",
        ),
        (
            "destinations/warehouse.yaml",
            "kind: webhook\nurl: x\n".to_owned(),
            "is not known",
            "destination add webhook",
        ),
        ("destinations/warehouse.yaml", "kind: postgres\n".to_owned(), "no user is named", "postgres://<user>"),
        (
            "destinations/warehouse.yaml",
            "kind: postgres\nurl: ${NOBODY_SETS_THIS}\n".to_owned(),
            "NOBODY_SETS_THIS, which is not set",
            "set NOBODY_SETS_THIS",
        ),
        ("lookups/geo.yaml", "kind: mmbd\npath: x\n".to_owned(), "\"mmbd\" is not known", "`kind: mmdb`"),
        ("lookups/geo.yaml", "path: x\n".to_owned(), "`kind` is missing", "`kind: "),
        ("syncs/web-to-warehouse.yaml", "- source: web\n".to_owned(), "holds a list", "name: value"),
        (
            "syncs/web-to-warehouse.yaml",
            format!("{sync}consent:\n  category: [A]\n"),
            "consent.category",
            "`categories`",
        ),
        (
            "syncs/web-to-warehouse.yaml",
            "soruce: web\ndestination: warehouse\n".to_owned(),
            "`soruce` is not known",
            "`source`",
        ),
        (
            "sources/web.yml",
            "kind: http\nwrite_key: another-key-0123456789\n".to_owned(),
            "web.yaml too",
            "one of the two",
        ),
    ] {
        let workspace = Workspace::new();
        workspace.write(file, &written);
        let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
        assert_eq!(output.status.code(), Some(3), "{written}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = answer["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{written} {answer:#}");
        let said = |field: &str| problems[0][field].as_str().unwrap();
        assert!(said("message").contains(problem) && said("fix").contains(fix), "{written} {answer:#}");
    }
}

#[test]
fn what_looks_like_an_object_and_is_not_read_is_noted() {
    let workspace = Workspace::new();
    let key = "kind: http\nwrite_key: another-key-0123456789\n";
    for file in [
        "sources/eu/web.yaml",
        "sources/ios.YAML",
        "sources/app.yaml.txt",
        "contracts/sold.yaml",
        "domains/shop/domain.yaml",
    ] {
        workspace.write(file, key);
    }
    workspace.write("syncs/second.json", "{}");
    workspace.write("lookups/names.json", "{}");
    workspace.write("functions/mine/plugin.yaml", "name: mine\n");
    workspace.write("mine/plugin.yaml", "name: mine\n");
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = answer["notes"].as_array().unwrap();
    let wanted = [
        ("sources/eu", "sources/<name>.yaml"),
        ("sources/ios.YAML", "sources/<name>.yaml"),
        ("sources/app.yaml.txt", "sources/<name>.yaml"),
        ("syncs/second.json", "syncs/<name>.yaml"),
        ("w/contracts", "events/contracts"),
        ("w/domains", "events/domains"),
    ];
    for (file, fix) in wanted {
        let fits = |note: &&serde_json::Value| {
            note["file"].as_str().unwrap().ends_with(file) && note["fix"].as_str().unwrap().contains(fix)
        };
        assert!(notes.iter().any(|note| fits(&note)), "{file} in {answer:#}");
    }
    assert_eq!(notes.len(), wanted.len(), "{answer:#}");
}

#[test]
fn a_note_on_a_contract_names_its_line_also_where_a_name_stands_twice() {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nsources:\n  - wbe\n  - web\n");
    workspace.write(
        "events/domains/shop/components/money.yaml",
        "name: Money\nschema:\n  required: [amuont]\n  properties:\n    amount: {type: number, fromat: x}\n",
    );
    let sold = r"type: track
name: Sold
schema:
  properties:
    contxt: {}
    userid: {}
    properties:
      properties:
        at: {format: date-time}
        on: {format: datetime}
        to: {required: [street], properties: {street: {}}}
        of: {required: [stret], properties: {street: {}}}
";
    workspace.write("events/domains/shop/sold.yaml", sold);
    workspace.append("syncs/web-to-warehouse.yaml", "mapping:\n  rename: {/properties/a: /contxt/a}\n");
    let wanted = [
        ("shop/domain.yaml", 3, "\"wbe\"", "`web`"),
        ("components/money.yaml", 3, "\"amuont\"", "`amount`"),
        ("components/money.yaml", 5, "`fromat`", "`format`"),
        ("shop/sold.yaml", 5, "`contxt`", "`context`"),
        ("shop/sold.yaml", 6, "`userid`", "`userId`"),
        ("shop/sold.yaml", 10, "\"datetime\"", "`date-time`"),
        ("shop/sold.yaml", 12, "\"stret\"", "`street`"),
        ("web-to-warehouse.yaml", 43, "no field \"contxt\"", "/context"),
    ];
    notes_are(&workspace, &wanted);
}

#[test]
fn a_problem_of_a_contract_names_the_line_that_it_is_about_and_no_other() {
    let key = "a".repeat(500);
    let unknown = format!("type: track\nname: Sold\n{key}:\n  schema: 1\nschema: {{}}\n");
    let misplaced = "type: track\nname: Sold\nonUndeclaredFields:\n  name: 1\nschema: {}\n";
    let quoting = "type: track\nname: Sold\nschema: {$schema: \"`name`\"}\n";
    for (sold, line, words) in
        [(&*unknown, 3, "is unknown here"), (misplaced, 3, "is no policy"), (quoting, 0, "not draft-7")]
    {
        let workspace = Workspace::new();
        workspace.write("events/domains/shop/domain.yaml", "name: Shop\n");
        workspace.write("events/domains/shop/sold.yaml", sold);
        let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = answer["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{answer:#}");
        assert!(problems[0]["message"].as_str().unwrap().contains(words), "{answer:#}");
        assert_eq!(problems[0]["line"], line, "{answer:#}");
    }
}

#[test]
fn what_is_hardly_meant_is_noted_and_stops_nothing() {
    let workspace = Workspace::new();
    std::fs::remove_file(workspace.path().join("syncs/web-to-warehouse.yaml")).unwrap();
    std::fs::create_dir(workspace.path().join("transforms")).unwrap();
    workspace.write("transforms/a.yaml", "x: 1\n");
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = answer["notes"].as_array().unwrap();
    for (file, words) in [
        ("transforms", "nothing of it is read"),
        ("sources/web.yaml", "goes nowhere"),
        ("destinations/warehouse.yaml", "no sync writes to this destination"),
    ] {
        let fits = |note: &&serde_json::Value| note["file"].as_str().unwrap().ends_with(file);
        let note = notes.iter().find(fits).unwrap_or_else(|| panic!("{file} in {answer:#}"));
        assert!(note["message"].as_str().unwrap().contains(words) && note["fix"] != "", "{note}");
    }
    assert_eq!(notes.len(), 3, "{answer:#}");
    let shown = run(&["check", workspace.path().to_str().unwrap()]);
    assert!(text(&shown).contains("note: ") && text(&shown).contains("goes nowhere"), "{}", text(&shown));
    let whole = Workspace::new();
    let clean: serde_json::Value =
        serde_json::from_slice(&run(&["check", whole.path().to_str().unwrap(), "--json"]).stdout).unwrap();
    assert_eq!(clean["notes"], json!([]));
}

#[test]
fn a_destination_that_is_wrong_is_one_problem_and_not_missing_as_well() {
    let workspace = Workspace::new();
    workspace.write("destinations/acme.yaml", "kind: nothing-known\n");
    workspace.write("syncs/acme.yaml", "source: web\ndestination: acme\n");
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    let said = text(&output);
    assert!(output.status.code() == Some(3) && said.contains("1 problem;"), "{said}");
    assert!(said.contains("nothing-known") && !said.contains("there is no destination"), "{said}");
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    let workspace = Workspace::new();
    let path = workspace.path();
    let path = path.to_str().unwrap();
    for arguments in [&["check", path][..], &["completions", "bash"], &["status", path, "--json"]] {
        let mut command = tidegate();
        // Whoever reads is gone before anything is printed.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(141), ""), "{arguments:?}");
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let output = run(&["init", "/proc/nowhere"]);
    assert!(output.status.code() == Some(1) && text(&output).contains("/proc/nowhere"), "{}", text(&output));
}

#[test]
fn quarantine_counts_what_was_asked_for() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let nameless = |id: &str| json!({"type": "track", "messageId": id});
    assert_eq!(server.batch(&[nameless("a"), nameless("b"), json!({"type": "odd", "messageId": "c"})]).status, 200);
    server.stop();
    let said = |more: &[&str]| {
        let path = workspace.path();
        text(&run(&[&["quarantine", path.to_str().unwrap()], more].concat()))
    };
    let named = said(&["--code", "missing-event-name", "--most", "1"]);
    assert!(named.contains("1 of 2;") && !named.contains("unknown-type"), "{named}");
    assert!(said(&["--most", "1"]).contains("1 of 3;"));
    assert!(said(&["--code", "nothing"]).contains("Nothing of that is in quarantine."));
}

#[test]
fn two_sources_may_not_write_into_the_same_tables() {
    let workspace = Workspace::new();
    workspace.write("sources/app.yaml", "kind: http\nwrite_key: 0123456789abcdef0123\n");
    workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\n");
    let output = run(&["check", workspace.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("add `schema:"), "{}", text(&output));
}

#[test]
fn a_folder_without_a_workspace_and_a_value_from_nowhere_are_explained() {
    let empty = tempfile::tempdir().unwrap();
    let output = run(&["serve", empty.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("tidegate init"), "{}", text(&output));
    let workspace = Workspace::new();
    workspace.write("sources/web.yaml", "kind: http\nwrite_key: ${A_KEY_THAT_IS_NOT_SET}\n");
    let check = || {
        tidegate()
            .args(["check", workspace.path().to_str().unwrap()])
            .env("A_KEY_THAT_IS_SET", "0123456789abcdef")
            .output()
            .unwrap()
    };
    assert!(text(&check()).contains("A_KEY_THAT_IS_NOT_SET"));
    workspace.write("sources/web.yaml", "kind: http\nwrite_key: ${A_KEY_THAT_IS_SET}\n");
    assert_eq!(check().status.code(), Some(0));
    let serve = run(&["serve", workspace.path().to_str().unwrap()]);
    assert_eq!(serve.status.code(), Some(3));
}

#[test]
fn a_second_server_on_the_same_data_is_refused_with_the_reason() {
    let workspace = Workspace::new();
    let _server = workspace.serve();
    let second = run(&["serve", workspace.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second).contains("another tidegate process"), "{}", text(&second));
}

#[test]
fn a_taken_address_is_named() {
    let workspace = Workspace::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", workspace.path().to_str().unwrap(), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(&address), "{}", text(&output));
}

#[test]
fn send_posts_files_and_made_up_events_and_status_counts_them() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let send = |args: &[&str]| {
        let output = tidegate()
            .args(["send", "--to", &server.url(), "--write-key", &server.key, "--json"])
            .args(args)
            .output()
            .unwrap();
        let answer: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        (output.status.code(), answer)
    };
    let (code, answer) = send(&["--generate", "250", "--batch", "40", "--run", "a"]);
    assert_eq!((code, &answer["accepted"]), (Some(0), &json!(250)));
    // The same run again is recognised.
    assert_eq!(send(&["--generate", "250", "--run", "a"]).1["accepted"], 250);
    let lines = workspace.dir.path().join("e.ndjson");
    std::fs::write(&lines, "{\"type\":\"track\",\"event\":\"Filed\"}\n\n{\"type\":\"track\",\"event\":\"Filed\"}\n")
        .unwrap();
    assert_eq!(send(&[lines.to_str().unwrap()]).1["accepted"], 2);
    let array = workspace.dir.path().join("e.json");
    for before in ["", "\n\n", "\u{feff}", "\u{feff}\n"] {
        std::fs::write(&array, format!("{before}[{{\"type\":\"track\",\n\"event\":\"Filed\"}}]")).unwrap();
        assert_eq!(send(&[array.to_str().unwrap()]).1["accepted"], 1, "{before:?}");
    }
    std::fs::write(&lines, "{\"type\":\n").unwrap();
    let bad = run(&["send", lines.to_str().unwrap(), "--to", &server.url(), "--write-key", &server.key]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("e.ndjson:1"), "{}", text(&bad));
    let refused = run(&["send", "--generate", "1", "--to", &server.url(), "--write-key", "wrong", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("unknown-write-key"));
    let folder = workspace.path();
    let of_source = |source: &str| {
        let of_folder = ["--workspace", folder.to_str().unwrap(), "--to", &server.url(), "--json"];
        tidegate().args(["send", "--generate", "1", "--run", "s", "--source", source]).args(of_folder).output().unwrap()
    };
    for duplicates in [0, 1] {
        let output = of_source("web");
        assert_eq!(output.status.code(), Some(0));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["duplicates"], duplicates, "{answer}");
    }
    let nobody = of_source("wbe");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody).contains("there is no source \"wbe\"; the workspace has web"), "{}", text(&nobody));
    // Ctrl-C in the middle: what was accepted so far is said.
    let mut slow = tidegate()
        .args(["send", "--to", &server.url(), "--write-key", &server.key, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = slow.stdin.take().unwrap();
    let line = "{\"type\":\"track\",\"event\":\"Piped\"}\n";
    std::io::Write::write_all(&mut input, line.repeat(100).as_bytes()).unwrap();
    until("the piped events arrive", || workspace.status()["sources"]["web"]["accepted"] == 608);
    assert!(std::process::Command::new("kill").args(["-INT", &slow.id().to_string()]).status().unwrap().success());
    let output = slow.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(130));
    assert!(
        text(&output).contains("100 events accepted") && text(&output).contains("interrupted"),
        "{}",
        text(&output)
    );
    server.stop();
    let status = workspace.status();
    assert_eq!(status["sources"]["web"]["accepted"], 608);
    assert_eq!(status["sources"]["web"]["duplicates"], 251);
    assert_eq!(status["syncs"]["web-to-warehouse"]["delivered"], 357);
    let table = run(&["status", workspace.path().to_str().unwrap()]);
    assert!(text(&table).contains("web-to-warehouse"));
    assert_eq!(workspace.warehouse().count("filed"), 6);
}

#[test]
fn nothing_from_an_event_reaches_the_terminal_raw() {
    let workspace = Workspace::new();
    let server = workspace.serve();
    let event = json!({"type": "\u{1b}[31mred\u{202e}", "event": "x"});
    assert_eq!(server.batch(&[event]).status, 200);
    server.stop();
    let output = run(&["quarantine", workspace.path().to_str().unwrap(), "--events"]);
    assert!(text(&output).contains("unknown-type"));
    assert!(!text(&output).contains('\u{1b}') && !text(&output).contains('\u{202e}'));
}

#[test]
fn wrong_usage_exits_with_2_and_help_teaches() {
    assert_eq!(run(&["serve", "--nope"]).status.code(), Some(2));
    assert_eq!(run(&["send"]).status.code(), Some(2));
    let help = text(&run(&["--help"]));
    for word in
        ["init", "serve", "demo", "check", "send", "status", "quarantine", "function", "completions", "First steps"]
    {
        assert!(help.contains(word), "{word}");
    }
    assert!(text(&run(&["--version"])).starts_with("tidegate 0."));
    assert!(text(&run(&["completions", "bash"])).contains("_tidegate"));
}

#[test]
fn no_server_to_send_to_is_explained() {
    let output = run(&["send", "--generate", "1", "--to", "http://127.0.0.1:1", "--write-key", "k"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("tidegate serve"), "{}", text(&output));
    let output = run(&["send", "--generate", "1", "--to", "ftp://x", "--write-key", "k"]);
    assert!(text(&output).contains("http://127.0.0.1:8080"), "{}", text(&output));
}

#[test]
fn the_demo_ends_with_tables_with_and_without_functions() {
    for guest in ["transform/redact-pii", "transform/utm-referrer"] {
        crate::support::guests::component(guest);
    }
    let components = crate::support::guests::guests_target_dir().join("components");
    let demo = |more: &[&str]| {
        let output = tidegate().args(["demo", "--once", "--log", "error"]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let bare = demo(&[]);
    let whole = demo(&["--components", components.to_str().unwrap()]);
    for shown in [&bare, &whole] {
        for word in [
            "order_completed",
            "event_violations",
            "schema-violation",
            "malformed-json",
            "100 duplicates recognised",
            "4 quarantined",
        ] {
            assert!(shown.contains(word), "{word}\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'), "colour in a pipe");
    }
    assert!(bare.contains("@example.org") && !whole.contains("@example.org"), "addresses are hashed by the function");
    assert!(whole.contains("newsletter") && whole.contains("context_campaign_source"));
}

#[test]
fn a_contract_that_no_event_can_meet_is_noted() {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: BLOCK_EVENT\n");
    let event = |name: &str, schema: &str| {
        let text = format!("type: track\nname: {name}\nschema:\n{schema}");
        workspace.write(&format!("events/domains/shop/{name}.yaml"), &text);
    };
    // Over `properties` instead of the event.
    event("a", "  type: object\n  properties:\n    order_id: {type: string}\n");
    event(
        "b",
        "  properties:\n    properties:\n      required: [order_id, revenu]\n      properties:\n        order_id: {type: string}\n        revenue: {type: number}\n",
    );
    event(
        "c",
        "  properties:\n    properties:\n      properties:\n        at: {fromat: date-time}\n        on: {format: datetime}\n        of: {type: string, nullable: true}\n        x: {x-team: shop}\n",
    );
    event(
        "good",
        "  type: object\n  required: [properties, userId]\n  properties:\n    properties:\n      required: [a]\n      properties: {a: {type: string, format: date-time}}\n",
    );
    workspace.write(
        "syncs/web-to-warehouse.yaml",
        "source: web\ndestination: warehouse\nfilter:\n  events: [goood]\nmapping:\n  remove: [/contxt/ip, /properties/a]\n",
    );
    workspace.write("lookups/names.yaml", "kind: table\nentries: {a: b}\ngrant_to: [nobody]\n");
    // The contract is that of two sources, and each note on it is said once.
    workspace.write("sources/app.yaml", "kind: http\nwrite_key: app-key-0123456789\n");
    workspace.write("syncs/app.yaml", "source: app\ndestination: warehouse\nschema: app\n");
    let wanted = [
        ("shop/a.yaml", 6, "`order_id` is declared as a field of the event itself", "properties: {properties:"),
        ("shop/b.yaml", 6, "names \"revenu\"", "`revenue`"),
        ("shop/c.yaml", 7, "`fromat` is no keyword", "`format`"),
        ("shop/c.yaml", 8, "\"datetime\"", "`date-time`"),
        ("shop/c.yaml", 9, "`nullable` is no keyword", "null"),
        ("syncs/web-to-warehouse.yaml", 4, "no contract of source web declares a track called \"goood\"", "\"good\""),
        ("syncs/web-to-warehouse.yaml", 6, "no field \"contxt\"", "/context"),
        ("lookups/names.yaml", 3, "\"nobody\"", "push it"),
    ];
    notes_are(&workspace, &wanted);
}

#[test]
fn check_asks_each_destination_whether_it_is_there() {
    let workspace = Workspace::new();
    let path = workspace.path();
    let connect = || {
        let output = run(&["check", path.to_str().unwrap(), "--connect", "--json"]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };
    let (code, answer) = connect();
    assert_eq!((code, &answer["ok"]), (Some(0), &json!(true)), "{answer}");
    assert!(!workspace.data().join("warehouse.db").exists(), "asking makes nothing");
    let server = workspace.serve();
    assert_eq!(server.batch(&[json!({"type": "track", "event": "E"})]).status, 200);
    server.stop();
    let (_, answer) = connect();
    assert!(answer["destinations"][0]["says"].as_str().unwrap().contains("below offset 1"), "{answer}");
    workspace.write("destinations/away.yaml", "kind: postgres\nurl: postgres://me:hush@127.0.0.1:1/db\n");
    workspace.write("destinations/spare.yaml", "kind: sqlite\npath: data/spare.db\n");
    let answer_of = |answer: &serde_json::Value, name: &str| {
        let mut all = answer["destinations"].as_array().unwrap().iter();
        all.find(|tried| tried["destination"] == name).unwrap_or_else(|| panic!("{name} in {answer}")).clone()
    };
    // No sync names the two yet.
    for sync in [json!(null), json!("web-to-away")] {
        let (code, answer) = connect();
        assert_eq!((code, &answer["ok"]), (Some(1), &json!(false)), "{answer}");
        let away = answer_of(&answer, "away");
        assert!(away["says"].as_str().unwrap().contains("refused") && away["sync"] == sync, "{answer}");
        let spare = answer_of(&answer, "spare");
        assert_eq!((&spare["ok"], &spare["sync"]), (&json!(true), &json!(null)), "{answer}");
        assert!(!answer.to_string().contains("hush"), "{answer}");
        workspace.write("syncs/web-to-away.yaml", "source: web\ndestination: away\n");
    }
}
