//! Segments of the log are kept in an archive before the log gives them up, and are read there again.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_warehouse_suite::cache;

use crate::conformance::skipped;
use crate::reliability::{SYNC, drained, wait};
use crate::support::admin::Admin;
use crate::support::http::try_request;
use crate::support::kafka::stream_folder;
use crate::support::lines::LineProgram;
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Server, Workspace, run};

const LOG: &str = "segment_bytes: 1 MiB, retention_bytes: 1 MiB, retention_age: 1 s";
/// Events that make several segments, of which the log keeps one or two.
const EVENTS: usize = 300;
/// Stands in everything of one person, and nowhere else.
const MARKER: &str = "marker-7c20d9";

/// A workspace whose log has an archive.
fn workspace(archive: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", &format!("\nlog: {{{LOG}, archive: {{{archive}}}}}\n"));
    workspace
}

/// The same workspace with another archive.
fn archive_at(workspace: &Workspace, before: &str, after: &str) {
    let path = workspace.path().join("tidegate.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(before), "{text}");
    std::fs::write(path, text.replace(before, after)).unwrap();
}

/// A server that trims its log all the time.
fn serve(workspace: &Workspace) -> Server {
    workspace.try_serve(&[], &["trim_in_haste=return"]).unwrap()
}

fn filler(n: usize) -> Value {
    let user = if n % 50 == 7 { MARKER.to_owned() } else { format!("u{n}") };
    json!({"type": "track", "event": "Filler", "messageId": format!("f{n}"), "userId": user,
        "properties": {"t": "x".repeat(20_000), "of": user}})
}

fn fill(server: &Server, numbers: std::ops::Range<usize>) {
    for n in numbers {
        assert_eq!(server.batch(&[filler(n)]).status, 200);
    }
}

/// Waits until all that is sealed is in the archive, and the log has given most of it up.
fn given_up(workspace: &Workspace) -> Value {
    drained(workspace);
    let status = wait(workspace, "the log is archived", |status| {
        let archive = &status["archive"];
        archive["waiting"] == 0 && archive["segments"].as_u64() >= Some(4)
    });
    within(PATIENCE, "the log gives segments up", || {
        let left = log_files(workspace);
        if left.len() <= 3 { Ok(()) } else { Err(format!("{left:?}")) }
    });
    status
}

/// Waits until copying to the archive fails, with these words in what is said of it.
#[track_caller]
fn fails(workspace: &Workspace, words: &str) -> Value {
    let status = wait(workspace, "that is said", |status| status["archive"]["failure"].is_string());
    let failure = status["archive"]["failure"].as_str().unwrap();
    assert!(failure.contains(words), "{failure}");
    status
}

fn log_files(workspace: &Workspace) -> Vec<PathBuf> {
    files(&workspace.data().join("log"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect()
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Files below a folder in which the marker stands.
fn with_marker(folder: &Path) -> Vec<PathBuf> {
    let stands = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
    };
    files(folder).into_iter().filter(stands).collect()
}

/// Replays, to its end.
#[track_caller]
fn replayed(admin: &Admin, order: &Value) -> Value {
    let reply = admin.post("/api/v1/replays", order);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let path = format!("/api/v1/replays/{}", reply.json()["id"]);
    within(PATIENCE, "the replay ends", || {
        let replay = admin.get(&path);
        if replay["state"] == "done" { Ok(replay) } else { Err(replay.to_string()) }
    })
}

fn counts(replay: &Value, names: &[&str]) -> Vec<u64> {
    let counts = &replay["report"]["counts"];
    names.iter().map(|name| counts[*name].as_u64().unwrap_or_else(|| panic!("no {name} in {replay:#}"))).collect()
}

#[track_caller]
fn all_is_replayed(admin: &Admin) {
    let all = EVENTS as u64;
    for order in [
        json!({"sync": SYNC, "from": "beginning", "dry_run": true}),
        json!({"sync": SYNC, "from": "0", "dry_run": true}),
        json!({"sync": SYNC, "from": "2020-01-01T00:00:00Z", "dry_run": true}),
    ] {
        let dry = replayed(admin, &order);
        assert_eq!(counts(&dry, &["came", "had_before"]), [all, all], "{dry:#}");
        assert_eq!(dry["report"]["parts"][0]["missing"], 0, "{dry:#}");
    }
    for rules in ["then", "now"] {
        let replay = replayed(admin, &json!({"sync": SYNC, "from": "beginning", "rules": rules}));
        assert_eq!(counts(&replay, &["came", "delivered", "duplicates"]), [all; 3], "{replay:#}");
    }
}

#[test]
fn what_the_log_has_given_up_is_replayed_from_the_archive() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let server = serve(&workspace);
    let admin = Admin::new(&server, &token);
    fill(&server, 0..EVENTS);
    let status = given_up(&workspace);
    assert_eq!((&status["archive"]["failure"], &status["archive"]["lost"]), (&Value::Null, &json!(0)), "{status:#}");
    all_is_replayed(&admin);
    within(PATIENCE, "what was fetched is removed", || {
        let left = files(&workspace.data().join("log/fetched"));
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    // What is known of the archive is read from it once more.
    server.stop();
    std::fs::remove_file(workspace.data().join("archive.json")).unwrap();
    let server = serve(&workspace);
    all_is_replayed(&Admin::new(&server, &token));
    server.stop();
    workspace.conserves();
}

#[test]
fn an_archived_event_is_found_when_that_is_asked_for() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let server = serve(&workspace);
    let admin = Admin::new(&server, &token);
    fill(&server, 0..EVENTS);
    given_up(&workspace);
    let traced = |more: &str| admin.get(&format!("/api/v1/trace?message_id=f1{more}"));
    assert_eq!(traced("")["records"], json!([]));
    let found = traced("&archive=true");
    let record = &found["records"][0];
    assert_eq!((&record["message_id"], &record["syncs"][0]["fate"]), (&json!("f1"), &json!("delivered")), "{found:#}");
    assert_eq!(found["not_looked_at"], json!([]), "{found:#}");
    let wrong = admin.ask("GET", "/api/v1/trace?user=u1&archive=true", b"");
    assert_eq!((wrong.status, &wrong.json()["field"]), (400, &json!("archive")), "{}", wrong.text());
    server.stop();
}

/// The server dies at the fail point while it copies, and the next one goes on.
fn died_at(failpoint: &str) {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let kept = "retention_bytes: 1 MiB, retention_age: 1 s, archive: {directory: archive}";
    archive_at(&workspace, kept, "partitions: 1");
    let server = workspace.serve();
    fill(&server, 0..EVENTS);
    drained(&workspace);
    server.stop();
    archive_at(&workspace, "partitions: 1", kept);
    for _ in 0..2 {
        // It may be gone before it says that it is ready.
        if let Ok(mut server) = workspace.try_serve_with(&[failpoint]) {
            server.wait();
        }
    }
    let server = serve(&workspace);
    given_up(&workspace);
    all_is_replayed(&Admin::new(&server, &token));
    server.stop();
    let left: Vec<PathBuf> = files(&workspace.path().join("archive"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "unfinished"))
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn killed_when_a_segment_is_copied_and_has_no_record_it_is_copied_again() {
    died_at("archive_copied=return");
}

#[test]
fn killed_when_a_segment_has_its_record_it_goes_on_behind_it() {
    died_at("archive_recorded=return");
}

#[test]
fn while_the_archive_cannot_be_written_the_log_keeps_everything_and_goes_on() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    workspace.write("archive", "a file where a folder should be");
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    drained(&workspace);
    wait(&workspace, "that is said, and what waits", |status| {
        let archive = &status["archive"];
        archive["failure"].is_string() && archive["waiting"].as_u64() >= Some(4)
    });
    assert!(log_files(&workspace).len() >= 5, "nothing is trimmed");
    std::fs::remove_file(workspace.path().join("archive")).unwrap();
    let status = given_up(&workspace);
    assert_eq!(status["archive"]["lost"], 0, "{status:#}");
    all_is_replayed(&Admin::new(&server, &token));
    server.stop();
}

#[test]
fn what_the_cap_forces_out_before_it_is_archived_is_counted() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    workspace.write("archive", "a file where a folder should be");
    archive_at(&workspace, "retention_bytes: 1 MiB", "retention_bytes: 1 MiB, hard_cap_bytes: 3 MiB");
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    drained(&workspace);
    let status = wait(&workspace, "that is said", |status| status["archive"]["lost"].as_u64() > Some(0));
    std::fs::remove_file(workspace.path().join("archive")).unwrap();
    wait(&workspace, "the rest is archived", |status| status["archive"]["waiting"] == 0);
    let lost = workspace.status()["archive"]["lost"].as_u64().unwrap();
    let dry = replayed(&Admin::new(&server, &token), &json!({"sync": SYNC, "from": "0", "dry_run": true}));
    assert_eq!(counts(&dry, &["came"])[0] + lost, EVENTS as u64, "{status:#} {dry:#}");
    server.stop();
}

#[test]
fn a_replay_goes_on_behind_what_the_cap_forced_out() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    archive_at(&workspace, "retention_bytes: 1 MiB", "retention_bytes: 1 MiB, hard_cap_bytes: 3 MiB");
    let server = serve(&workspace);
    fill(&server, 0..100);
    drained(&workspace);
    let is_archived =
        |status: &Value| status["archive"]["waiting"] == 0 && status["archive"]["segments"].as_u64() >= Some(1);
    wait(&workspace, "what came first is archived", is_archived);
    let (archive, elsewhere) = (workspace.path().join("archive"), workspace.path().join("elsewhere"));
    std::fs::rename(&archive, &elsewhere).unwrap();
    fill(&server, 100..450);
    drained(&workspace);
    wait(&workspace, "something is forced out", |status| status["archive"]["lost"].as_u64() > Some(0));
    std::fs::rename(&elsewhere, &archive).unwrap();
    fill(&server, 450..600);
    drained(&workspace);
    // How much the cap forces out until then depends on how long it is away.
    let status = wait(&workspace, "what is left is archived", |status| {
        let archive = &status["archive"];
        archive["waiting"] == 0 && archive["failure"].is_null() && archive["segments"].as_u64() >= Some(2)
    });
    let lost = status["archive"]["lost"].as_u64().unwrap();
    let admin = Admin::new(&server, &token);
    for order in [
        json!({"sync": SYNC, "from": "0", "dry_run": true}),
        json!({"sync": SYNC, "from": "2020-01-01T00:00:00Z", "dry_run": true}),
        json!({"sync": SYNC, "from": "beginning"}),
    ] {
        let replay = replayed(&admin, &order);
        assert_eq!(counts(&replay, &["came"])[0] + lost, 600, "{replay:#}");
        assert_eq!(replay["report"]["parts"][0]["missing"], lost, "{replay:#}");
    }
    server.stop();
}

/// Forgets the marker, which is in segments of the archive; the server dies at the fail point meanwhile, if there is one.
fn forgotten(failpoint: Option<&str>) {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    given_up(&workspace);
    let archive = workspace.path().join("archive");
    assert!(with_marker(&archive).len() > 2, "it is in several segments");
    server.stop();
    let more: Vec<&str> = failpoint.into_iter().chain(["trim_in_haste=return"]).collect();
    let mut server = workspace.try_serve(&[], &more).unwrap();
    let order = json!({"subjects": [{"kind": "user", "value": MARKER}]});
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    // It may be gone before it answers; the job is in the state then.
    let _ = try_request(&server.admin, "POST", "/api/v1/privacy/forget", &headers, order.to_string().as_bytes());
    if failpoint.is_some() {
        server.wait();
        drop(server);
        server = serve(&workspace);
    }
    let admin = Admin::new(&server, &token);
    let job = within(PATIENCE, "the job ends", || {
        let job = admin.get("/api/v1/privacy/jobs/1");
        if job["state"] == "done" { Ok(job) } else { Err(job.to_string()) }
    });
    let places = job["report"]["places"].as_array().unwrap();
    let place = places.iter().find(|place| place["place"] == "archive of the log").unwrap();
    assert!(place["found"].as_u64() > Some(2) && place["found"] == place["removed"], "{job:#}");
    assert_eq!(with_marker(&archive), Vec::<PathBuf>::new());
    assert_eq!(with_marker(&workspace.data().join("log")), Vec::<PathBuf>::new());
    let verified = admin.post("/api/v1/privacy/verify", &order).json();
    assert!(!verified["found"].to_string().contains("partition-0"), "{verified:#}");
    // Everybody else is there as before.
    let replay = replayed(&admin, &json!({"sync": SYNC, "from": "beginning"}));
    let others = (0..EVENTS).filter(|n| n % 50 != 7).count() as u64;
    assert_eq!(counts(&replay, &["came", "delivered"]), [others; 2], "{replay:#}");
    server.stop();
}

#[test]
fn no_byte_of_somebody_who_is_forgotten_is_left_in_the_archive() {
    forgotten(None);
}

#[test]
fn killed_when_a_segment_is_put_back_the_job_goes_on_and_nothing_is_left() {
    forgotten(Some("forget_put_back=return"));
}

#[test]
fn killed_when_the_record_of_a_segment_is_new_what_it_was_before_is_deleted() {
    forgotten(Some("archive_recorded=return"));
}

#[test]
fn what_was_put_back_since_a_copy_of_the_data_directory_was_made_is_found_by_its_record() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    given_up(&workspace);
    server.stop();
    let older = std::fs::read(workspace.data().join("archive.json")).unwrap();
    let server = serve(&workspace);
    let admin = Admin::new(&server, &token);
    let order = json!({"subjects": [{"kind": "user", "value": MARKER}]});
    assert_eq!(admin.post("/api/v1/privacy/forget", &order).status, 200);
    until("the job ends", || admin.get("/api/v1/privacy/jobs/1")["state"] == "done");
    // Of what was sealed by the start the older copy knows nothing at all.
    until("the log keeps what it writes alone", || log_files(&workspace).len() == 1);
    server.stop();
    std::fs::write(workspace.data().join("archive.json"), older).unwrap();
    let server = serve(&workspace);
    let replay = replayed(&Admin::new(&server, &token), &json!({"sync": SYNC, "from": "beginning"}));
    let others = (0..EVENTS).filter(|n| n % 50 != 7).count() as u64;
    assert_eq!(counts(&replay, &["came", "delivered"]), [others; 2], "{replay:#}");
    server.stop();
}

