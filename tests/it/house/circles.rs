//! Two files of a crate that use one another, directly or through others, can only be read and changed together: what both need
//! belongs in a file of its own, named after it.

mod uses;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::uses::{Sources, Uses};
use super::{root, sources};

fn files_of(folder: &str, names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{folder}/{name}.rs")).collect()
}

/// The shortest way from each file that can be reached from `start`: the file before it. `start` itself has one if it is in a
/// circle.
fn ways<'u>(uses: &'u Uses, start: &'u str) -> BTreeMap<&'u str, &'u str> {
    let (mut before, mut open) = (BTreeMap::new(), VecDeque::from([start]));
    while let Some(file) = open.pop_front() {
        for used in uses[file].keys() {
            if !before.contains_key(&**used) {
                before.insert(&**used, file);
                open.push_back(used);
            }
        }
    }
    before
}

/// Files that use one another, each group once.
fn circles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&str, BTreeMap<&str, &str>> = uses.keys().map(|file| (&**file, ways(uses, file))).collect();
    let group = |file: &str| -> BTreeSet<String> {
        reached[file]
            .keys()
            .filter(|other| reached[**other].contains_key(file))
            .map(|other| (*other).to_owned())
            .collect()
    };
    let groups: BTreeSet<BTreeSet<String>> = uses.keys().map(|file| group(file)).collect();
    groups.into_iter().filter(|group| !group.is_empty()).collect()
}

/// One way round within a group, a line for each file.
fn shown(uses: &Uses, group: &BTreeSet<String>) -> String {
    let start = group.first().unwrap();
    let before = ways(uses, start);
    let (mut lines, mut file) = (Vec::new(), &**start);
    loop {
        let user = before[file];
        lines.push(format!("    {user} uses {file}: {}", uses[user][file]));
        file = user;
        if file == start {
            break;
        }
    }
    lines.reverse();
    format!("{} files, among them\n{}", group.len(), lines.join("\n"))
}

#[test]
fn no_two_files_of_a_crate_use_one_another() {
    let mut texts = Sources::new();
    for path in sources("src").into_iter().chain(sources("crates")) {
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        if !file.contains("/tests") {
            texts.insert(file, std::fs::read_to_string(&path).unwrap());
        }
    }
    let uses = uses::of(&texts);
    let edges: usize = uses.values().map(BTreeMap::len).sum();
    assert!(edges > 1_000, "only {edges} uses were found in {} files", uses.len());
    let wrong: Vec<String> = circles(&uses).iter().map(|group| shown(&uses, group)).collect();
    let advice = "put what both need into a file of its own, named after it";
    assert!(wrong.is_empty(), "files that use one another ({advice}):\n{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_seen_through_braces_and_names_that_are_handed_on() {
    let text = |file: &str, text: &str| (format!("crates/shop/src/{file}.rs"), text.to_owned());
    let mut texts = Sources::from([
        text("lib", "mod cart;\nmod till;\nmod stock;\npub use stock::shelf::Shelf;\n"),
        text("cart", "use std::fmt;\n\nuse super::{\n    till::{self, Till as Cash},\n    Other,\n};\n"),
        text("stock", "mod shelf;\nuse shelf::Shelf;\n"),
        text("stock/shelf", "// use crate::cart;\npub struct Shelf;\n"),
        text("till", "fn sell() -> crate::Shelf { super::Shelf }\n#[cfg(test)]\nmod tests { use crate::cart; }\n"),
    ]);
    assert_eq!(circles(&uses::of(&texts)), []);
    texts.extend([text("stock/shelf", "pub struct Shelf(super::super::cart::Cart);\n")]);
    let uses = uses::of(&texts);
    let [circle] = &circles(&uses)[..] else { panic!("{:?}", circles(&uses)) };
    assert_eq!(*circle, files_of("crates/shop/src", &["cart", "stock/shelf", "till"]));
    assert_eq!(
        shown(&uses, circle),
        "3 files, among them\n    \
         crates/shop/src/cart.rs uses crates/shop/src/till.rs: super::till\n    \
         crates/shop/src/till.rs uses crates/shop/src/stock/shelf.rs: crate::Shelf\n    \
         crates/shop/src/stock/shelf.rs uses crates/shop/src/cart.rs: super::super::cart::Cart"
    );
}
