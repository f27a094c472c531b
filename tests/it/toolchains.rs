//! Components of other toolchains, with nothing of Tidegate but its WIT: packed, checked, tried, pushed.
//!
//! A machine without a toolchain skips it, by name and reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::conformance::skipped;
use crate::support::plugins::{json as said_by, tidegate};
use crate::support::{Workspace, guests};

fn done(dir: &Path, arguments: &[&str]) -> Value {
    let output = tidegate(dir, arguments);
    let said = said_by(&output);
    assert!(output.status.success(), "{arguments:?}: {said:#}");
    said
}

/// A copy of the case `name` with the interface as `tidegate wit` writes it.
fn project(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/toolchains").join(name);
    let copied = Command::new("cp").arg("-r").arg(format!("{}/.", case.display())).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    done(dir.path(), &["wit", "--out", "wit"]);
    dir
}

/// The component with manifest and fixtures, after the fixtures came out as they should.
fn packed(dir: &Path, component: &str) -> PathBuf {
    let packed = done(dir, &["function", "pack", component, "--manifest", "plugin.yaml", "--out", "packed.wasm"]);
    assert!(packed["bytes"].as_u64().unwrap() > 0, "{packed}");
    let checked = done(dir, &["function", "check", "packed.wasm"]);
    let imports = checked["imports"].as_array().unwrap();
    assert!(imports.iter().all(|import| import.as_str().unwrap().starts_with("tidegate:plugin/")), "{checked:#}");
    assert_eq!(checked["manifest"]["fixtures"], 1, "{checked:#}");
    let tested = done(dir, &["function", "test", ".", "--component", "packed.wasm"]);
    assert_eq!(tested["ok"], true, "{tested:#}");
    dir.join("packed.wasm")
}

/// Runs a tool; what it says when it cannot do its work here.
fn ran(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What cargo makes of the case for `target`; `None` when the target or a crate cannot be had.
fn cargo(dir: &Path, target: &str) -> Option<String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet", "--target", target, "--target-dir"]).env_remove("RUSTFLAGS");
    cargo.arg(guests::guests_target_dir().join("toolchains")).current_dir(dir);
    match ran(&mut cargo) {
        Ok(()) => {}
        Err(error) if error.contains("may not be installed") || error.contains("failed to download") => {
            skipped(&format!("plain cargo for {target}"), &error);
            return None;
        }
        Err(error) => panic!("{error}"),
    }
    let made = guests::guests_target_dir().join(format!("toolchains/{target}/release/plain_rust.wasm"));
    std::fs::copy(made, dir.join("plain.wasm")).unwrap();
    Some("plain.wasm".to_owned())
}

#[test]
fn a_module_of_plain_cargo_for_preview_1_runs_with_stand_ins_for_its_system() {
    let dir = project("rust");
    let Some(module) = cargo(dir.path(), "wasm32-wasip1") else { return };
    let refused = said_by(&tidegate(dir.path(), &["function", "check", &module]))["error"].as_str().unwrap().to_owned();
    assert!(refused.contains("tidegate function pack"), "{refused}");
    packed(dir.path(), &module);
}

#[test]
fn a_component_of_plain_cargo_for_wasip2_is_pushed_with_a_manifest_and_sees_events() {
    let dir = project("rust");
    let Some(component) = cargo(dir.path(), "wasm32-wasip2") else { return };
    let refused =
        said_by(&tidegate(dir.path(), &["function", "check", &component]))["error"].as_str().unwrap().to_owned();
    assert!(refused.contains("wasi:") && refused.contains("tidegate function pack"), "{refused}");
    packed(dir.path(), &component);

    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let url = format!("http://{}", server.admin);
    let to = ["--to", "web", "--server", &url, "--token", &token];
    let bare = tidegate(dir.path(), &[&["function", "push", &component][..], &to].concat());
    assert!(said_by(&bare)["error"].as_str().unwrap().contains("--manifest plugin.yaml"), "{bare:?}");
    let push = [&["function", "push", &component, "--manifest", "plugin.yaml"][..], &to].concat();
    let pushed = done(dir.path(), &push);
    assert_eq!((&pushed["state"], &pushed["version"]["smoke"]["passed"]), (&json!("live"), &json!(1)), "{pushed:#}");
    let event = json!({"type": "track", "event": "Order Completed", "messageId": "m", "userId": "u"});
    assert_eq!(server.batch(&[event]).status, 200);
    server.stop();
    let rows = workspace.warehouse().rows("SELECT names, files, ordered FROM order_completed");
    assert_eq!(rows, ["0|0|1"]);
}

