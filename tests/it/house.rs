//! The house rules that a machine can check: who may know whom, and how long a file may be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Floors from the ground up. A room may use rooms below its own floor, and itself; never its siblings.
const FLOORS: [&[&str]; 6] = [
    &["event", "clock", "nearest", "sqlite_check", "task", "telemetry", "file", "yaml"],
    &["intake", "contract", "plugin", "wasm", "destination", "state", "outbound", "net"],
    &["source", "function", "lookup", "warehouse", "delivery"],
    &["refine", "store", "project"],
    &["sync", "api"],
    &["config", "app", "cli"],
];
/// Arrows between the rooms of the top floor.
const TOP: [(&str, &str); 3] = [("app", "config"), ("cli", "config"), ("cli", "app")];

fn sources() -> Vec<PathBuf> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files
}

fn room(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn rooms_know_only_the_floors_below_them() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let own = room(&path);
        if own == "lib" || own == "main" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let own_floor = *floor.get(own.as_str()).unwrap_or_else(|| panic!("the room {own} stands on no floor"));
        for at in text.match_indices("crate::").map(|(at, _)| at) {
            let other: String = text[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(&other_floor) = floor.get(other.as_str()) else { continue };
            let fine = other == own || other_floor < own_floor || TOP.contains(&(own.as_str(), other.as_str()));
            if !fine {
                wrong.push(format!("{}: {own} uses {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the house does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_wasm_room_knows_wasmtime() {
    for path in sources().into_iter().filter(|path| room(path) != "wasm") {
        let text = std::fs::read_to_string(&path).unwrap();
        let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("wasmtime::"));
        assert!(!used, "{} names wasmtime", path.display());
    }
}

#[test]
fn no_file_grows_past_six_hundred_lines() {
    for path in sources() {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines; find the wall inside it", path.display());
    }
}
