//! Who may read what the process writes, and what it reads itself.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Running;
use crate::support::waiting::PATIENCE;
use crate::support::{Workspace, run, tidegate};

fn walk(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
    // Files come and go while a server runs.
    let Ok(about) = std::fs::symlink_metadata(path) else { return };
    found.push((path.to_owned(), about.permissions().mode() & 0o777));
    if about.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), found);
        }
    }
}

fn assert_private(data: &Path) {
    let mut found = Vec::new();
    walk(data, &mut found);
    assert!(found.len() > 6, "{found:?}");
    let open: Vec<_> = found.iter().filter(|(path, mode)| *mode != if path.is_dir() { 0o700 } else { 0o600 }).collect();
    assert!(open.is_empty(), "others may read {open:?}");
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_data_directory_is_its_owners_alone_and_an_open_one_is_mended() {
    let workspace = Workspace::new();
    let event = |id: &str| json!({"type": "page", "messageId": id});
    let mut server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &[event("a"), json!({"type": "odd"})]);
    assert_private(&workspace.data());
    server.signal("TERM");
    server.ends_within(PATIENCE);
    assert!(run(&["status", workspace.path().to_str().unwrap()]).status.success());
    assert_private(&workspace.data());
    let mut found = Vec::new();
    walk(&workspace.data(), &mut found);
    for (path, _) in &found {
        chmod(path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    let server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &[event("b")]);
    assert_private(&workspace.data());
    assert!(server.log().contains("others could read the data directory"), "{}", server.log());
}

#[test]
fn files_with_write_keys_are_made_for_their_owner_alone() {
    let workspace = Workspace::new();
    for name in ["tidegate.yaml", "sources/web.yaml", "destinations/warehouse.yaml"] {
        let mode = std::fs::metadata(workspace.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[test]
fn commands_that_look_at_the_data_need_no_secret_of_a_destination() {
    let workspace = Workspace::new();
    let mut server = Running::start(&workspace, &[]);
    server.batch(&workspace.write_key, &[json!({"type": "page", "messageId": "a"})]);
    server.signal("TERM");
    server.ends_within(PATIENCE);
    workspace.write("destinations/pg.yaml", "kind: postgres\nurl: ${A_URL_THAT_IS_NOT_SET}\n");
    workspace.write("syncs/web-to-pg.yaml", "source: web\ndestination: nowhere\n");
    workspace.write("sources/app.yaml", "kind: http\nwrite_key: ${A_KEY_THAT_IS_NOT_SET}\n");
    workspace.append("tidegate.yaml", "\nnonsense: true\n");
    let path = workspace.path();
    let path = path.to_str().unwrap();
    assert_eq!(run(&["check", path]).status.code(), Some(3));
    let status = workspace.status();
    assert_eq!((&status["log"]["end"], &status["sources"]["app"]["accepted"]), (&json!(1), &json!(0)), "{status}");
    assert_eq!(workspace.quarantined(), Vec::<String>::new());
    // A data directory is enough.
    let empty = tempfile::tempdir().unwrap();
    let data = workspace.data();
    let output = run(&["status", empty.path().to_str().unwrap(), "--data", data.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // To send, a key is needed and nothing else.
    std::fs::remove_file(workspace.path().join("sources/app.yaml")).unwrap();
    let refused = run(&["send", "--workspace", path, "--generate", "1", "--to", "http://127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && !said.contains("problem"), "{said}");
}

/// The problems of a workspace; they come within a time in which nobody has waited for anything.
fn problems(workspace: &Workspace) -> Vec<String> {
    let began = Instant::now();
    let output = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    assert!(began.elapsed() < Duration::from_secs(30), "it waited");
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let said =
        |problem: &Value| format!("{}: {}", problem["file"].as_str().unwrap(), problem["message"].as_str().unwrap());
    answer["problems"].as_array().unwrap().iter().map(said).collect()
}

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_ordinary_file_is_a_problem_that_names_it() {
    let workspace = Workspace::new();
    let path = workspace.path();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.yaml"), "kind: http\nwrite_key: 0123456789abcdef\n").unwrap();
    fifo(&path.join("sources/pipe.yaml"));
    std::fs::create_dir(path.join("sources/folder.yaml")).unwrap();
    symlink(outside.path().join("secret.yaml"), path.join("sources/link.yaml")).unwrap();
    symlink("/dev/zero", path.join("sources/device.yaml")).unwrap();
    symlink("nowhere", path.join("sources/dangling.yaml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path.join("sources/socket.yaml")).unwrap();
    let large = std::fs::File::create(path.join("sources/large.yaml")).unwrap();
    large.set_len(17 << 20).unwrap();
    std::fs::create_dir_all(path.join("events/domains/shop")).unwrap();
    fifo(&path.join("events/domains/shop/domain.yaml"));
    symlink("/", path.join("events/root")).unwrap();
    fifo(&path.join("functions/f.wasm"));
    workspace.write("functions/f.yaml", "component: functions/f.wasm\n");
    workspace.write("functions/g.yaml", "component: /dev/zero\n");
    workspace.write("lookups/geo.yaml", "kind: table\npath: /dev/zero\n");
    workspace.write("destinations/crm.yaml", "kind: plugin\ncomponent: functions/f.wasm\n");
    let found = problems(&workspace);
    for (file, words) in [
        ("sources/pipe.yaml", "named pipe"),
        ("sources/folder.yaml", "folder"),
        ("sources/link.yaml", "leads out of the workspace"),
        ("sources/device.yaml", "leads out of the workspace"),
        ("sources/dangling.yaml", "cannot be read"),
        ("sources/socket.yaml", "socket"),
        ("sources/large.yaml", "larger than 16 MiB"),
        ("events/domains/shop/domain.yaml", "named pipe"),
        ("events/root", "leads out of the workspace"),
        ("functions/f.yaml", "named pipe"),
        ("functions/g.yaml", "device"),
        ("lookups/geo.yaml", "device"),
        ("destinations/crm.yaml", "named pipe"),
    ] {
        assert!(found.iter().any(|line| line.contains(file) && line.contains(words)), "{file}: {words}\n{found:#?}");
    }
}

#[test]
fn links_within_the_workspace_are_followed_as_mounted_configuration_has_them() {
    let workspace = Workspace::new();
    let sources = workspace.path().join("sources");
    std::fs::create_dir(sources.join("..2026")).unwrap();
    std::fs::rename(sources.join("web.yaml"), sources.join("..2026/web.yaml")).unwrap();
    symlink("..2026", sources.join("..data")).unwrap();
    symlink("..data/web.yaml", sources.join("web.yaml")).unwrap();
    assert_eq!(problems(&workspace), Vec::<String>::new());
}

#[test]
fn a_large_or_hostile_yaml_file_is_read_or_refused_in_no_time() {
    let workspace = Workspace::new();
    let many = |what: &dyn Fn(usize) -> String| (0..60_000).map(what).collect::<String>();
    // Keys that nobody knows, keys of a contract, and keys of a table.
    workspace.append("tidegate.yaml", &many(&|n| format!("key_{n}: {n}\n")));
    let found = problems(&workspace);
    assert!(found.len() < 100 && found.iter().any(|line| line.contains("more")), "{}", found.len());
    let workspace = Workspace::new();
    workspace.write("lookups/names.yaml", &format!("kind: table\nentries:\n{}", many(&|n| format!("  k{n}: v{n}\n"))));
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\n");
    workspace.write(
        "events/domains/shop/order.yaml",
        &format!("type: track\nname: Order\nschema: {{}}\n{}", many(&|n| format!("p{n}: {{type: string}}\n"))),
    );
    let found = problems(&workspace);
    assert!(found.len() <= 210 && found.iter().any(|line| line.contains("p0")), "{}", found.len());
    let deep = |open: &str| format!("a: {}", open.repeat(100_000));
    let laughs: String =
        (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","))).collect();
    for (text, words) in [
        (deep("["), "this is not YAML"),
        (deep("{a: "), "this is not YAML"),
        (
            format!("a:\n{}", (0..3_000).map(|n| format!("{}- \n", " ".repeat(n))).collect::<String>()),
            "nested too deeply",
        ),
        ("- ".repeat(100_000), "nested too deeply"),
        (format!("a0: &a0 [x]\n{laughs}"), "aliases"),
        (format!("x: &x {}\ny: [{}]\n", "x".repeat(1 << 20), vec!["*x"; 50_000].join(",")), "aliases"),
        (many(&|n| format!("{}a\n", if n % 2 == 0 { "? " } else { ": " })), "key"),
    ] {
        workspace.write("sources/bad.yaml", &text);
        let found = problems(&workspace);
        let shown = &text[..text.len().min(40)];
        assert!(found.iter().any(|line| line.contains("bad.yaml") && line.contains(words)), "{shown}: {found:#?}");
    }
}

#[test]
fn a_workspace_of_whatever_bytes_never_panics() {
    let workspace = Workspace::new();
    for bytes in [
        &b"\xff\xfe\x00a"[..],
        b"\x00",
        b"!!binary |\n  %%%",
        b"? [a]\n: b\n",
        b"%YAML 9.9\n---\na",
        b"&a *a",
        b"<<: *b",
    ] {
        std::fs::write(workspace.path().join("sources/odd.yaml"), bytes).unwrap();
        let output = tidegate().args(["check", workspace.path().to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(3) && !said.contains("panicked"), "{bytes:?}: {said}");
    }
}