#[test]
fn a_module_of_zig_alone_becomes_a_component() {
    let dir = project("zig");
    let python = guests::tools().join("zig/venv/bin/python");
    if !python.exists() {
        // The build of any plugin in C installs it.
        done(dir.path(), &["function", "new", "for-zig", "--lang", "c"]);
        let built = tidegate(dir.path(), &["function", "build", "for-zig"]);
        if !built.status.success() {
            return skipped("zig alone", &said_by(&built)["error"].to_string());
        }
    }
    let mut zig = Command::new(python);
    zig.args(["-m", "ziglang", "build-exe", "plugin.zig", "-target", "wasm32-wasi", "-mexec-model=reactor"]);
    zig.args(["-fno-entry", "-rdynamic", "-O", "ReleaseSmall", "-femit-bin=plugin.wasm"]).current_dir(dir.path());
    ran(&mut zig).unwrap();
    let packed = packed(dir.path(), "plugin.wasm");
    let logged = done(dir.path(), &["function", "test", ".", "--component", packed.to_str().unwrap(), "--logs"]);
    assert!(logged["cases"][0]["log"].to_string().contains("an event of"), "{logged:#}");
}

#[test]
fn a_component_of_componentize_qjs_alone_is_packed() {
    let dir = project("qjs");
    let modules = guests::tools().join("javascript/node_modules");
    if !modules.exists() {
        done(dir.path(), &["function", "new", "for-npm", "--lang", "js"]);
        let built = tidegate(dir.path(), &["function", "build", "for-npm"]);
        if !built.status.success() {
            return skipped("componentize-qjs alone", &said_by(&built)["error"].to_string());
        }
    }
    let mut node = Command::new("node");
    node.arg(modules.join("componentize-qjs/bin/componentize-qjs")).args([
        "--sync",
        "--stub-wasi",
        "--world",
        "transform",
    ]);
    node.args(["--wit", "wit/deps/tidegate-plugin-0.1.0", "--js", "plugin.js", "-o", "plugin.wasm"]);
    ran(node.current_dir(dir.path())).unwrap();
    packed(dir.path(), "plugin.wasm");
}

#[test]
fn what_cannot_be_packed_is_said_with_its_place() {
    let dir = project("zig");
    let error = |arguments: &[&str]| {
        let output = tidegate(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        said_by(&output)["error"].as_str().unwrap().to_owned()
    };
    let component = wat::parse_str("(component)").unwrap();
    std::fs::write(dir.path().join("empty.wasm"), component).unwrap();
    let pack = ["function", "pack", "empty.wasm", "--manifest"];
    let found = error(&[&pack[..], &["plugin.yaml"]].concat());
    assert!(found.contains("does not export tidegate:plugin/lifecycle@0.1.0"), "{found}");
    std::fs::write(dir.path().join("other.yaml"), "name: a\nkind: transform\ncolour: red\n").unwrap();
    let found = error(&[&pack[..], &["other.yaml"]].concat());
    assert!(found.contains("other.yaml:3: `colour`"), "{found}");
    std::fs::write(dir.path().join("typo.yaml"), "nmae: a\nkind: transform\napi: 0.1.0\nlanguage: zig\n").unwrap();
    let found = error(&[&pack[..], &["typo.yaml"]].concat());
    assert!(found.contains("typo.yaml:1: `nmae` is not known") && found.contains("`name`"), "{found}");
    assert!(!found.contains("is missing"), "{found}");
    std::fs::write(dir.path().join("program"), b"\x7fELF\x02\x01").unwrap();
    let found = error(&["function", "pack", "program", "--manifest", "plugin.yaml"]);
    assert!(found.contains("the file is no WebAssembly") && !found.contains('\n'), "{found}");
    let found = error(&[&pack[..], &["nowhere.yaml"]].concat());
    assert!(found.contains("nowhere.yaml"), "{found}");
    let found = error(&["function", "build", "."]);
    assert!(found.contains("\"Zig\"") && found.contains("tidegate function pack"), "{found}");
    assert!(!dir.path().join("shout.component.wasm").exists());
}
