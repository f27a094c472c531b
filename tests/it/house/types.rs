//! A type has a name of its own in the whole workspace, so that a name says which type is meant.

use std::collections::BTreeMap;

use super::{root, sources};

/// The name of the type that a line at the margin defines.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub(crate) "));
    let rest = rest.or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
    let rest = ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| rest.strip_prefix(word))?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

#[test]
fn no_two_types_have_one_name() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources("src").into_iter().chain(sources("crates")) {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        if shown.contains("/tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for name in code.lines().filter_map(defined) {
            found.entry(name.to_owned()).or_default().push(shown.clone());
        }
    }
    assert!(found.len() > 500, "only {} types were found", found.len());
    found.retain(|_, files| files.len() > 1);
    assert!(found.is_empty(), "give each a name of its own:\n{found:#?}");
}