/// A source keeps its events for a second from now on; the server dies at the fail point meanwhile, if there is one.
fn expired(failpoint: Option<&str>) {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    given_up(&workspace);
    server.stop();
    let archive = workspace.path().join("archive");
    assert!(with_marker(&archive).len() > 2, "it is in several segments");
    workspace.append("sources/web.yaml", "\nretention: 1 s\n");
    if let Some(failpoint) = failpoint {
        // It may be gone before it says that it is ready.
        if let Ok(mut server) = workspace.try_serve(&[], &["trim_in_haste=return", failpoint]) {
            server.wait();
        }
    }
    let server = serve(&workspace);
    let admin = Admin::new(&server, &token);
    until("nothing of them is left in the archive", || with_marker(&archive).is_empty());
    let order = json!({"sync": SYNC, "from": "beginning", "dry_run": true});
    until("nothing is left to be replayed", || counts(&replayed(&admin, &order), &["came"]) == [0_u64]);
    let found = admin.get("/api/v1/trace?message_id=f1&archive=true");
    assert_eq!(found["records"], json!([]), "{found:#}");
    server.stop();
    workspace.conserves();
}

#[test]
fn what_is_older_than_its_source_keeps_events_is_gone_from_the_archive_too() {
    expired(None);
}

#[test]
fn killed_when_old_events_are_erased_and_not_put_back_they_are_gone_all_the_same() {
    expired(Some("retention_erased=return"));
}

