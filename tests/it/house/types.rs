//! A type has a name of its own in the whole workspace, so that a name says which type is meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{root, sources};

/// The name of the type that a line at the margin defines.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub(crate) "));
    let rest = rest.or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
    let rest = ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| rest.strip_prefix(word))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The names that more than one of these files defines, each with its files. At least so many names must be found.
fn twins(files: impl Iterator<Item = PathBuf>, names_min: usize) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for name in code.lines().filter_map(defined) {
            found.entry(name.to_owned()).or_default().push(shown.clone());
        }
    }
    assert!(found.len() > names_min, "only {} types were found", found.len());
    found.retain(|_, files| files.len() > 1);
    found
}

fn is_of_tests(path: &Path) -> bool {
    path.strip_prefix(root()).unwrap().iter().any(|part| part == "tests" || part == "tests.rs")
}

#[test]
fn no_two_types_have_one_name() {
    let files = sources("src").into_iter().chain(sources("crates"));
    let found = twins(files.filter(|path| !is_of_tests(path)), 500);
    assert!(found.is_empty(), "give each a name of its own:\n{found:#?}");
}

/// Servers of the tests: the program, and PostgreSQL, which a bench starts as well.
const OF_TWO_TESTS: [&str; 1] = ["Server"];

/// What the tests of crates share with one another and with those of the program.
#[test]
fn no_two_types_of_tests_have_one_name() {
    let crates = sources("crates")
        .into_iter()
        .filter(|path| path.strip_prefix(root()).unwrap().iter().nth(2) == Some("tests".as_ref()));
    let of_program = sources("tests/it").into_iter().filter(|path| !path.starts_with(root().join("tests/it/cases")));
    let mut found = twins(of_program.chain(sources("tests/faults")).chain(crates), 50);
    found.retain(|name, _| !OF_TWO_TESTS.contains(&name.as_str()));
    assert!(found.is_empty(), "give each a name of its own:\n{found:#?}");
}
