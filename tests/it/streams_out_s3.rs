//! Events that go out to files, read by DuckDB.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::conformance::lake::reader;
use crate::conformance::skipped;
use crate::streams_out::quarantines_what_has_no_place;
use crate::support::http::{basic, try_request};
use crate::support::{Workspace, run};

const SYNC: &str = "source: web\ndestination: raw\nbatch: {events_max: 20, age_max: 5 ms}\n";

/// A workspace with a sync to a folder of files; the destination says this as well.
fn workspace(more: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("destinations/raw.yaml", &format!("kind: s3\npath: data/raw\n{more}"));
    workspace.write("syncs/web-raw.yaml", SYNC);
    workspace
}

/// The lines that DuckDB finds below the folder: the JSON as it stands there, and what it is told of the file.
fn lines(workspace: &Workspace, files: &str) -> Vec<Value> {
    let files = workspace.data().join("raw").join(files);
    let answer = reader::ask(&json!({ "do": "lines", "files": files.to_str().unwrap() }));
    answer["lines"].as_array().unwrap().clone()
}

fn event(line: &Value) -> Value {
    serde_json::from_str(line["json"].as_str().unwrap()).unwrap()
}

#[test]
fn events_lie_in_the_hour_that_took_them_with_every_digit() {
    if let Err(lack) = reader::ready() {
        return skipped("streams_out_s3", &lack);
    }
    let workspace = workspace("");
    let server = workspace.serve();
    let body = r#"{"batch":[{"type":"track","event":"Paid","messageId":"m","userId":"u","properties":{"total":19.90,"id":9007199254740993}}]}"#;
    assert_eq!(server.post("/v1/batch", body).status, 200);
    server.stop();
    let found = lines(&workspace, "events/web/*/*/*.jsonl.gz");
    let [line] = &found[..] else { panic!("{found:?}") };
    let text = line["json"].as_str().unwrap();
    assert!(text.contains(r#""total":19.90"#) && text.contains(r#""id":9007199254740993"#), "{text}");
    let received = event(line)["receivedAt"].as_str().unwrap().to_owned();
    assert_eq!((line["dt"].as_str(), line["hour"].as_str()), (received.get(..10), received.get(11..13)));
}

/// The server dies at the fail point, and the next one goes on.
fn died_at(failpoint: &str) {
    if let Err(lack) = reader::ready() {
        return skipped(failpoint, &lack);
    }
    let workspace = workspace("compression: zstd\npath_template: \"{source}/{properties.shop}\"\n");
    let mut server = workspace.serve_with(&[failpoint]);
    let track = |n: u64| {
        let shop = format!("s{}", n % 3);
        json!({"type": "track", "event": "Order", "messageId": format!("m{n}"), "userId": "u", "properties": {"n": n, "shop": shop}})
    };
    let body = json!({ "batch": (0..200).map(track).collect::<Vec<_>>() }).to_string();
    // It may be gone before it answers; what it delivers is in the log by then.
    let _ =
        try_request(&server.address, "POST", "/v1/batch", &[("authorization", &basic(&server.key))], body.as_bytes());
    assert!(!server.wait().success(), "it reaches the fail point");
    workspace.serve().stop();
    let found = lines(&workspace, "**/*.jsonl.zst");
    let ids: BTreeSet<String> =
        found.iter().map(|line| event(line)["messageId"].as_str().unwrap().to_owned()).collect();
    assert_eq!((found.len(), ids.len()), (200, 200), "each event is in one file");
    for shop in ["s0", "s1", "s2"] {
        let of_shop = lines(&workspace, &format!("web/{shop}/*.jsonl.zst"));
        let numbers: Vec<u64> = of_shop.iter().map(|line| event(line)["properties"]["n"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{shop}: {numbers:?}");
    }
}

#[test]
fn killed_when_some_files_of_a_batch_are_written_each_event_is_in_one_file() {
    died_at("stream_after_file=1*off->return");
}

#[test]
fn killed_when_the_files_are_written_and_the_ledger_is_not_each_event_is_in_one_file() {
    died_at("stream_before_commit=return");
}

#[test]
fn killed_when_the_ledger_has_moved_each_event_is_in_one_file() {
    died_at("stream_after_commit=return");
}

#[test]
fn an_event_whose_folder_would_lie_elsewhere_is_quarantined_and_its_neighbours_arrive() {
    let workspace = workspace("compression: none\npath_template: \"raw/{properties.place}\"\n");
    quarantines_what_has_no_place(&workspace, ("shop", "../../../elsewhere"));
    let folder = workspace.data().join("raw/raw/shop");
    let text: String =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains(r#""messageId":"a""#) && text.contains(r#""messageId":"d""#), "{text}");
}

#[test]
fn what_contracts_find_lies_below_violations_where_that_is_asked_for() {
    let workspace = workspace("compression: none\nviolations: true\n");
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\n");
    let rule = "type: track\nname: Order\nonSchemaViolation: ALLOW_EVENT\nonUndeclaredFields: ALLOW_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        n: { type: integer }\n";
    workspace.write("events/domains/shop/order.yaml", rule);
    let server = workspace.serve();
    let wrong =
        json!({"type": "track", "event": "Order", "messageId": "w", "userId": "u", "properties": {"n": "none"}});
    assert_eq!(server.batch(&[wrong]).status, 200);
    server.stop();
    let files = std::fs::read_dir(workspace.data().join("raw/violations")).unwrap();
    let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let found: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((&found["id"], &found["source"]), (&json!("w"), &json!("web")));
}

#[test]
fn a_check_says_what_is_wrong_with_the_file_and_whether_the_place_is_there() {
    let workspace = workspace("");
    let path = workspace.path();
    let check = |more: &[&str]| {
        let output = run(&[&["check", path.to_str().unwrap(), "--json"], more].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), answer)
    };
    let (code, answer) = check(&["--connect"]);
    assert_eq!(code, Some(0), "{answer:#}");
    assert!(answer.to_string().contains("the folder is made when the first file is written"), "{answer:#}");
    let wrong =
        "kind: s3\nbucket: my/bucket\npath_template: \"/{source}\"\ncompression: zip\nviolations: 3\ntopic: events\n";
    workspace.write("destinations/raw.yaml", wrong);
    workspace.write("destinations/folder.yaml", "kind: s3\npath: data/files\nregion: eu-west-1\nbucket: b\n");
    let (code, answer) = check(&[]);
    assert_eq!(code, Some(3), "{answer:#}");
    let problems = answer["problems"].as_array().unwrap();
    for (line, words) in [
        (2, "has a slash"),
        (3, "without a name"),
        (4, "compression"),
        (5, "violations"),
        (6, "topic"),
        (3, "`region` says nothing to files in"),
        (4, "`bucket` says nothing"),
    ] {
        let fits = |problem: &&Value| problem["line"] == line && problem["message"].as_str().unwrap().contains(words);
        assert!(problems.iter().any(|problem| fits(&problem)), "{line}: {words}: {answer:#}");
    }
}