#[test]
fn an_archive_that_is_not_mounted_any_more_gets_nothing_until_it_is_back() {
    let workspace = workspace("directory: archive");
    let token = workspace.admin_token();
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    given_up(&workspace);
    let (archive, elsewhere) = (workspace.path().join("archive"), workspace.path().join("elsewhere"));
    std::fs::rename(&archive, &elsewhere).unwrap();
    fill(&server, EVENTS..2 * EVENTS);
    fails(&workspace, "is the folder mounted");
    drained(&workspace);
    assert!(log_files(&workspace).len() >= 5, "nothing is trimmed");
    assert!(!archive.exists(), "nothing is written where it was");
    std::fs::rename(&elsewhere, &archive).unwrap();
    given_up(&workspace);
    let dry = replayed(&Admin::new(&server, &token), &json!({"sync": SYNC, "from": "0", "dry_run": true}));
    assert_eq!(counts(&dry, &["came"]), [2 * EVENTS as u64], "{dry:#}");
    server.stop();
}

#[test]
fn a_log_that_was_put_back_from_an_older_copy_does_not_take_the_archive_for_its_own() {
    let workspace = workspace("directory: archive");
    let server = serve(&workspace);
    fill(&server, 0..50);
    drained(&workspace);
    server.stop();
    let (data, copy) = (workspace.data(), workspace.path().join("copy"));
    let copied = Command::new("cp").arg("-a").args([&data, &copy]).status().unwrap();
    assert!(copied.success());
    let server = serve(&workspace);
    fill(&server, 50..EVENTS);
    given_up(&workspace);
    server.stop();
    let before = files(&workspace.path().join("archive")).len();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&copy, &data).unwrap();
    // A backup has none.
    std::fs::remove_file(data.join("archive.json")).unwrap();
    let server = serve(&workspace);
    fill(&server, EVENTS..2 * EVENTS);
    fails(&workspace, "put back from an older copy");
    drained(&workspace);
    assert!(log_files(&workspace).len() >= 5, "nothing is trimmed");
    assert_eq!(files(&workspace.path().join("archive")).len(), before, "nothing is written there");
    server.stop();
}

