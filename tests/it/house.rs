//! The house rules that a machine can check: who may know whom, and how long a file may be.

mod circles;
mod types;
mod waiting;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Parts of the program from the ground up. A part may use parts below its own floor, and itself; never its siblings.
const FLOORS: [&[&str]; 5] = [&["warehouses"], &["api", "config"], &["console"], &["app"], &["cli"]];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder of the repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    files(folder, &["rs"])
}

/// The files below a folder of the repository whose names end so.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    fn walk(dir: &Path, endings: &[&str], files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, endings, files);
            } else if path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending)) {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(folder), endings, &mut files);
    assert!(!files.is_empty(), "{folder} has no files");
    files
}

fn part(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn parts_of_the_program_know_only_the_floors_below_them() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, parts)| parts.iter().map(move |part| (*part, floor))).collect();
    let mut wrong = Vec::new();
    for path in sources("src") {
        let own = part(&path);
        if own == "lib" || own == "main" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let own_floor = *floor.get(own.as_str()).unwrap_or_else(|| panic!("the part {own} stands on no floor"));
        for at in text.match_indices("crate::").map(|(at, _)| at) {
            let other: String = text[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(&other_floor) = floor.get(other.as_str()) else { continue };
            if other != own && other_floor >= own_floor {
                wrong.push(format!("{}: {own} uses {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the house does not allow:\n{}", wrong.join("\n"));
}

/// What a manifest depends on: every crate of its `[dependencies]`, without version.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let section = text.split_once("\n[dependencies]\n").unwrap().1.split("\n[").next().unwrap();
    section.lines().filter_map(|line| Some(line.split_once(".workspace = true")?.0.to_owned())).collect()
}

fn crates() -> BTreeMap<String, BTreeSet<String>> {
    std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), dependencies(&path.join("Cargo.toml"))))
        .collect()
}

#[test]
fn the_picture_of_the_crates_is_what_cargo_builds() {
    let built: BTreeMap<String, BTreeSet<String>> = crates()
        .into_iter()
        .map(|(name, uses)| {
            (name, uses.iter().filter_map(|it| it.strip_prefix("tidegate-")).map(str::to_owned).collect())
        })
        .collect();
    let page = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let table = page.split_once("| crate | is | uses |").unwrap().1.split("\n\n").next().unwrap();
    let drawn: BTreeMap<String, BTreeSet<String>> = table
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, _, uses, _] = cells[..] else { return None };
            let name = name.strip_prefix('`')?.strip_suffix('`')?;
            Some((name.to_owned(), uses.split(", ").filter(|it| !it.is_empty()).map(str::to_owned).collect()))
        })
        .collect();
    assert_eq!(drawn, built, "docs/ARCHITECTURE.md (left) and the manifests in crates/ (right)");
}

#[test]
fn tests_say_how_each_crate_is_built_for_them() {
    let profile = std::fs::read_to_string(root().join("tests/profile.toml")).unwrap();
    let named: BTreeSet<&str> = profile
        .lines()
        .filter_map(|line| line.strip_prefix("[profile.release.package.tidegate-")?.strip_suffix(']'))
        .collect();
    let crates = crates();
    assert_eq!(named, crates.keys().map(String::as_str).collect(), "tests/profile.toml (left) and crates/ (right)");
}

#[test]
fn one_crate_alone_knows_each_engine() {
    for (engine, owners) in [
        ("wasmtime", &["wasm"][..]),
        ("parquet", &["warehouse-lake"]),
        ("krafka", &["stream-kafka"]),
        ("oxc_parser", &["typescript"]),
        ("object_store", &["object-store", "warehouse-snowflake"]),
        ("tokio-postgres", &["catalog", "warehouse-postgres"]),
        ("rusqlite", &["catalog", "sqlite", "state", "warehouse-sqlite"]),
    ] {
        let found: Vec<String> =
            crates().into_iter().filter(|(_, uses)| uses.contains(engine)).map(|(name, _)| name).collect();
        assert_eq!(found, owners, "{engine}");
    }
}

#[test]
fn the_configuration_does_not_read_the_store_of_versions() {
    for path in sources("src/config") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("tidegate_registry"), "{}: what is live is an argument", path.display());
    }
}

/// Lines of a file, as `docs/STYLE.md` has them: of the program, and of its tests.
const LINES_MAX: (usize, usize) = (550, 650);

#[test]
fn no_file_grows_past_the_lines_that_the_style_gives_it() {
    let style = std::fs::read_to_string(root().join("docs/STYLE.md")).unwrap();
    let (of_program, of_tests) = LINES_MAX;
    assert!(style.contains(&format!("at most {of_program} ({of_tests} in `tests/`)")), "docs/STYLE.md says otherwise");
    for (folder, lines_max) in [("src", of_program), ("crates", of_program), ("tests/it", of_tests)] {
        for path in sources(folder) {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= lines_max, "{} has {lines} lines; find the wall inside it", path.display());
        }
    }
}
