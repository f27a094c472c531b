//! One flipped bit anywhere in state.db or warehouse.db: the server runs and is right, or says what is damaged.
//!
//! `TIDEGATE_FLIPS=<number>` makes the long form: so many flips of each file, spread over all pages. Each takes a server of its
//! own, so `TIDEGATE_FLIPS=all`, which flips every byte elsewhere, means 500 here.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{delivered, ids, served};
use crate::support::{Workspace, run};

/// What became of one flip.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    /// It ran, and the sync or the check said what is damaged.
    Told,
    Right,
}

#[expect(clippy::disallowed_methods, reason = "a test may be asked for its long form")]
fn flips() -> usize {
    match std::env::var("TIDEGATE_FLIPS").as_deref() {
        Ok("all") => 500,
        Ok(number) => number.parse().unwrap(),
        Err(_) => 16,
    }
}

/// Places spread over the file: another bit, and another place in its page, at each.
fn places(length: usize, count: usize) -> impl Iterator<Item = (usize, u8)> {
    (0..count).map(move |n| {
        let spread = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let at = (n * length / count + usize::try_from(spread).unwrap() % (length / count).max(1)).min(length - 1);
        (at, 1 << (spread % 8))
    })
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in super::files(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Flips one bit of `name` in a copy of the workspace and lets a server work with it.
fn outcome(whole: &Workspace, name: &str, (at, bit): (usize, u8)) -> (Outcome, String) {
    let dir = tempfile::tempdir().unwrap();
    copy(whole.dir.path(), dir.path());
    let workspace = Workspace { dir, write_key: whole.write_key.clone() };
    let path = workspace.data().join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= bit;
    std::fs::write(&path, &bytes).unwrap();
    let server = match workspace.try_serve_with(&[]) {
        Ok(server) => server,
        Err(said) => {
            assert!(said.contains(name) && !said.contains("panicked"), "{name} at {at}: {said}");
            return (Outcome::Refused, said);
        }
    };
    super::send(&server, ids("m", 10).chain(ids("new", 10)));
    let standing = standing(&workspace);
    let said = server.stop();
    assert!(!said.contains("panicked"), "{name} at {at}: {said}");
    let told = said.contains("damaged") || super::check_deep(&workspace).0 == Some(1);
    if let Some(why) = standing {
        // A warehouse that cannot be opened is named.
        let is_named = why.contains("not what was stored") || why.contains(&format!("{name}: "));
        assert!(told || is_named, "{name} at {at}: {why}: {said}");
        return (Outcome::Told, said);
    }
    let found = std::panic::catch_unwind(|| delivered(&workspace));
    let want: BTreeMap<String, usize> = ids("m", 40).chain(ids("new", 10)).map(|id| (id, 1)).collect();
    let right = found.is_ok_and(|found| found == want);
    // An entry that is no longer what was stored says so.
    let listed = run(&["quarantine", workspace.path().to_str().unwrap(), "--json"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let entries_right = text.lines().count() == 2
        && text.lines().all(|line| {
            line.contains("missing-type") && line.contains(&"x".repeat(2_000)) || line.contains("damaged-entry")
        });
    match (right && entries_right, told) {
        (true, false) => (Outcome::Right, said),
        (_, true) => (Outcome::Told, said),
        (false, false) => panic!("{name}: bit {bit:#x} of byte {at}: wrong, and nobody said so: {said}\n{text}"),
    }
}

/// Waits until everything is delivered; else why it is not.
fn standing(workspace: &Workspace) -> Option<String> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let output = run(&["status", workspace.path().to_str().unwrap(), "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Whatever is not well, as long as it says something.
        if output.stdout.is_empty() {
            return Some(text);
        }
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        let sync = &status["syncs"][super::SYNC];
        if let Some(failure) = sync["failure"].as_str() {
            return Some(failure.to_owned());
        }
        if sync["lag"] == 0 {
            return None;
        }
        if Instant::now() > patience {
            return Some(format!("nothing moves: {status}"));
        }
    }
}

fn each_flip_of(name: &str) {
    let whole = served(40);
    let length = usize::try_from(std::fs::metadata(whole.data().join(name)).unwrap().len()).unwrap();
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    for place in places(length, flips()) {
        let (outcome, _) = outcome(&whole, name, place);
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{name}, {length} bytes, {} flips: {outcomes:?}", flips());
}

#[test]
fn a_flipped_bit_of_the_state_is_told_or_harmless() {
    each_flip_of("state.db");
}

#[test]
fn a_flipped_bit_of_the_warehouse_is_told_or_harmless() {
    each_flip_of("warehouse.db");
}