#[test]
fn the_archive_of_another_data_directory_is_refused() {
    let ours = workspace("directory: archive");
    let server = serve(&ours);
    fill(&server, 0..EVENTS);
    given_up(&ours);
    server.stop();
    let archive = ours.path().join("archive");
    let before = files(&archive).len();
    let theirs = workspace(&format!("directory: {:?}", archive.display().to_string()));
    let server = serve(&theirs);
    fill(&server, 0..EVENTS);
    fails(&theirs, "is of another data directory");
    assert_eq!(files(&archive).len(), before, "nothing was written there");
    assert!(log_files(&theirs).len() >= 5, "nothing is trimmed");
    server.stop();
}

#[test]
fn a_log_that_was_restored_takes_no_segment_of_the_archive_for_its_own() {
    let workspace = workspace("directory: archive");
    let server = workspace.serve();
    fill(&server, 0..60);
    drained(&workspace);
    let (path, to, old) = (workspace.path(), workspace.dir.path().join("backup"), workspace.dir.path().join("old"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let output = run(&["backup", &text(&path), "--to", &text(&to)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The archive gets segments that the backup does not have.
    fill(&server, 60..EVENTS);
    wait(&workspace, "the log is archived", |status| {
        status["archive"]["waiting"] == 0 && status["archive"]["segments"].as_u64() >= Some(4)
    });
    server.stop();
    std::fs::rename(workspace.data(), &old).unwrap();
    let key = text(&old.join("instance.key"));
    let output = run(&["restore", &text(&to), "--to", &text(&path), "--instance-key", &key]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let server = serve(&workspace);
    // They get offsets that segments of the archive have.
    fill(&server, 1_000..1_000 + EVENTS);
    drained(&workspace);
    fails(&workspace, "has another segment as partition-0/");
    assert!(log_files(&workspace).len() >= 5, "nothing is trimmed");
    server.stop();
    archive_at(&workspace, "directory: archive", "directory: archive-2");
    let server = serve(&workspace);
    let status = given_up(&workspace);
    assert_eq!((&status["archive"]["failure"], &status["archive"]["lost"]), (&Value::Null, &json!(0)), "{status:#}");
    server.stop();
}

#[test]
fn wrong_settings_are_told_with_their_lines() {
    for (archive, words) in [
        ("keep: 90 d", "needs one place"),
        ("directory: a, s3: {bucket: b}", "needs one place"),
        ("s3: {bucket: a/b}", "is no bucket"),
        ("directory: a, keep: long", "keep"),
        ("folder: a", "folder"),
    ] {
        let workspace = workspace(archive);
        let path = workspace.path();
        let output = run(&["check", path.to_str().unwrap(), "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = answer["problems"].as_array().unwrap();
        let told = problems.iter().find(|problem| problem.to_string().contains(words));
        let told = told.unwrap_or_else(|| panic!("{archive}: {answer:#}"));
        assert!(told["line"].as_u64() > Some(0), "{told:#}");
        assert_eq!(output.status.code(), Some(3), "{answer:#}");
    }
}

#[test]
fn a_bucket_that_is_away_and_comes_back_gets_what_has_waited() {
    let python = cache().join("lake/bin/python");
    if !python.exists() {
        return skipped("an archive in S3", "moto is not installed; run tests/warehouses/setup lake");
    }
    let mut command = Command::new(python);
    command.arg(stream_folder().join("aws.py"));
    let mut aws = LineProgram::start(command).unwrap();
    let endpoint = aws.ask(&json!({"do": "endpoint"}))["endpoint"].as_str().unwrap().to_owned();
    aws.ask(&json!({"do": "bucket", "name": "archive"}));
    let keys = "region: eu-west-1, access_key_id: a, secret_access_key: b";
    let away = "http://127.0.0.1:1";
    let workspace = workspace(&format!("s3: {{bucket: archive, prefix: log, endpoint: {away:?}, {keys}}}"));
    let token = workspace.admin_token();
    let server = serve(&workspace);
    fill(&server, 0..EVENTS);
    drained(&workspace);
    let status = fails(&workspace, "");
    assert!(!status.to_string().contains("secret_access_key"), "{status:#}");
    server.stop();
    archive_at(&workspace, away, &endpoint);
    let server = serve(&workspace);
    given_up(&workspace);
    all_is_replayed(&Admin::new(&server, &token));
    let keys = aws.ask(&json!({"do": "objects", "name": "archive"}))["keys"].clone();
    let keys: Vec<&str> = keys.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(keys.contains(&"log/tidegate-archive.json"), "{keys:?}");
    assert!(keys.contains(&"log/partition-0/00000000000000000000-0.log"), "{keys:?}");
    server.stop();
}
